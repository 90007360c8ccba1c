"""An event loop whose clock a test may turn forward; sockets stay real, and nothing ever has to sleep."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Any, TypeVarTuple, Unpack

Ts = TypeVarTuple("Ts")


class SteerableLoop(asyncio.SelectorEventLoop):
    """Time passes as usual, and `advance` skips over the rest: timers that are due by then run at once.

    It also counts what costs: tasks and timers.
    """

    def __init__(self) -> None:
        self._skipped = 0.0
        self.tasks_made: list[str] = []
        self.timers_set = 0
        super().__init__()
        self.set_task_factory(self._count_task)

    def _count_task(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        # What closes an asynchronous generator is a coroutine without a name.
        self.tasks_made.append(getattr(coroutine, "__qualname__", ""))
        return asyncio.Task(coroutine, loop=loop, **options)

    def call_at(
        self, when: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        self.timers_set += 1
        return super().call_at(when, callback, *args, context=context)

    def time(self) -> float:
        return super().time() + self._skipped

    def advance(self, seconds: float) -> None:
        self._skipped += seconds
        self.call_soon(lambda: None)


def running_loop() -> SteerableLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SteerableLoop)
    return loop


def advance(seconds: float) -> None:
    """Turn the running loop's clock forward."""
    running_loop().advance(seconds)


async def settle() -> None:
    """Let everything run that is due, so that a test may say what has not happened."""
    for _ in range(50):
        await asyncio.sleep(0)


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
