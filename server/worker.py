"""One serving process's inside: lifespan, listener and connections, opened and closed in order; it knows no signals."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, cast

from hypercorn.asyncio.lifespan import Lifespan
from hypercorn.config import Config
from hypercorn.typing import ASGIFramework, ASGISendEvent, LifespanState
from hypercorn.utils import LifespanFailureError, LifespanTimeoutError, wrap_app
from starlette.types import ASGIApp

from server.context import Context
from server.listen import BACKLOG, Listener, StartError

LAST_CALL = 0.25
"""Seconds in which a request that was under way when the listener closed is still answered, before idle connections close."""

CLOSE_GRACE = 2.0
"""Seconds in which connections may close in good order (TLS peers answer, buffers empty) before they are cut."""

LIFESPAN_GRACE = 1.0
"""Seconds that the application's own shutdown may take."""

Connect = Callable[..., Awaitable[None]]
"""Serves one connection; called like hypercorn's TCPServer."""


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

    def __init__(self, app: ASGIApp, config: Config, listener: Listener, context: Context, connect: Connect) -> None:
        self._app = wrap_app(cast(ASGIFramework, app), config.wsgi_max_body_size, "asgi")
        self._config = config
        self._listener = listener
        self._context = context
        self._connect = connect
        self._connections: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}
        self._state = LifespanState({})
        self._loop = asyncio.get_running_loop()
        self._lifespan = Startup(self._app, config, self._loop, self._state)

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
            ssl_handshake_timeout=None if self._listener.tls is None else self._config.ssl_handshake_timeout,
        )

    async def _abandoned(self, reason: str) -> StartError:
        self._listener.socket.close()
        # An application that failed cleans up after itself; one that hangs is cancelled.
        with suppress(LifespanFailureError, TimeoutError):
            await asyncio.wait_for(self._application, LIFESPAN_GRACE)
        return StartError(reason)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._connections[task] = writer
        try:
            await self._connect(self._app, self._loop, self._config, self._context, self._state, reader, writer)
        except asyncio.CancelledError:
            # Only `stop` cancels connections, and waits for them; asyncio's streams would log this as an error.
            pass
        finally:
            del self._connections[task]

    async def stop(self) -> None:
        """Refuse new connections, let the others close, cut those that do not, and shut the application down."""
        # Not `wait_closed`: since CPython 3.12.1 it waits for every connection, without end (hypercorn #308).
        self._server.close()
        self._context.drain()
        if self._connections:
            await asyncio.wait(list(self._connections), timeout=LAST_CALL)
        await self._context.end()
        if self._connections:
            await asyncio.wait(list(self._connections), timeout=CLOSE_GRACE)
        for task, writer in list(self._connections.items()):
            writer.transport.abort()
            task.cancel()
        if self._connections:
            await asyncio.wait(list(self._connections), timeout=CLOSE_GRACE / 4)
        await self._stop_application()

    async def _stop_application(self) -> None:
        self._config.shutdown_timeout = LIFESPAN_GRACE
        try:
            await self._lifespan.wait_for_shutdown()
        except LifespanTimeoutError as error:
            await self._config.log.error("%s", error)
        self._application.cancel()
        results = await asyncio.gather(self._application, return_exceptions=True)
        if isinstance(results[0], LifespanFailureError):
            await self._config.log.error("%s", results[0])
