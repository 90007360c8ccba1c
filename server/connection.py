"""One TCP or TLS connection: reads, writes, keeps one timer and closes; what the bytes mean is the protocols' affair.

Takes the place of hypercorn's TCPServer, whose defects it repairs: a connection whose peer has closed waits for its idle
timer in CLOSE_WAIT (here it closes at once); each write after a reset is one line in the log (here it is not attempted);
every idle period is a task of its own (here a timer); a TLS peer that does not answer close_notify ends in a traceback
(#202, #264).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from typing import Any, Protocol

from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.tcp_server import MAX_RECV
from hypercorn.config import Config
from hypercorn.protocol.h11 import H2ProtocolAssumedError
from hypercorn.typing import LifespanState
from starlette.types import ASGIApp

from server.context import Context
from server.exchange import Exchange, Request, http_scope

LINGER = 5.0
"""Seconds for which the rest of a refused request is read and dropped, or a reset would overtake the answer (RFC 9112 §9.6)."""

FLUSH = 30.0
"""Seconds that a peer gets to read what was written to a closed connection, and to answer TLS's close_notify."""


class HTTPProtocol(Protocol):
    """A protocol, as its connection sees it."""

    def start(self) -> None:
        """Say what is to be said first."""

    async def receive(self, data: bytes) -> None:
        """Take what the client sent, and return when more may come."""

    def disconnect(self) -> None:
        """Note that the client left or is being left: every exchange is over."""

    def expire(self) -> None:
        """Say what is to be said, and close, because the time for the next request is up."""

    def close_when_idle(self) -> None:
        """See `Open.close_when_idle`."""

    def terminate(self) -> None:
        """See `Open.terminate`."""


class Connection:
    """Serves one connection; awaiting it returns when the connection is closed and no handler runs any more."""

    def __init__(
        self,
        protocols: Mapping[str, Callable[[Connection], HTTPProtocol]],
        app: ASGIWrapper,
        loop: asyncio.AbstractEventLoop,
        config: Config,
        context: Context,
        state: LifespanState,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """`protocols` are the protocols by their ALPN names; the rest is what hypercorn gives its TCPServer."""
        self.config = config
        self.context = context
        self._protocols = protocols
        self._app: ASGIApp = app.app  # type: ignore[assignment]  # hypercorn's types of ASGI are narrower than Starlette's
        self._loop = loop
        self._state = state
        self._reader = reader
        self._writer = writer
        self._timer: asyncio.TimerHandle | None = None
        self._ending = False
        self._tls = writer.get_extra_info("ssl_object")
        self._protocol: HTTPProtocol
        self._handlers: asyncio.TaskGroup

    def __await__(self) -> Generator[Any, None, None]:
        return self._run().__await__()

    async def _run(self) -> None:
        chosen = None if self._tls is None else self._tls.selected_alpn_protocol()
        self._protocol = self._protocols[chosen or "http/1.1"](self)
        self.context.connections.add(self)
        try:
            async with asyncio.TaskGroup() as self._handlers:
                self._protocol.start()
                await self._read()
                self._protocol.disconnect()
                self.close()
        finally:
            await self._closed()

    async def _read(self) -> None:
        while not self._reader.at_eof():
            try:
                data = await self._reader.read(MAX_RECV)
            except OSError:  # A reset, or a broken TLS record: the peer is gone, and there is nobody to tell.
                return
            if data and not self._ending:
                await self._receive(data)

    async def _receive(self, data: bytes) -> None:
        try:
            await self._protocol.receive(data)
        except H2ProtocolAssumedError as switch:
            self._protocol = self._protocols["h2"](self)
            self._protocol.start()
            await self._protocol.receive(switch.data)

    def open(self, exchange: Exchange, request: Request) -> asyncio.Task[None]:
        """Start the application for a request."""
        scheme = "http" if self._tls is None else "https"
        client, server = self._address("peername"), self._address("sockname")
        scope = http_scope(request, scheme, client, server, self._state)
        return self._handlers.create_task(exchange.run(self._app, scope))

    def _address(self, name: str) -> tuple[str, int] | None:
        address = self._writer.get_extra_info(name)
        return tuple(address[:2]) if isinstance(address, tuple) else None

    def write(self, data: bytes) -> None:
        """Send, without waiting; what is written to a closed connection is dropped."""
        if not (self._ending or self._writer.is_closing()):
            self._writer.write(data)

    async def drain(self) -> None:
        """Return when the peer has taken so much that more may be written, or is gone."""
        with suppress(ConnectionError):  # The reader hears of it too, and ends the exchanges.
            await self._writer.drain()

    @property
    def write_buffer_size(self) -> int:
        """Bytes that were written and that the peer has not taken."""
        return self._writer.transport.get_write_buffer_size()

    def set_timer(self, seconds: float | None) -> None:
        """Close the connection in `seconds` unless this is called again before; None: not at all."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self._loop.call_later(seconds, self._expire)

    def _expire(self) -> None:
        if self._ending:
            self.close()
        else:
            self._protocol.expire()

    def linger(self) -> None:
        """Say no more, and read on for a while before closing, so that no reset overtakes what was said."""
        if self._writer.can_write_eof() and not self._writer.is_closing():
            with suppress(OSError):  # The peer has left already.
                self._writer.write_eof()
        self._ending = True
        self.set_timer(LINGER)

    def close(self) -> None:
        """Close as soon as what was written is sent."""
        self._ending = True
        self.context.connections.discard(self)
        self._writer.close()
        self.set_timer(None)
        self._timer = self._loop.call_later(FLUSH, self._writer.transport.abort)

    async def _closed(self) -> None:
        self.close()
        try:
            with suppress(OSError):  # A peer that is gone, or silent, cannot be left in good order.
                await self._writer.wait_closed()
        finally:
            self.set_timer(None)

    def close_when_idle(self) -> None:
        """See `Open.close_when_idle`."""
        if not self._ending:
            self._protocol.close_when_idle()

    def terminate(self) -> None:
        """See `Open.terminate`."""
        if self._ending:
            self.close()
        else:
            self._protocol.terminate()
