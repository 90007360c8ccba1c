"""The only place that starts upstream tasks: the calls of a panel, side by side, bound to the frame that asked for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TypeAlias

from upstreams.calling.upstream import Call
from upstreams.values import Answer, Delta, End, Piece, Result, Usage

MAX_WAITING = 256
"""Deltas that wait for the client before the upstreams are made to wait: some seconds of a fast panel, some 50 kB.
More would only fill the memory for a client that does not read; less would stall quick upstreams at every hiccup."""

TAIL_PAUSE = 0.25
"""Seconds between two looks at what the other seats say while one speaks: nobody sees it before its turn, when it is read
at once, and twelve tokens in one go cost hardly more than one."""

SeatDelta: TypeAlias = tuple[int, Delta]
"""A delta and the seat in the panel that it comes from."""


class Seat:
    """One call of the panel as seen from outside: when it spoke, what it used, how it ended."""

    def __init__(self, call: Call, now: float) -> None:
        self.call = call
        self.result: Result | None = None
        self._started = now
        self._first_token: float | None = None
        self._usage: Usage | None = None

    def note(self, deltas: Sequence[Delta], now: float) -> None:
        if self._first_token is None and isinstance(deltas[0], Piece):
            self._first_token = now - self._started
        if (last := deltas[-1]).__class__ is Usage:
            self._usage = last
        elif isinstance(last, End):
            self.result = Result(
                provider=self.call.provider,
                model=self.call.id,
                end=last,
                usage=self._usage,
                first_token=self._first_token,
                duration=now - self._started,
                dropped=self.call.dropped,
            )


class Deltas:
    """The mailbox between the calls and the one who answers the client: what is ready together is taken together."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self._loop = asyncio.get_running_loop()
        self._speaker: int | None = None
        self._look = asyncio.Event()
        self._look.set()
        self.seats = [Seat(call, self._loop.time()) for call in calls]
        self._open = len(calls)
        self._waiting: list[SeatDelta] = []
        self._taker: asyncio.Future[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._room = asyncio.Event()
        self._room.set()

    async def fill(self, number: int) -> None:
        """Run the call of one seat into the mailbox."""
        seat = self.seats[number]

        def put(deltas: list[Delta]) -> asyncio.Event | None:
            seat.note(deltas, self._loop.time())
            self._open -= seat.result is not None
            self._waiting += [(number, delta) for delta in deltas]
            self._wake()
            if len(self._waiting) >= MAX_WAITING:
                self._room.clear()
                return self._room
            return None if self._speaker in (None, number) else self._next_look()

        await seat.call.run(put)

    def listen_to(self, speaker: int | None) -> None:
        """Hear one seat at once and the others every TAIL_PAUSE; None: all of them at once."""
        if speaker != self._speaker:
            self._speaker = speaker
            self._look.set()

    def _next_look(self) -> asyncio.Event:
        if self._look.is_set():
            self._look.clear()
            self._loop.call_later(TAIL_PAUSE, self._look.set)
        return self._look

    @property
    def ended(self) -> bool:
        """Whether every call has ended and all that they said has been taken."""
        return not self._open and not self._waiting

    async def take(self, until: float | None) -> list[SeatDelta]:
        """Return everything that waits, as soon as there is something; nothing when the loop's clock reaches `until`."""
        if not self._waiting:
            await self._wait(until)
        taken, self._waiting = self._waiting, []
        self._room.set()
        return taken

    async def _wait(self, until: float | None) -> None:
        # A bare future instead of asyncio.timeout, and a timer that is left to ring too early: this runs once per token.
        self._taker = self._loop.create_future()
        if until is not None and (self._alarm is None or until < self._alarm.when()):
            self.hush()
            self._alarm = self._loop.call_at(until, self._ring)
        try:
            await self._taker
        finally:
            self._taker = None

    def _ring(self) -> None:
        self._alarm = None
        self._wake()

    def hush(self) -> None:
        """Take the timer back."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _wake(self) -> None:
        if self._taker is not None and not self._taker.done():
            self._taker.set_result(None)


@asynccontextmanager
async def fan_out(calls: Sequence[Call]) -> AsyncIterator[Deltas]:
    """Run the calls for as long as the body runs; leaving it, in whatever way, ends every one of them."""
    deltas = Deltas(calls)
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(deltas.fill(number)) for number in range(len(calls))]
        try:
            yield deltas
        finally:
            deltas.hush()
            for task in running:
                task.cancel()


async def collect(calls: Sequence[Call]) -> list[Answer]:
    """Run the calls to their ends and return the whole answers, in the order of the calls."""
    transcripts = [_Transcript(call) for call in calls]
    async with asyncio.TaskGroup() as tasks:
        for transcript in transcripts[1:]:
            tasks.create_task(transcript.write())
        # The first call needs no task of its own, and a single one none at all.
        await transcripts[0].write()
    return [transcript.answer() for transcript in transcripts]


class _Transcript:
    """Writes down what one call says."""

    def __init__(self, call: Call) -> None:
        self._loop = asyncio.get_running_loop()
        self._seat = Seat(call, self._loop.time())
        self._pieces: list[Piece] = []

    async def write(self) -> None:
        await self._seat.call.run(self._note)

    def answer(self) -> Answer:
        assert self._seat.result is not None, "a call ended without an end"
        return Answer(tuple(self._pieces), self._seat.result)

    def _note(self, deltas: list[Delta]) -> None:
        self._seat.note(deltas, self._loop.time())
        self._pieces += [delta for delta in deltas if isinstance(delta, Piece)]
