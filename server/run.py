"""Runs the service: listens, serves until a signal, drains, and ends the process in time; it speaks no protocol.

A stop loses nothing. At the first SIGTERM or SIGINT (further ones change nothing) the application refuses new requests while
the listener stays open; what runs may finish for DRAIN_SECONDS, is then asked to end, and the connections are closed. A thread
of its own ends the process HARD_STOP seconds after that, whatever still hangs, before the platform's SIGKILL at 30 s.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib.metadata import version
from time import sleep

from starlette.types import ASGIApp

from gate import Gate
from server.configuration import configuration
from server.listen import Listener, StartError, open_listeners
from server.supervisor import STOP_SIGNALS, Supervisor
from server.worker import Worker
from settings import Settings, SettingsError

log = logging.getLogger("rawbot.server")

STOP_GRACE = 1.0
"""Seconds that requests get to say goodbye to their clients once they are asked to end."""

HARD_STOP = 4.3
"""Seconds after DRAIN_SECONDS at which the process ends in any case: STOP_GRACE, closing and the lifespan fit in."""

GC_THRESHOLD = (10_000, 10, 10)
"""Objects made before the youngest generation is looked through (CPython: 700, a fraction of what the requests in flight hold),
and how much seldomer the older ones are. Larger last numbers were no faster, and let memory grow."""

HYPERCORN = "0.18.0"
"""The hypercorn whose configuration, TLS and lifespan were checked; setup.cfg pins it."""

Build = Callable[[Settings, Gate], ASGIApp]


def run(build: Build, settings: Settings) -> int:
    """Serve the application that `build` makes until a signal ends it; return the exit code, 1 when it cannot start.

    With several workers `build` is called in each of them.
    """
    # No line says where, by which thread and in which process it was logged; logging looks it up for each all the same.
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.basicConfig(level=settings.log_level.upper(), format="%(message)s", stream=sys.stdout)
    warn_of_hypercorn(version("hypercorn"))
    # For good, and in all threads: one thread waits for the signals, and none of them kills a process that starts or ends.
    # Child processes inherit this; the workers watch their signals in the same way.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)

    def serve(listener: Listener, parent: int | None = None) -> int:
        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                return runner.run(_serve(build, settings, listener, parent))
        except (StartError, SettingsError) as error:
            log.error("%s", error)
            return 1

    try:
        listeners = open_listeners(settings, configuration(settings), settings.web_concurrency)
    except StartError as error:
        log.error("%s", error)
        return 1
    if len(listeners) == 1:
        return serve(listeners[0])
    return Supervisor(listeners, serve, settings.drain_seconds + HARD_STOP + 0.2).supervise()


def warn_of_hypercorn(installed: str) -> None:
    """Log a line when the installed hypercorn is not the one that was checked."""
    if installed != HYPERCORN:
        log.warning("hypercorn %s is installed, but server/ was checked with %s: run its tests", installed, HYPERCORN)


async def _serve(build: Build, settings: Settings, listener: Listener, parent: int | None) -> int:
    signalled = _watch_signals(settings.drain_seconds + HARD_STOP)
    if parent is not None:
        _watch_parent(parent)
    gate = Gate(settings.max_in_flight)
    worker = Worker(build(settings, gate), configuration(settings), listener)
    await worker.start()
    _tune_gc()
    log.info("listening on %s", listener.url)
    await signalled.wait()
    gate.drain()
    worker.drain()
    await _at_most(settings.drain_seconds, gate.wait_until_idle())
    gate.stop()
    await _at_most(STOP_GRACE, gate.wait_until_idle())
    await worker.stop()
    return 0


def _tune_gc() -> None:
    """Let the garbage collector pass over what was made at the start, and look less often: it took a tenth of the time."""
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)


def _watch_signals(seconds: float) -> asyncio.Event:
    """Return the event that the first signal sets; `seconds` after it the process ends, come what may.

    A thread waits for the signals, and not the event loop: so a loop that is stuck cannot hold the process.
    """
    loop, signalled = asyncio.get_running_loop(), asyncio.Event()

    def watch() -> None:
        signal.sigwait(STOP_SIGNALS)
        with suppress(RuntimeError):  # The loop is closed already: the process is on its way out.
            loop.call_soon_threadsafe(signalled.set)
        sleep(seconds)
        os._exit(0)

    threading.Thread(target=watch, name="signals", daemon=True).start()
    return signalled


def _watch_parent(parent: int) -> None:
    """Take the end of `parent`, a pipe that only the parent process holds open, for a signal."""
    loop = asyncio.get_running_loop()

    def died() -> None:
        loop.remove_reader(parent)
        os.kill(os.getpid(), signal.SIGTERM)

    loop.add_reader(parent, died)


async def _at_most(seconds: float, done: Awaitable[None]) -> None:
    await asyncio.wait({asyncio.ensure_future(done)}, timeout=seconds)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's factory where it is installed: it is faster, and not needed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
