"""The bounded mailbox between the calls of a panel and the one who reads them; it starts no tasks and knows no order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from panels.seats import Seat, SeatDelta
from upstreams.values import Delta

MAX_WAITING = 256
"""Deltas that wait for the reader before the upstreams are made to wait: some seconds of a fast panel, some 50 kB.
More would only fill the memory for a client that does not read; less would stall quick upstreams at every hiccup."""

TAIL_POLL_INTERVAL = 0.25
"""Seconds between two polls of the seats that are not live: nobody sees their deltas before their turn, when they are
polled at once, and twelve tokens in one go cost hardly more than one."""


class Mailbox:
    """Holds the deltas of all seats until they are taken; what is ready together is taken together."""

    def __init__(self, seats: Sequence[Seat]) -> None:
        self._loop = asyncio.get_running_loop()
        self._seats = seats
        self._open = len(seats)
        self._waiting: list[SeatDelta] = []
        self._live: int | None = None
        self._next_poll = asyncio.Event()
        self._next_poll.set()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._receiver: asyncio.Future[None] | None = None
        self._wakeup: asyncio.TimerHandle | None = None

    async def fill(self, number: int) -> None:
        """Run the call of one seat into the mailbox."""
        seat = self._seats[number]

        def put(deltas: list[Delta]) -> asyncio.Event | None:
            self._open -= seat.has_ended
            self._waiting += [(number, delta) for delta in deltas]
            self._wake_receiver()
            if len(self._waiting) >= MAX_WAITING:
                self._has_room.clear()
                return self._has_room
            return None if self._live in (None, number) else self._await_poll()

        await seat.run(put)

    def set_live(self, seat: int | None) -> None:
        """Deliver this seat's deltas at once and poll the others every TAIL_POLL_INTERVAL; None: all are live."""
        if seat != self._live:
            self._live = seat
            self._next_poll.set()

    @property
    def ended(self) -> bool:
        """Whether every call has ended and every delta has been taken."""
        return not self._open and not self._waiting

    async def take(self, until: float | None) -> list[SeatDelta]:
        """Return every waiting delta, as soon as there is one; an empty list when the loop's clock reaches `until`."""
        if not self._waiting:
            await self._receive(until)
        taken, self._waiting = self._waiting, []
        self._has_room.set()
        return taken

    def close(self) -> None:
        """Cancel the timer."""
        if self._wakeup is not None:
            self._wakeup.cancel()
            self._wakeup = None

    def _await_poll(self) -> asyncio.Event:
        if self._next_poll.is_set():
            self._next_poll.clear()
            self._loop.call_later(TAIL_POLL_INTERVAL, self._next_poll.set)
        return self._next_poll

    async def _receive(self, until: float | None) -> None:
        # A bare future instead of asyncio.timeout, and a timer that is left to ring too early: this runs once per token.
        self._receiver = self._loop.create_future()
        if until is not None and (self._wakeup is None or until < self._wakeup.when()):
            self.close()
            self._wakeup = self._loop.call_at(until, self._ring)
        try:
            await self._receiver
        finally:
            self._receiver = None

    def _ring(self) -> None:
        self._wakeup = None
        self._wake_receiver()

    def _wake_receiver(self) -> None:
        if self._receiver is not None and not self._receiver.done():
            self._receiver.set_result(None)
