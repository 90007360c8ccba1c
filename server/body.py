"""One request's body on its way to the application; it never blocks who fills it, and a disconnect overtakes the body.

hypercorn puts every piece of a body into a queue of ten and waits when it is full. An application that answers without
reading then dead-locks: its own last message waits to put `http.disconnect` into the same queue, for ever, and on HTTP/2
every stream of the connection waits with it. Here pieces are joined, so that the flow control of the protocol is the only
limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

HIGH_WATER = 2**16
"""Bytes of unread body above which HTTP/1.1 stops reading; hypercorn reads at most as much at once."""


class RequestBody:
    """The ASGI `receive` of one request."""

    def __init__(self, consumed: Callable[[int], None] = lambda size: None) -> None:
        """`consumed` is told how many bytes the application has taken, or will never take."""
        self._consumed = consumed
        self._unread = bytearray()
        self._changed = asyncio.Event()
        self._discarded = False
        self._delivered = False
        self.complete = False
        """The client has sent its whole request."""
        self.disconnected = False
        """The exchange is over, by an answer or because the client left."""

    def feed(self, data: bytes) -> None:
        """Add a piece of the body; one that nobody will read is dropped."""
        if self._discarded:
            self._consumed(len(data))
        else:
            self._unread += data
            self._changed.set()

    def finish(self) -> None:
        """Note the end of the body."""
        self.complete = True
        self._changed.set()

    def discard(self) -> None:
        """Drop what the application has not read, and what is still to come."""
        self._discarded = True
        unread = len(self._unread)
        self._unread.clear()
        self._changed.set()
        if unread:
            self._consumed(unread)

    def disconnect(self) -> None:
        """End the exchange: from now on the application receives `http.disconnect`, at once and every time."""
        self.disconnected = True
        self.discard()

    async def receive(self) -> Any:
        """Return the next ASGI message: all of the body that has arrived, or `http.disconnect`."""
        while not self.disconnected:
            if self._unread or (self.complete and not self._delivered):
                body = bytes(self._unread)
                self._unread.clear()
                self._delivered = self.complete
                self._changed.set()
                if body:
                    self._consumed(len(body))
                return {"type": "http.request", "body": body, "more_body": not self._delivered}
            self._changed.clear()
            await self._changed.wait()
        return {"type": "http.disconnect"}

    async def room(self) -> None:
        """Return once there is room for more."""
        while len(self._unread) > HIGH_WATER:
            self._changed.clear()
            await self._changed.wait()
