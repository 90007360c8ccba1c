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
    deltas: list[list[Delta]] = [[] for _ in seats]
    async with asyncio.TaskGroup() as tasks:
        for seat, said in zip(seats[1:], deltas[1:], strict=True):
            tasks.create_task(seat.run(said.extend))
        # The first call needs no task of its own, and a single one none at all.
        await seats[0].run(deltas[0].extend)
    return [_to_answer(seat, said) for seat, said in zip(seats, deltas, strict=True)]


def _to_answer(seat: Seat, deltas: Sequence[Delta]) -> Answer:
    return Answer(tuple(delta for delta in deltas if isinstance(delta, Piece)), seat.result)
