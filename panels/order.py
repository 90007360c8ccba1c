"""Who speaks: a pure machine that puts the deltas of a panel into the order of its sections; fed with deltas and the clock."""

from __future__ import annotations

from panels.fanout import SeatDelta
from upstreams.values import Delta, End


class Sections:
    """Lets one seat speak at a time, live, and keeps what the others say until their turn.

    `configured`: the seats in their order, but a seat that has not spoken `grace` seconds after its turn came is passed
    over, first for one that has finished, else for one that has started. `strict`: the same without grace. `arrival`:
    whoever speaks first.
    """

    def __init__(self, seats: int, order: str, grace: float, now: float) -> None:
        self._order = order
        self._grace = grace
        self._turn_began = now
        self.speaker: int | None = None
        self._to_speak = list(range(seats))
        self._kept: dict[int, list[Delta]] = {}

    @property
    def wake_at(self) -> float | None:
        """The time at which `tick` may let somebody speak; None while only a delta can."""
        if self._order != "configured" or self.speaker is not None or not self._kept:
            return None
        return self._turn_began + self._grace

    def feed(self, seat: int, delta: Delta, now: float) -> list[SeatDelta]:
        """Take the next delta of a seat and return what may be said now."""
        if seat == self.speaker:
            if not isinstance(delta, End):
                return [(seat, delta)]
            self._end_turn(now)
            return [(seat, delta), *self.tick(now)]
        self._kept.setdefault(seat, []).append(delta)
        return self.tick(now)

    def tick(self, now: float) -> list[SeatDelta]:
        """Return what may be said because of the time."""
        said: list[SeatDelta] = []
        while self.speaker is None and (seat := self._next_speaker(now)) is not None:
            self._to_speak.remove(seat)
            self.speaker = seat
            kept = self._kept.pop(seat)
            said += [(seat, delta) for delta in kept]
            if _ended(kept):
                self._end_turn(now)
        return said

    def _end_turn(self, now: float) -> None:
        self.speaker = None
        self._turn_began = now

    def _next_speaker(self, now: float) -> int | None:
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
