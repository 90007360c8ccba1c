"""The client of one request: what is read from it and sent to it, and whether it is still there; knows nothing of chat.

ASGI raises nothing when a client has gone: `send` turns into a no-op, and only `receive` tells. So every piece of work
runs beside `receive`, nothing is sent after a disconnect, and a client that does not read is given up after a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from enum import Enum
from typing import TypeAlias

from starlette.types import Message, Receive, Send

from routes.http.errors import ApiError

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]


class CancelReason(Enum):
    """Why work for a client ended before it was done."""

    LEFT = "client left"
    STALLED = "client did not read"
    STOPPED = "service stopped"


class ClientLeft(Exception):
    """The client went away before its request was read."""


class Client:
    """One client, from the first byte of its body to the last of its answer; durations are in seconds."""

    def __init__(self, receive: Receive, send: Send, send_timeout: float) -> None:
        self._receive = receive
        self._send = send
        self._send_timeout = send_timeout
        self._loop = asyncio.get_running_loop()
        self._scope = asyncio.timeout(None)
        self._sending_since: float | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self.cancel_reason: CancelReason | None = None
        self.answer_started = False
        self.answer_ended = False

    async def read_body(self, headers: Headers, limit: int, seconds: float) -> bytes:
        """Return the body; raises ApiError 413 for more than `limit` bytes, 408 after `seconds`, or ClientLeft."""
        if _announced_size(headers) > limit:
            raise _too_large(limit)
        body = bytearray()
        try:
            async with asyncio.timeout(seconds):
                while True:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise ClientLeft
                    body += message.get("body", b"")
                    if len(body) > limit:
                        raise _too_large(limit)
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            raise ApiError(408, f"The body did not arrive within {seconds:g} seconds.") from None

    @asynccontextmanager
    async def cancel_on_disconnect(self) -> AsyncIterator[None]:
        """Run the body until it is done or the client is lost; then the body is cancelled, and `cancel_reason` says why."""
        watcher = self._loop.create_task(self._watch())
        try:
            async with self._scope:
                yield
        except TimeoutError:
            if self.cancel_reason is None:
                raise
        finally:
            watcher.cancel()
            if self._alarm is not None:
                self._alarm.cancel()

    async def send(self, message: Message) -> None:
        """Send a part of the answer; blocks while the client does not read, and loses it after the send timeout."""
        self.answer_started = True
        self.answer_ended = message["type"] == "http.response.body" and not message.get("more_body", False)
        self._sending_since = self._loop.time()
        if self._alarm is None:
            self._check_send_timeout()
        await self._send(message)
        self._sending_since = None

    def stop(self) -> None:
        """End the work, for the process is about to end."""
        self._lose(CancelReason.STOPPED)

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._lose(CancelReason.LEFT)

    def _check_send_timeout(self) -> None:
        """Check the send timeout; one timer, armed anew only when it rings, serves all sends of an answer."""
        now = self._loop.time()
        since = now if self._sending_since is None else self._sending_since
        if now >= since + self._send_timeout:
            self._lose(CancelReason.STALLED)
        else:
            self._alarm = self._loop.call_at(since + self._send_timeout, self._check_send_timeout)

    def _lose(self, reason: CancelReason) -> None:
        if self.cancel_reason is None:
            self.cancel_reason = reason
            self._scope.reschedule(self._loop.time())


def _announced_size(headers: Headers) -> int:
    """Return the content-length in bytes; 0 where there is none, or none that is a number."""
    sizes = [value for name, value in headers if name == b"content-length"]
    return int(sizes[0]) if sizes and sizes[0].isdigit() and len(sizes[0]) < 20 else 0


def _too_large(limit: int) -> ApiError:
    return ApiError(413, f"The body is larger than {limit} bytes.")
