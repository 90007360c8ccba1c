"""An event loop whose clock a test may turn forward; sockets stay real, and nothing ever has to sleep."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class SteerableLoop(asyncio.SelectorEventLoop):
    """Time passes as usual, and `advance` skips over the rest: timers that are due by then run at once."""

    def __init__(self) -> None:
        self._skipped = 0.0
        super().__init__()

    def time(self) -> float:
        return super().time() + self._skipped

    def advance(self, seconds: float) -> None:
        self._skipped += seconds
        self.call_soon(lambda: None)


def advance(seconds: float) -> None:
    """Turn the running loop's clock forward."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SteerableLoop)
    loop.advance(seconds)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Cancel a body that takes longer in real time, however far a test has turned the loop's clock."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    timer = threading.Timer(seconds, loop.call_soon_threadsafe, (task.cancel, f"not done within {seconds:g} seconds"))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
