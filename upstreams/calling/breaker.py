"""The circuit breaker of one upstream: a pure state machine, fed with outcomes and the time."""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """The pattern's own words: closed lets calls through, open refuses them, half-open lets one through to see."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Breaker:
    """Skips an upstream for `seconds` after `failures` failures in a row, then lets one trial call through."""

    def __init__(self, failures: int, seconds: float) -> None:
        self._limit = failures
        self._seconds = seconds
        self._failures = 0
        self._opened_at: float | None = None
        self._trial_runs = False

    def state(self, now: float) -> State:
        if self._opened_at is None:
            return State.CLOSED
        return State.OPEN if now < self._opened_at + self._seconds else State.HALF_OPEN

    def allows(self, now: float) -> bool:
        """Tell whether a call may start; one that does must tell `succeeded` or `failed`, a trial else `abandoned`."""
        state = self.state(now)
        if state is State.HALF_OPEN and not self._trial_runs:
            self._trial_runs = True
            return True
        return state is State.CLOSED

    def succeeded(self) -> None:
        self._failures = 0
        self._opened_at = None
        self._trial_runs = False

    def failed(self, now: float) -> None:
        self._failures += 1
        self._trial_runs = False
        if self._failures >= self._limit:
            self._opened_at = now

    def abandoned(self) -> None:
        """End the trial without a result: its client left."""
        self._trial_runs = False
