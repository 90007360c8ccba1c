"""An event loop whose clock a test may turn forward; sockets stay real, and nothing ever has to sleep."""

from __future__ import annotations

import asyncio


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
