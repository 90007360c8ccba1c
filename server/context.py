"""What all connections of one process share: the application, the limits, the end, the date; it opens nothing itself."""

from __future__ import annotations

from time import time
from wsgiref.handlers import format_date_time

from hypercorn.config import Config
from hypercorn.typing import LifespanState
from starlette.types import ASGIApp


class Context:
    """One for each process that serves."""

    def __init__(self, app: ASGIApp, config: Config) -> None:
        self.app = app
        self.config = config
        self.state = LifespanState({})
        """The state of the lifespan, of which each request gets a copy."""
        self.draining = False
        """The process is about to end: each connection's next answer is its last."""
        self.terminated = False
        """The process ends: no request is taken any more."""
        self._second = 0
        self._date = b""

    @property
    def date(self) -> bytes:
        """The value of the Date header (RFC 9110 §6.6.1), made once a second."""
        second = int(time())
        if second != self._second:
            self._second, self._date = second, format_date_time(second).encode()
        return self._date
