"""What a failure means for the next call: whether to retry, after which pause, whether the breaker counts it; pure."""

from __future__ import annotations

import random

from upstreams.values import ErrorKind, Failure

LONGEST_PAUSE = 5.0
"""Longest `retry-after` in seconds that a call waits for; the others of the panel answer meanwhile."""

RETRY_DELAY = (0.1, 0.4)
"""Bounds in seconds of the random pause before the first retry; it doubles with each further one (backoff with jitter)."""

TRANSIENT = frozenset({ErrorKind.UNREACHABLE, ErrorKind.RATE_LIMITED, ErrorKind.UNAVAILABLE, ErrorKind.BROKEN})
"""Failures after which the same call may well succeed: it is retried."""

NOT_COUNTED = frozenset({ErrorKind.BAD_REQUEST, ErrorKind.CONTEXT_LENGTH, ErrorKind.TOO_LARGE})
"""Failures that the circuit breaker does not count: the upstream is healthy."""


def pause_before_retry(failure: Failure, attempt: int) -> float | None:
    """Return the seconds to wait before the call is retried, or None where that makes no sense."""
    if failure.kind not in TRANSIENT:
        return None
    if failure.retry_after is not None:
        return failure.retry_after if failure.retry_after <= LONGEST_PAUSE else None
    return random.uniform(*RETRY_DELAY) * (1 << attempt)  # noqa: S311 - spreads calls, guards nothing
