"""What all connections of one process share: whether the process is ending, and the date; it knows no connection."""

from __future__ import annotations

from time import time
from wsgiref.handlers import format_date_time


class Context:
    """Two steps towards the end, and a clock."""

    def __init__(self) -> None:
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
