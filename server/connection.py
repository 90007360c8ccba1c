"""One TCP or TLS connection: reads, writes, keeps one timer and closes; what the bytes mean is the protocols' affair.

Takes the place of hypercorn's TCPServer, whose defects it repairs: a connection whose peer has closed waits for its idle
timer in CLOSE_WAIT (here it closes at once); each write after a reset is one line in the log (here it is not attempted);
every idle period is a task of its own (here a timer); a TLS peer that does not answer close_notify ends in a traceback
(#202, #264).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol

from hypercorn.asyncio.tcp_server import MAX_RECV
from hypercorn.protocol.h11 import H2ProtocolAssumedError

from server.context import Context
from server.exchange import Exchange, Request, http_scope

LINGER = 5.0
"""Seconds for which the rest of a refused request is read and dropped, or a reset would overtake the answer (RFC 9112 §9.6)."""

FLUSH = 30.0
"""Seconds that a peer gets to read what was written to a closed connection, and to answer TLS's close_notify."""


class HTTPProtocol(Protocol):
    """HTTP/1.1 or HTTP/2 on one connection."""

    def start(self) -> None:
        """Send the connection preface, if there is one."""

    async def receive(self, data: bytes) -> None:
        """Act on what the client sent; returns when more may come."""

    def disconnect(self) -> None:
        """End every exchange: the client left, or is being left."""

    def close_when_idle(self) -> None:
        """Close as soon as nothing runs; what the client asks until then is still answered."""

    def terminate(self) -> None:
        """Take no further request, and close as soon as nothing runs."""


class Connection:
    """One connection, from its first byte to its last."""

    def __init__(
        self,
        context: Context,
        protocols: Mapping[str, Callable[[Connection], HTTPProtocol]],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """`protocols` are listed by their ALPN names (RFC 7301)."""
        self.context = context
        self._protocols = protocols
        self._reader = reader
        self._writer = writer
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False
        self._tls = writer.get_extra_info("ssl_object")
        chosen = None if self._tls is None else self._tls.selected_alpn_protocol()
        self.protocol = protocols[chosen or "http/1.1"](self)
        self._handlers: asyncio.TaskGroup

    async def run(self) -> None:
        """Serve; returns when the connection is closed and no handler runs any more."""
        try:
            async with asyncio.TaskGroup() as self._handlers:
                self.protocol.start()
                await self._read()
                self.protocol.disconnect()
                self.close()
        finally:
            await self._wait_closed()

    async def _read(self) -> None:
        while not self._reader.at_eof():
            try:
                data = await self._reader.read(MAX_RECV)
            except OSError:  # A reset, or a broken TLS record: the peer is gone, and there is nobody to tell.
                return
            if data and not self._closing:
                await self._receive(data)

    async def _receive(self, data: bytes) -> None:
        try:
            await self.protocol.receive(data)
        except H2ProtocolAssumedError as switch:
            self.protocol = self._protocols["h2"](self)
            self.protocol.start()
            await self.protocol.receive(switch.data)

    def start_handler(self, exchange: Exchange, request: Request) -> asyncio.Task[None]:
        """Run the application for a request."""
        scheme = "http" if self._tls is None else "https"
        client, server = self._address("peername"), self._address("sockname")
        scope = http_scope(request, scheme, client, server, self.context.state)
        return self._handlers.create_task(exchange.run(self.context.app, scope))

    def _address(self, name: str) -> tuple[str, int] | None:
        address = self._writer.get_extra_info(name)
        return tuple(address[:2]) if isinstance(address, tuple) else None

    def write(self, data: bytes) -> None:
        """Send, without waiting; what is written to a closed connection is dropped."""
        if not (self._closing or self._writer.is_closing()):
            self._writer.write(data)

    async def drain(self) -> None:
        """Return when the peer has taken so much that more may be written, or is gone."""
        with suppress(ConnectionError):  # The reader hears of it too, and ends the exchanges.
            await self._writer.drain()

    @property
    def write_buffer_size(self) -> int:
        """Bytes that were written and that the kernel has not taken."""
        return self._writer.transport.get_write_buffer_size()

    @property
    def closed(self) -> bool:
        return self._writer.is_closing()

    def set_timer(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call back in `seconds`, unless the one timer of this connection is set again or cancelled before."""
        self.cancel_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, callback)

    def cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def linger(self) -> None:
        """Write no more, and read on for a while before closing, so that no reset overtakes what was written."""
        if self._writer.can_write_eof() and not self._writer.is_closing():
            with suppress(OSError):  # The peer has left already.
                self._writer.write_eof()
        self._closing = True
        self.set_timer(LINGER, self.close)

    def close(self) -> None:
        """Close as soon as what was written is sent."""
        self._closing = True
        self._writer.close()
        self.set_timer(FLUSH, self.abort)

    def abort(self) -> None:
        """Close at once."""
        self._writer.transport.abort()

    async def _wait_closed(self) -> None:
        self.close()
        try:
            with suppress(OSError):  # A peer that is gone, or silent, cannot be left in good order.
                await self._writer.wait_closed()
        finally:
            self.cancel_timer()

    def terminate(self) -> None:
        """Take no further request, and close as soon as nothing runs."""
        if self._closing:
            self.close()
        else:
            self.protocol.terminate()
