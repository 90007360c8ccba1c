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

    def admit(self, now: float) -> State:
        """Return the state that a call meets: CLOSED lets it through, HALF_OPEN as the one trial, OPEN refuses it.

        A call that was let through must report `succeeded` or `failed`; a trial that ends otherwise, `abandoned`.
        """
        state = self.state(now)
        if state is not State.HALF_OPEN:
            return state
        if self._trial_runs:
            return State.OPEN
        self._trial_runs = True
        return state

    def succeeded(self) -> State | None:
        """Close; returns the new state where that is a change."""
        was_closed = self._opened_at is None
        self._failures = 0
        self._opened_at = None
        self._trial_runs = False
        return None if was_closed else State.CLOSED

    def failed(self, now: float) -> State | None:
        """Count a failure, which may open the breaker or end its trial; returns the new state where that is a change."""
        before = self.state(now)
        self._failures += 1
        self._trial_runs = False
        if self._failures >= self._limit:
            self._opened_at = now
        after = self.state(now)
        return None if after is before else after

    def abandoned(self) -> None:
        """End the trial without a result: its client left."""
        self._trial_runs = False
