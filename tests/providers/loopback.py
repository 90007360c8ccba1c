"""A provider on loopback: answers real HTTP with scripted turns and faults, and counts; says nothing on its own account."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self

from tests.providers.faults import Fault
from tests.providers.http1 import Connection, Step
from tests.providers.steps import answer, refusal
from tests.providers.turns import Call, Received, Turn, Wire

__all__ = ["Call", "Fault", "Loopback", "Received", "Turn"]

PATIENCE = 5.0
"""Real seconds after which a test that waits in vain fails; far more than loopback ever needs."""


class Loopback:
    """One provider; a request that it would refuse is refused, whatever is to be played."""

    def __init__(self, wire: Wire, turn: Turn, *, tls: ssl.SSLContext | None = None, patience: float = PATIENCE) -> None:
        self.received: list[Received] = []
        self.connections = 0
        self.open_calls = 0
        self.closed_early = 0
        self.url = ""
        self._wire = wire
        self._turn = turn
        self._standing: Turn | Fault = turn
        self._once: deque[Turn | Fault] = deque()
        self._tls = tls
        self._patience = patience
        self._running: dict[asyncio.Task[None], Connection] = {}
        self._changed = asyncio.Event()

    def play(self, what: Turn | Fault) -> None:
        """Answer this from now on; a fault in the middle breaks the turn that was played last."""
        self._standing = what
        if isinstance(what, Turn):
            self._turn = what

    def play_once(self, what: Turn | Fault) -> None:
        """Answer this to one request, before what stands, in the order of these calls."""
        self._once.append(what)

    async def wait_for_calls(self, count: int) -> None:
        """Return when so many requests have arrived in all."""
        await self._wait(lambda: len(self.received) >= count, f"{count} calls were to arrive")

    async def wait_until_quiet(self) -> None:
        """Return when no request is being answered."""
        await self._wait(lambda: not self.open_calls, "all calls were to end")

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        running = dict(self._running)
        for task, connection in running.items():
            connection.abort()
            task.cancel()
        results = await asyncio.gather(*running, return_exceptions=True)
        await self._server.wait_closed()
        for result in results:
            if isinstance(result, Exception):
                raise result

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        connection = Connection(reader, writer)
        self._running[asyncio.create_task(self._serve(connection))] = connection

    async def _serve(self, connection: Connection) -> None:
        try:
            while received := await connection.receive():
                if not await self._answer(connection, received):
                    return
        finally:
            await connection.close()

    async def _answer(self, connection: Connection, received: Received) -> bool:
        """Play the answer while its client is there; returns whether the connection lives on."""
        self.received.append(received)
        self._count(1)
        playing = asyncio.create_task(connection.play(self._steps(received)))
        leaving = asyncio.create_task(connection.wait_until_gone())
        try:
            await asyncio.wait({playing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if playing.done():
                return playing.result()
            self.closed_early += 1
        except OSError:
            self.closed_early += 1
        finally:
            playing.cancel()
            leaving.cancel()
            await asyncio.wait({playing, leaving})
            self._count(-1)
        return False

    def _steps(self, received: Received) -> Iterator[Step]:
        if refused := self._refuse(received):
            yield from refusal(self._wire, *refused)
            return
        what = self._once.popleft() if self._once else self._standing
        if isinstance(what, Turn):
            yield from answer(self._wire, what, received)
        else:
            yield from what.steps(self._wire, self._turn, received)

    def _refuse(self, received: Received) -> tuple[int, dict[str, object]] | None:
        if not received.path.endswith(self._wire.PATH):
            return 404, self._wire.error(404, "Not Found")
        if received.method != "POST":
            return 405, self._wire.error(405, "Method Not Allowed")
        return self._wire.refuse(received)

    def _count(self, change: int) -> None:
        self.open_calls += change
        self._changed.set()
        self._changed = asyncio.Event()

    async def _wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait on the real clock, for a test may turn the loop's forward meanwhile."""
        end = time.monotonic() + self._patience
        while not condition():
            if (left := end - time.monotonic()) <= 0:
                raise AssertionError(f"{what}: {len(self.received)} arrived, {self.open_calls} open after {self._patience:g} s")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left)
