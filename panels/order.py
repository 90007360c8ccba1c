"""Who speaks: pure machines that put a panel's deltas into the order in which they are shown, told the deltas and the time."""

from __future__ import annotations

from typing import Protocol

from panels.seats import SeatDelta
from upstreams.values import Delta, End


class Order(Protocol):
    """Decides which of the deltas that have come are shown now; every delta is shown once."""

    @property
    def wake_at(self) -> float | None:
        """The time at which `tick` may show something; None while only a delta can."""
        ...

    @property
    def live(self) -> int | None:
        """The seat whose deltas are shown as they come; None = every one's."""
        ...

    def feed(self, seat: int, delta: Delta, now: float) -> list[SeatDelta]:
        """Take the next delta of a seat and return what is shown now."""
        ...

    def tick(self, now: float) -> list[SeatDelta]:
        """Return what is shown because of the time."""
        ...


class AllLive:
    """Shows every delta as it comes."""

    wake_at = None
    live = None

    def feed(self, seat: int, delta: Delta, now: float) -> list[SeatDelta]:
        return [(seat, delta)]

    def tick(self, now: float) -> list[SeatDelta]:
        return []


class SectionOrder:
    """Lets one seat speak at a time, live, and keeps the deltas of the others until their turn.

    `configured`: the seats in their order, but a seat that has not spoken `grace` seconds after its turn came is passed
    over, first for one that has finished, else for one that has started. `strict`: the same without grace. `arrival`:
    whoever speaks first.
    """

    def __init__(self, seats: int, order: str, grace: float, now: float) -> None:
        self._order = order
        self._grace = grace
        self._turn_began = now
        self.live: int | None = None
        self._to_speak = list(range(seats))
        self._kept: dict[int, list[Delta]] = {}

    @property
    def wake_at(self) -> float | None:
        if self._order != "configured" or self.live is not None or not self._kept:
            return None
        return self._turn_began + self._grace

    def feed(self, seat: int, delta: Delta, now: float) -> list[SeatDelta]:
        if seat == self.live:
            if not isinstance(delta, End):
                return [(seat, delta)]
            self._end_turn(now)
            return [(seat, delta), *self.tick(now)]
        self._kept.setdefault(seat, []).append(delta)
        return self.tick(now)

    def tick(self, now: float) -> list[SeatDelta]:
        shown: list[SeatDelta] = []
        while self.live is None and (seat := self._next_seat(now)) is not None:
            self._to_speak.remove(seat)
            self.live = seat
            kept = self._kept.pop(seat)
            shown += [(seat, delta) for delta in kept]
            if _ended(kept):
                self._end_turn(now)
        return shown

    def _end_turn(self, now: float) -> None:
        self.live = None
        self._turn_began = now

    def _next_seat(self, now: float) -> int | None:
        if not self._kept:
            return None
        if self._order == "arrival":
            return next(iter(self._kept))
        head = self._to_speak[0]
        if head in self._kept:
            return head
        if self._order == "strict" or now < self._turn_began + self._grace:
            return None
        ready = sorted(self._kept)
        return next((seat for seat in ready if _ended(self._kept[seat])), ready[0])


def _ended(kept: list[Delta]) -> bool:
    return isinstance(kept[-1], End)
