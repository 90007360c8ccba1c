"""One seat of a panel as seen from outside: who sits there, when it spoke, what it used, how it ended; it starts no task."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol, TypeAlias

from upstreams.calling.http import Sink
from upstreams.values import Delta, End, Piece, Result, Usage

SeatDelta: TypeAlias = tuple[int, Delta]
"""A delta and the seat in the panel that it comes from."""


class Call(Protocol):
    """Anything that answers as one model: a call of an upstream, or a policy over several calls."""

    @property
    def provider(self) -> str: ...

    @property
    def id(self) -> str: ...

    @property
    def dropped(self) -> tuple[str, ...]:
        """The parameters of the client that could not be passed on."""
        ...

    async def run(self, sink: Sink) -> None:
        """Pass on any number of pieces, at most one Usage, then exactly one Finish or Failure; only bugs are raised."""
        ...


class Seat:
    """The place of one call in a panel; `now` is the loop's time at which the panel starts."""

    def __init__(self, call: Call, now: float) -> None:
        self.call = call
        self._result: Result | None = None
        self._started = now
        self._first_token: float | None = None
        self._usage: Usage | None = None

    @property
    def has_ended(self) -> bool:
        return self._result is not None

    @property
    def result(self) -> Result:
        """How the call went; only an ended seat has one."""
        assert self._result is not None, "the call has not ended"
        return self._result

    async def run(self, sink: Sink) -> None:
        """Run the call, and take note of all that it emits."""
        loop = asyncio.get_running_loop()

        def note_and_pass_on(deltas: list[Delta]) -> asyncio.Event | None:
            self._note(deltas, loop.time())
            return sink(deltas)

        await self.call.run(note_and_pass_on)

    def _note(self, deltas: Sequence[Delta], now: float) -> None:
        if self._first_token is None and isinstance(deltas[0], Piece):
            self._first_token = now - self._started
        if (last := deltas[-1]).__class__ is Usage:
            self._usage = last
        elif isinstance(last, End):
            self._result = Result(
                provider=self.call.provider,
                model=self.call.id,
                end=last,
                usage=self._usage,
                first_token=self._first_token,
                duration=now - self._started,
                dropped=self.call.dropped,
            )
