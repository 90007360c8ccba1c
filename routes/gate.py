"""The gate that every chat request passes: it counts what runs and refuses what must not start; it never waits for a client."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class GateClosed(Exception):
    """A request came while the service is draining, or while as many as allowed are running."""


class Gate:
    """Counts the requests of one process, and tells them when the process is about to end."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._idle = asyncio.Event()
        self._idle.set()
        self.in_flight = 0
        self.draining = False
        self.stopping = asyncio.Event()
        """Set when what still runs must end now, in good order."""

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Hold a place for as long as the body runs; raises GateClosed when there is none."""
        if self.draining or self.in_flight >= self._limit:
            raise GateClosed
        self.in_flight += 1
        self._idle.clear()
        try:
            yield
        finally:
            self.in_flight -= 1
            if self.in_flight == 0:
                self._idle.set()

    def drain(self) -> None:
        """Refuse what comes from now on; what runs may finish."""
        self.draining = True

    def stop(self) -> None:
        """Ask what still runs to end."""
        self.draining = True
        self.stopping.set()

    async def wait_until_idle(self) -> None:
        """Return as soon as nothing runs."""
        await self._idle.wait()
