"""Whom to ask: a model id to the upstreams that answer to it, and these to seats; it starts nothing."""

from __future__ import annotations

from dataclasses import dataclass

from panels.seats import Seat
from upstreams.calling.upstream import Upstream
from upstreams.roster import Roster
from upstreams.values import ChatRequest, Json


@dataclass(frozen=True, slots=True)
class Panel:
    """The upstreams that answer to a model id, in their order; `is_single`: one that was asked for by its own id.

    The shape of the answer follows from what was asked for, not from how many upstreams happen to be switched on.
    """

    upstreams: tuple[Upstream, ...]
    is_single: bool

    def seats(self, request: ChatRequest, defaults: Json, now: float) -> list[Seat]:
        """Seat the calls of all upstreams; a panel gets `defaults` where neither the client nor the row says anything."""
        imposed = {} if self.is_single else defaults
        return [Seat(call, now) for upstream in self.upstreams for call in upstream.prepare(request, imposed)]


def choose_panel(roster: Roster, model: str) -> Panel:
    """Return the panel for a model id or a list of them; raises UnknownModel."""
    upstreams = roster.panel(model)
    return Panel(upstreams, [upstream.row.id for upstream in upstreams] == [model])
