"""The gate that every chat request passes: it counts what runs and refuses what must not start; it never waits for a client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class GateClosed(Exception):
    """A request came while the service is draining, or while as many as allowed are running."""


class Gate:
    """Counts the requests of one process, and tells them when the process is about to end."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._idle = asyncio.Event()
        self._idle.set()
        self._running: set[Callable[[], None]] = set()
        self.draining = False

    @property
    def in_flight(self) -> int:
        return len(self._running)

    @property
    def closed(self) -> bool:
        """Whether a request that came now would be refused."""
        return self.draining or self.in_flight >= self._limit

    @contextmanager
    def enter(self, on_stop: Callable[[], None]) -> Iterator[None]:
        """Hold a place for as long as the body runs; raises GateClosed when there is none.

        `on_stop` is called when the body must end now.
        """
        if self.closed:
            raise GateClosed
        self._running.add(on_stop)
        self._idle.clear()
        try:
            yield
        finally:
            self._running.discard(on_stop)
            if not self._running:
                self._idle.set()

    def drain(self) -> None:
        """Refuse what comes from now on; what runs may finish."""
        self.draining = True

    def stop(self) -> None:
        """Refuse what comes from now on, and tell what still runs to end, in good order."""
        self.draining = True
        for on_stop in list(self._running):
            on_stop()

    async def wait_until_idle(self) -> None:
        """Return as soon as nothing runs."""
        await self._idle.wait()
