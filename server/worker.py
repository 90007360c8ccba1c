"""One serving process's inside: lifespan, listener and connections, opened and closed in order; it knows no signals."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import cast

from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.lifespan import Lifespan
from hypercorn.config import Config
from hypercorn.typing import ASGIFramework, ASGISendEvent
from hypercorn.utils import LifespanFailureError, LifespanTimeoutError
from starlette.types import ASGIApp

from server.connection import Connection, HTTPProtocol
from server.context import Context
from server.http2 import HTTP2Protocol
from server.http11 import HTTP11Protocol
from server.listen import BACKLOG, Listener, StartError

PROTOCOLS: Mapping[str, Callable[[Connection], HTTPProtocol]] = {"http/1.1": HTTP11Protocol, "h2": HTTP2Protocol}
"""The protocols by their ALPN names."""

LAST_CALL = 0.25
"""Seconds in which a request that was under way when the listener closed is still answered, before idle connections close."""

CLOSE_GRACE = 2.0
"""Seconds in which connections may close in good order (TLS peers answer, buffers empty) before they are cut."""

LIFESPAN_GRACE = 1.0
"""Seconds that the application's own shutdown may take."""


class Startup(Lifespan):
    """hypercorn's lifespan, which also keeps the reason of a start that failed."""

    failure: str | None = None

    async def asgi_send(self, message: ASGISendEvent) -> None:
        if message["type"] == "lifespan.startup.failed":
            lines = message.get("message", "").strip().splitlines()
            self.failure = lines[-1] if lines else "no reason given"
        await super().asgi_send(message)


class Worker:
    """Serves one application on one listener, in the running event loop."""

    def __init__(self, app: ASGIApp, config: Config, listener: Listener) -> None:
        self.context = Context(app, config)
        self._listener = listener
        self._connections: dict[asyncio.Task[None], Connection] = {}
        self._loop = asyncio.get_running_loop()
        # hypercorn's types of ASGI are narrower than Starlette's.
        wrapped = ASGIWrapper(cast(ASGIFramework, app))
        self._lifespan = Startup(wrapped, config, self._loop, self.context.state)

    @property
    def connections(self) -> list[Connection]:
        """The connections that are not closed."""
        return [connection for connection in self._connections.values() if not connection.closed]

    async def start(self) -> None:
        """Start the application, then listen; raises StartError when the application refuses."""
        self._application = self._loop.create_task(self._lifespan.handle_lifespan())
        try:
            await self._lifespan.wait_for_startup()
        except LifespanTimeoutError as error:
            raise await self._abandoned(str(error)) from None
        if self._lifespan.failure is not None:
            raise await self._abandoned(f"the application does not start: {self._lifespan.failure}")
        self._server = await asyncio.start_server(
            self._accept,
            sock=self._listener.socket,
            backlog=BACKLOG,
            ssl=self._listener.tls,
            ssl_handshake_timeout=None if self._listener.tls is None else self.context.config.ssl_handshake_timeout,
        )

    async def _abandoned(self, reason: str) -> StartError:
        self._listener.socket.close()
        # An application that failed cleans up after itself; one that hangs is cancelled.
        with suppress(LifespanFailureError, TimeoutError):
            await asyncio.wait_for(self._application, LIFESPAN_GRACE)
        return StartError(reason)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        connection = Connection(self.context, PROTOCOLS, reader, writer)
        self._connections[task] = connection
        try:
            await connection.run()
        except asyncio.CancelledError:
            # Only `stop` cancels connections, and waits for them; asyncio's streams would log this as an error.
            pass
        finally:
            del self._connections[task]

    def drain(self) -> None:
        """Move clients elsewhere as soon as nothing runs for them; what they ask until then is still answered."""
        self.context.draining = True
        for connection in self.connections:
            connection.protocol.close_when_idle()

    async def stop(self) -> None:
        """Refuse new connections, let the others close, abort those that do not, and shut the application down."""
        # Not `wait_closed`: since CPython 3.12.1 it waits for every connection, without end (hypercorn #308).
        self._server.close()
        self.drain()
        await self._wait_for_connections(LAST_CALL)
        self.context.terminated = True
        for connection in self.connections:
            connection.terminate()
        await self._wait_for_connections(CLOSE_GRACE)
        for task, connection in self._connections.items():
            connection.abort()
            task.cancel()
        await self._wait_for_connections(CLOSE_GRACE / 4)
        await self._stop_application()

    async def _wait_for_connections(self, seconds: float) -> None:
        if self._connections:
            await asyncio.wait(list(self._connections), timeout=seconds)

    async def _stop_application(self) -> None:
        self.context.config.shutdown_timeout = LIFESPAN_GRACE
        try:
            await self._lifespan.wait_for_shutdown()
        except LifespanTimeoutError as error:
            await self.context.config.log.error("%s", error)
        self._application.cancel()
        results = await asyncio.gather(self._application, return_exceptions=True)
        if isinstance(results[0], LifespanFailureError):
            await self.context.config.log.error("%s", results[0])
