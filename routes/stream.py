"""The hand-written SSE generator: deltas of a panel are taken as they come, put in order, laid out and sent, live.

It knows the clock and the client, and neither the client's protocol (that is the layout's) nor an upstream.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from starlette.types import Message, Send

from panels.mailbox import Mailbox
from panels.order import Order
from panels.run import running
from panels.seats import Seat, SeatDelta
from routes.http.errors import ApiError, all_failed, nobody_answered
from settings import Settings
from upstreams.answer.sse import CONTENT_TYPE
from upstreams.values import Piece, Result

HEADERS = [
    (b"content-type", CONTENT_TYPE),
    # no-transform and x-accel-buffering keep proxies from compressing or collecting what should flow.
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]


class Layout(Protocol):
    """Writes one stream in the words of a client's protocol."""

    def open(self) -> bytes:
        """Return the events with which the stream begins."""
        ...

    def write(self, shown: Sequence[SeatDelta]) -> bytes:
        """Return the events for the deltas that are shown now."""
        ...

    def heartbeat(self) -> bytes:
        """Return an event that says nothing, to break a long silence."""
        ...

    def finish(self, results: Sequence[Result]) -> bytes:
        """Return the good end of the stream."""
        ...

    def error(self, error: ApiError) -> bytes:
        """Return the bad end of the stream."""
        ...


@dataclass(frozen=True, slots=True)
class Streaming:
    """One answer to be streamed: who is asked, in which order they are shown, how it is laid out, and the limits."""

    seats: Sequence[Seat]
    order: Order
    layout: Layout
    settings: Settings


async def stream_answer(streaming: Streaming, send: Send) -> list[Result]:
    """Run the calls and send what they say; returns how each went.

    Where all failed before anything was sent, nothing is; after that, the error goes out in the stream.
    """
    async with running(streaming.seats) as mailbox:
        return await _Generator(streaming, mailbox, send).run()


class _Generator:
    def __init__(self, streaming: Streaming, mailbox: Mailbox, send: Send) -> None:
        self._seats = streaming.seats
        self._mailbox = mailbox
        self._order = streaming.order
        self._layout = streaming.layout
        self._heartbeat = streaming.settings.heartbeat
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._sent_at = self._loop.time()
        self._hold_until = self._sent_at + streaming.settings.status_hold
        self._started = False
        self._spoken = False
        self._ready: list[bytes] = [self._layout.open()]

    async def run(self) -> list[Result]:
        while not self._mailbox.ended:
            self._write(await self._mailbox.take(self._next_event()))
            if self._started or self._may_start():
                await self._flush()
        return await self._finish()

    def _next_event(self) -> float:
        """Return the time at which something must be done even if no delta comes."""
        silence_ends = self._sent_at + self._heartbeat if self._started else self._hold_until
        wake_at = self._order.wake_at
        return silence_ends if wake_at is None else min(silence_ends, wake_at)

    def _write(self, taken: Sequence[SeatDelta]) -> None:
        now = self._loop.time()
        for seat, delta in taken:
            self._ready.append(self._layout.write(self._order.feed(seat, delta, now)))
            if not self._spoken and isinstance(delta, Piece):
                self._spoken = True
        if not taken:
            self._ready.append(self._layout.write(self._order.tick(now)))
        self._mailbox.set_live(self._order.live)

    def _may_start(self) -> bool:
        """Hold the status line until someone has spoken, but not for ever: proxies give up on a silent server."""
        return self._spoken or self._loop.time() >= self._hold_until

    async def _flush(self) -> None:
        """Send everything that is ready in one message; break a long silence."""
        now = self._loop.time()
        body = b"".join(self._ready)
        self._ready.clear()
        if not body and now >= self._sent_at + self._heartbeat:
            body = self._layout.heartbeat()
        if body:
            await self._start()
            await self._send(_body(body))
            self._sent_at = now

    async def _start(self) -> None:
        if not self._started:
            self._started = True
            await self._send({"type": "http.response.start", "status": 200, "headers": HEADERS})

    async def _finish(self) -> list[Result]:
        results = [seat.result for seat in self._seats]
        if not nobody_answered(results):
            ending = self._layout.finish(results)
        elif self._started:
            ending = self._layout.error(all_failed(results))
        else:
            return results
        await self._start()
        await self._send(_body(b"".join(self._ready) + ending, more=False))
        return results


def _body(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}
