"""The parent of several serving processes: starts them, hands signals on, replaces those that crash; it serves nothing itself.

Each worker is a fork that does what a single process does, on a listening socket of its own. The parent keeps every socket, so
that connections to a worker which crashed wait for its successor.

A worker that ends with an error code refused to start, or could not go on: the others are drained and the parent ends with that
code, so that the platform sees it. One that is killed (out of memory, a fault in native code) is replaced, up to RESTARTS times
in RESTART_WINDOW; after that the parent drains the rest and ends with 1. When the parent itself dies, the workers read the end
of a pipe and drain.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic

from server.listen import Listener

log = logging.getLogger("rawbot.server")

RESTARTS = 5
"""Crashes that are borne within RESTART_WINDOW; a worker that crashes at once is not worth more."""

RESTART_WINDOW = 60.0
"""Seconds."""

STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})

Serve = Callable[[Listener, int], int]
"""Serves on a listener until a signal, or until the file descriptor reads its end; returns the exit code."""


class Supervisor:
    """A fixed number of workers, one for each listener."""

    def __init__(self, listeners: Sequence[Listener], serve: Serve, patience: float) -> None:
        """`patience` is the time after a stop signal, in seconds, at which what still runs is killed."""
        self._listeners = listeners
        self._serve = serve
        self._patience = patience
        self._alive, self._parent = os.pipe()
        self._workers: dict[int, Listener] = {}
        self._crashes: deque[float] = deque()
        self._stopping = False
        self._exit_code = 0

    def supervise(self) -> int:
        """Run the workers until a signal, or until one of them fails; return the exit code.

        In each worker this does not return: it exits.
        """
        awaited = STOP_SIGNALS | {signal.SIGCHLD, signal.SIGALRM}
        signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
        for listener in self._listeners:
            self._start(listener)
        while self._workers:
            number = signal.sigwait(awaited)
            if number == signal.SIGCHLD:
                self._reap()
            elif number == signal.SIGALRM:
                self._signal(signal.SIGKILL)
            else:
                self._stop()
        return self._exit_code

    def _start(self, listener: Listener) -> None:
        pid = os.fork()
        if pid:
            self._workers[pid] = listener
            return
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD, signal.SIGALRM})
        os.close(self._parent)
        for other in self._listeners:
            if other is not listener:
                other.socket.close()
        sys.exit(self._serve(listener, self._alive))

    def _reap(self) -> None:
        while self._workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self._ended(self._workers.pop(pid), os.waitstatus_to_exitcode(status))

    def _ended(self, listener: Listener, code: int) -> None:
        """React to the end of a worker; a negative code is the signal that killed it."""
        if self._stopping:
            self._exit_code = self._exit_code or abs(code)
        elif code > 0:
            self._give_up(code, f"a worker ended with code {code}")
        elif self._crashed_too_often():
            self._give_up(1, f"{len(self._crashes)} workers crashed within {RESTART_WINDOW:.0f} s")
        else:
            log.error("a worker ended with code %d and is replaced", code)
            self._start(listener)

    def _crashed_too_often(self) -> bool:
        now = monotonic()
        self._crashes.append(now)
        while now - self._crashes[0] > RESTART_WINDOW:
            self._crashes.popleft()
        return len(self._crashes) > RESTARTS

    def _give_up(self, code: int, reason: str) -> None:
        log.error("%s: stopping", reason)
        self._exit_code = code
        self._stop()

    def _stop(self) -> None:
        if not self._stopping:
            self._stopping = True
            signal.setitimer(signal.ITIMER_REAL, self._patience)
            # First of all: a socket that is still open here takes connections which nobody will serve.
            for listener in self._listeners:
                listener.socket.close()
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._workers:
            os.kill(pid, number)
