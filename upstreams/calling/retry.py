"""What a failure means for the next call: whether to repeat it, when, and whether it speaks against the upstream; pure."""

from __future__ import annotations

import random

from upstreams.values import ErrorKind, Failure

LONGEST_PAUSE = 5.0
"""Seconds for which a call waits because the upstream asked so; the others of the panel are speaking meanwhile."""

RETRY_DELAY = (0.1, 0.4)
"""Seconds between which the pause before the first repetition lies at random; it doubles with each further one."""

PASSING = frozenset({ErrorKind.UNREACHABLE, ErrorKind.RATE_LIMITED, ErrorKind.UNAVAILABLE, ErrorKind.BROKEN})
"""Failures after which the same call may well succeed."""

CLIENTS_OWN = frozenset({ErrorKind.BAD_REQUEST, ErrorKind.CONTEXT_LENGTH, ErrorKind.TOO_LARGE})
"""Failures that speak for the upstream rather than against it: it is there, and the request was at fault."""


def pause_before_retry(failure: Failure, attempt: int) -> float | None:
    """Return the seconds to wait before the call is repeated, or None where that makes no sense."""
    if failure.kind not in PASSING:
        return None
    if failure.retry_after is not None:
        return failure.retry_after if failure.retry_after <= LONGEST_PAUSE else None
    return random.uniform(*RETRY_DELAY) * (1 << attempt)  # noqa: S311 - spreads calls, guards nothing
