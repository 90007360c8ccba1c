"""The only place that starts upstream tasks: the calls of a panel, side by side, bound to the frame that asked for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from panels.mailbox import Mailbox
from panels.seats import Seat
from upstreams.values import Answer, Delta, Piece


@asynccontextmanager
async def running(seats: Sequence[Seat]) -> AsyncIterator[Mailbox]:
    """Run the calls of the seats for as long as the body runs; leaving it, in whatever way, ends every one of them."""
    mailbox = Mailbox(seats)
    async with asyncio.TaskGroup() as tasks:
        calls = [tasks.create_task(mailbox.fill(number)) for number in range(len(seats))]
        try:
            yield mailbox
        finally:
            mailbox.close()
            for call in calls:
                call.cancel()


async def collect(seats: Sequence[Seat]) -> list[Answer]:
    """Run the calls to their ends and return the whole answers, in the order of the seats."""
    if len(seats) == 1:
        return [await _collect_one(seats[0])]
    deltas: list[list[Delta]] = [[] for _ in seats]
    async with running(seats) as mailbox:
        while not mailbox.ended:
            for number, delta in await mailbox.take(None):
                deltas[number].append(delta)
    return [_to_answer(seat, said) for seat, said in zip(seats, deltas, strict=True)]


async def _collect_one(seat: Seat) -> Answer:
    """Run a call that has nobody beside it: it needs neither a task nor a mailbox."""
    deltas: list[Delta] = []
    await seat.run(deltas.extend)
    return _to_answer(seat, deltas)


def _to_answer(seat: Seat, deltas: Sequence[Delta]) -> Answer:
    return Answer(tuple(delta for delta in deltas if isinstance(delta, Piece)), seat.result)
