"""Serves an ASGI application of a test on a real socket, in the test's own event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from server.configuration import configuration
from server.listen import Listener, open_listeners
from server.worker import Worker
from settings import Settings

BODY = {"type": "http.response.body"}


@dataclass
class Serving:
    """A server that runs, seen from within."""

    port: int
    worker: Worker
    stopped: bool = False

    async def stop(self) -> None:
        """Stop, once."""
        if not self.stopped:
            self.stopped = True
            await self.worker.stop()


@asynccontextmanager
async def serving(app: ASGIApp, *, listener: Listener | None = None, **limits: Any) -> AsyncIterator[Serving]:
    """Serve until the end of the body; `limits` are hypercorn's, TLS files included."""
    settings = Settings(port=0, host="127.0.0.1")
    config = configuration(settings)
    for name, value in limits.items():
        setattr(config, name, value)
    listener = listener or open_listeners(settings, config)[0]
    worker = Worker(without_lifespan(app), config, listener)
    await worker.start()
    served = Serving(listener.socket.getsockname()[1], worker)
    try:
        yield served
    finally:
        await served.stop()


def without_lifespan(app: ASGIApp) -> ASGIApp:
    """Answer the lifespan protocol for an application that knows requests only."""

    async def both(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        for stage in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{stage}.complete"})

    return both


async def start(send: Send, status: int = 200, *headers: tuple[bytes, bytes]) -> None:
    """Send the head of an answer."""
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})


async def answer(send: Send, body: bytes = b"ok", status: int = 200) -> None:
    """Send a complete answer."""
    await start(send, status, (b"content-length", b"%d" % len(body)))
    await send({**BODY, "body": body})


async def read(receive: Receive) -> bytes:
    """Read a whole body."""
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message["more_body"]:
            break
    return body


def tasks() -> int:
    """Count the tasks of the running loop."""
    return len(asyncio.all_tasks())


def descriptors() -> int:
    """Count the open file descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))
