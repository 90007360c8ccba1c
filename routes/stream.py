"""The hand-written SSE generator: takes the deltas of a panel as they come and sends them as one live stream of chunks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.types import Message, Send

from panels.fanout import Deltas, Seat, SeatDelta, fan_out
from routes.completions.chunks import Chunks
from routes.completions.layouts import Layout, close
from routes.http.errors import ApiError, all_failed, nobody_answered
from settings import Settings
from upstreams.answer.sse import CONTENT_TYPE, DONE, encode
from upstreams.calling.upstream import Call
from upstreams.values import Piece, Result

HEADERS = [
    (b"content-type", CONTENT_TYPE),
    # no-transform and x-accel-buffering keep proxies from compressing or collecting what should flow.
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]


@dataclass(frozen=True, slots=True)
class Streaming:
    """One answer to be streamed: the calls, how their deltas are laid out, and the limits."""

    calls: Sequence[Call]
    chunks: Chunks
    lay_out: Callable[[Sequence[Seat]], Layout]
    include_usage: bool
    settings: Settings


async def stream_answer(streaming: Streaming, send: Send) -> list[Result]:
    """Run the calls and send what they say; returns how each went.

    Where all failed before anything was sent, nothing is; after that, the error goes out in the stream.
    """
    async with fan_out(streaming.calls) as deltas:
        return await _Generator(streaming, deltas, send).run()


class _Generator:
    def __init__(self, streaming: Streaming, deltas: Deltas, send: Send) -> None:
        self._streaming = streaming
        self._settings = streaming.settings
        self._deltas = deltas
        self._layout = streaming.lay_out(deltas.seats)
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._sent_at = self._loop.time()
        self._hold_until = self._sent_at + self._settings.status_hold
        self._started = False
        self._spoken = False
        self._ready: list[bytes] = [self._layout.open()]

    async def run(self) -> list[Result]:
        while not self._deltas.ended:
            taken = await self._deltas.take(self._next_event())
            self._write(taken)
            if not self._started and not self._may_start():
                continue
            await self._flush()
        return await self._finish()

    def _next_event(self) -> float:
        """Return the time at which something must be done even if nobody says anything."""
        silence_ends = self._sent_at + self._settings.heartbeat if self._started else self._hold_until
        wake_at = self._layout.wake_at
        return silence_ends if wake_at is None else min(silence_ends, wake_at)

    def _write(self, taken: Sequence[SeatDelta]) -> None:
        now = self._loop.time()
        for seat, delta in taken:
            self._ready.append(self._layout.write(seat, delta, now))
            if not self._spoken and isinstance(delta, Piece):
                self._spoken = True
        if not taken:
            self._ready.append(self._layout.tick(now))
        self._deltas.listen_to(self._layout.speaker)

    def _may_start(self) -> bool:
        """Hold the status line until someone has spoken, but not for ever: proxies give up on a silent server."""
        return self._spoken or self._loop.time() >= self._hold_until

    async def _flush(self) -> None:
        """Send everything that is ready in one message; break a long silence."""
        now = self._loop.time()
        body = b"".join(self._ready)
        self._ready.clear()
        if not body and now >= self._sent_at + self._settings.heartbeat:
            # An empty delta and no comment: strict parsers of clients stumble over comments.
            body = self._streaming.chunks.delta(0, {})
        if body:
            await self._start()
            await self._send(_body(body))
            self._sent_at = now

    async def _start(self) -> None:
        if not self._started:
            self._started = True
            await self._send({"type": "http.response.start", "status": 200, "headers": HEADERS})

    async def _finish(self) -> list[Result]:
        results = [seat.result for seat in self._deltas.seats if seat.result is not None]
        if not nobody_answered(results):
            ending = close(self._layout, self._streaming.chunks, results, include_usage=self._streaming.include_usage)
        elif self._started:
            ending = error_event(all_failed(results))
        else:
            return results
        await self._start()
        await self._send(_body(b"".join(self._ready) + ending, more=False))
        return results


def error_event(error: ApiError) -> bytes:
    """Return the end of a stream that fails: OpenAI's SDKs raise at an `error` key, and `[DONE]` says that all is said."""
    return encode(error.envelope()) + encode(DONE)


def _body(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}
