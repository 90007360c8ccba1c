"""A service that tests start as a process of its own; the path of a request says what its handler does."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time

from starlette.types import ASGIApp, Receive, Scope, Send

from gate import Gate, GateClosed
from server.run import run
from settings import Settings, SettingsError, read_settings
from tests.server.serving import BODY, answer, start


class Service:
    """The application; FAILURE says where it fails on purpose."""

    def __init__(self, failure: str | None, gate: Gate) -> None:
        self.failure = failure
        self.gate = gate
        self.released = asyncio.Event()
        self.handlers = {
            "/": self.who,
            "/stream": self.stream,
            "/chat": self.chat,
            "/deaf": self.deaf,
            "/block": self.block,
            "/release": self.release,
            "/crash": self.crash,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.lifespan(receive, send)
        else:
            await self.handlers[scope["path"]](send)

    async def lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        if self.failure == "lifespan":
            await send({"type": "lifespan.startup.failed", "message": "Traceback\n  of many lines\nRuntimeError: no luck\n"})
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self.failure == "shutdown":
            await asyncio.Event().wait()
        logging.getLogger("rawbot.test").info("shut down")
        await send({"type": "lifespan.shutdown.complete"})

    async def who(self, send: Send) -> None:
        """Tell the process."""
        await answer(send, b"%d" % os.getpid())

    async def hello(self, send: Send) -> None:
        await start(send)
        await send({**BODY, "body": b"hello", "more_body": True})

    async def stream(self, send: Send) -> None:
        """Say hello, and goodbye when released, or sorry when asked to end."""
        stopped = asyncio.Event()
        with self.gate.enter(stopped.set):
            await self.hello(send)
            waiting = {asyncio.ensure_future(self.released.wait()), asyncio.ensure_future(stopped.wait())}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in waiting:
                task.cancel()
            await send({**BODY, "body": b"goodbye" if self.released.is_set() else b"sorry"})

    async def release(self, send: Send) -> None:
        self.released.set()
        await answer(send)

    async def chat(self, send: Send) -> None:
        """Be a request that a draining gate refuses."""
        try:
            with self.gate.enter(lambda: None):
                await answer(send)
        except GateClosed:
            await answer(send, status=503)

    async def deaf(self, send: Send) -> None:
        """Ignore every request to end."""
        with self.gate.enter(lambda: None):
            await self.hello(send)
            while True:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    continue

    async def block(self, send: Send) -> None:
        """Stop the event loop."""
        await self.hello(send)
        time.sleep(60)  # noqa: ASYNC251  # on purpose

    async def crash(self, send: Send) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def build(settings: Settings, gate: Gate) -> ASGIApp:
    """Make the application."""
    failure = settings.environment.text("FAILURE")
    if failure == "build":
        raise SettingsError("FAILURE is set")
    return Service(failure, gate)


if __name__ == "__main__":
    if "asyncio" in sys.argv:
        sys.modules["uvloop"] = None  # type: ignore[assignment]  # so that its import fails, as where it is not installed
    sys.exit(run(build, read_settings()))
