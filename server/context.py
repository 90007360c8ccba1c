"""What all connections of one process share: whether it is draining, and the date; it opens and closes nothing itself."""

from __future__ import annotations

from time import time
from typing import Protocol
from wsgiref.handlers import format_date_time

from hypercorn.asyncio.worker_context import WorkerContext


class Open(Protocol):
    """A connection, as far as the end of the process concerns it."""

    def close_when_idle(self) -> None:
        """Move the client elsewhere as soon as nothing runs for it; what it asks until then is still answered."""

    def terminate(self) -> None:
        """Take no further request, and close when nothing runs."""


class Context(WorkerContext):
    """hypercorn's context, whose connections are told when the process ends instead of each waiting for it in a task."""

    def __init__(self) -> None:
        super().__init__(None)
        self.connections: set[Open] = set()
        self.draining = False
        self._second = 0
        self._date = b""

    def drain(self) -> None:
        """Tell every connection, and those to come, that the process is about to end."""
        self.draining = True
        for connection in list(self.connections):
            connection.close_when_idle()

    async def end(self) -> None:
        """Tell every connection that the process ends now."""
        self.draining = True
        await self.terminated.set()
        for connection in list(self.connections):
            connection.terminate()

    @property
    def date(self) -> bytes:
        """The value of the Date header (RFC 9110 §6.6.1), made once a second."""
        second = int(time())
        if second != self._second:
            self._second, self._date = second, format_date_time(second).encode()
        return self._date
