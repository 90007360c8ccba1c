"""Runs the service: listens, serves until a signal, drains, and ends the process in time; it speaks no protocol.

A stop loses nothing. At the first SIGTERM or SIGINT (further ones change nothing) the application refuses new requests while
the listener stays open; what runs may finish for DRAIN_SECONDS, is then asked to end, and the connections are closed. A thread
of its own ends the process HARD_STOP seconds after that, whatever still hangs, before the platform's SIGKILL at 30 s.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp

from routes.gate import Gate
from server.configuration import configuration
from server.context import Context
from server.listen import Listener, StartError, open_listeners
from server.repairs import connect_with
from server.worker import Worker
from server.workers import STOP_SIGNALS, Workers
from settings import Settings, SettingsError

log = logging.getLogger("rawbot.server")

STOP_GRACE = 1.0
"""Seconds that requests get to say goodbye to their clients once they are asked to end."""

HARD_STOP = 4.3
"""Seconds after DRAIN_SECONDS at which the process ends in any case: STOP_GRACE, closing and the lifespan fit in."""

Build = Callable[[Settings, Gate], ASGIApp]


def run(build: Build, settings: Settings) -> int:
    """Serve the application that `build` makes until a signal ends it; return the exit code, 1 when it cannot start.

    With several workers `build` is called in each of them.
    """
    logging.basicConfig(level=settings.log_level.upper(), format="%(message)s")
    # A signal that comes before there is a handler waits for it; afterwards, it must not kill a process on its way out.
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
    return Workers(listeners, serve, settings.drain_seconds + HARD_STOP).supervise()


async def _serve(build: Build, settings: Settings, listener: Listener, parent: int | None) -> int:
    signalled = _watch_signals(settings.drain_seconds + HARD_STOP, parent)
    gate, context = Gate(settings.max_in_flight), Context()
    worker = Worker(build(settings, gate), configuration(settings), listener, context, connect_with())
    await worker.start()
    log.info("listening on %s", listener.url)
    await signalled.wait()
    gate.drain()
    context.drain()
    await _at_most(settings.drain_seconds, gate.wait_until_idle())
    gate.stop()
    await _at_most(STOP_GRACE, gate.wait_until_idle())
    await worker.stop()
    # The loop gives the signals back when it closes.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    return 0


def _watch_signals(seconds: float, parent: int | None) -> asyncio.Event:
    """Return the event that the first signal sets, or the end of `parent`; the process ends `seconds` later, come what may."""
    loop, signalled = asyncio.get_running_loop(), asyncio.Event()
    # Not `loop.call_later`: a thread also ends a process whose event loop is stuck.
    deadline = threading.Timer(seconds, os._exit, (0,))
    deadline.daemon = True

    def stop() -> None:
        if parent is not None:
            loop.remove_reader(parent)
        if not signalled.is_set():
            signalled.set()
            deadline.start()

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop)
    if parent is not None:
        loop.add_reader(parent, stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    return signalled


async def _at_most(seconds: float, done: Awaitable[None]) -> None:
    await asyncio.wait({asyncio.ensure_future(done)}, timeout=seconds)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's factory where it is installed: it is faster, and not needed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
