"""Errors as a client sees them: OpenAI's envelope, and the table from what went wrong upstream to status, type and code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from upstreams.values import ErrorKind, Failure, Result

INVALID_REQUEST = "invalid_request_error"
SERVER_ERROR = "server_error"

RETRY_SECONDS = 5
"""What a client is told to wait when the service is full or about to restart."""

LONGEST_RETRY_AFTER = 120.0
"""Seconds; openai-python does not retry at all when it is asked to wait for longer."""


class ApiError(Exception):
    """A request that ends in an error answer; `headers` go out with it."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = INVALID_REQUEST,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    def envelope(self) -> bytes:
        """Return the JSON of the answer, with all four members that OpenAI's clients expect."""
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return orjson.dumps({"error": error})


def invalid(message: str, param: str | None = None) -> ApiError:
    return ApiError(400, message, param=param)


def not_found(model_message: str) -> ApiError:
    return ApiError(404, model_message, param="model", code="model_not_found")


def unavailable(message: str) -> ApiError:
    return ApiError(503, message, type="service_unavailable_error", headers={"retry-after": str(RETRY_SECONDS)})


def internal_error() -> ApiError:
    """Return what a client learns of a fault of ours."""
    return ApiError(500, "An internal error occurred.", type=SERVER_ERROR)


def describe(failure: Failure) -> str:
    """Say in plain words why an upstream failed, with its status where there was one; never its own words."""
    return failure.kind.value + (f" ({failure.status})" if failure.status is not None else "")


_OF_KIND: Mapping[ErrorKind, tuple[int, str, str | None]] = {
    ErrorKind.BAD_REQUEST: (400, INVALID_REQUEST, None),
    ErrorKind.CONTEXT_LENGTH: (400, INVALID_REQUEST, "context_length_exceeded"),
    ErrorKind.MODEL_NOT_FOUND: (404, INVALID_REQUEST, "model_not_found"),
    ErrorKind.RATE_LIMITED: (429, "rate_limit_error", "rate_limit_exceeded"),
    ErrorKind.TIMEOUT: (504, SERVER_ERROR, "timeout"),
    ErrorKind.UNAVAILABLE: (503, "service_unavailable_error", None),
    ErrorKind.SKIPPED: (503, "service_unavailable_error", None),
}
_OTHERWISE = (502, SERVER_ERROR, None)
"""Everything that is between the gateway and its upstreams: our credentials, connections, broken answers."""

_PASSING_STATUS = frozenset({429, 503})


def nobody_answered(results: Sequence[Result]) -> bool:
    """Whether the whole panel failed: only that is an error, one answer is a success."""
    return all(isinstance(result.end, Failure) for result in results)


def all_failed(results: Sequence[Result]) -> ApiError:
    """Return the error for a panel of which nobody answered.

    Where all failed alike, their status is the client's. Where not, the client may try again (503) if that may help
    anybody of the panel; else it learns that the upstreams are to blame (502).
    """
    failures = [(result.model, result.end) for result in results if isinstance(result.end, Failure)]
    rows = {_OF_KIND.get(failure.kind, _OTHERWISE) for _, failure in failures}
    if len(rows) == 1:
        status, type_, code = rows.pop()
    elif any(status in _PASSING_STATUS for status, _, _ in rows):
        status, type_, code = _OF_KIND[ErrorKind.UNAVAILABLE]
    else:
        status, type_, code = _OTHERWISE
    reasons = "; ".join(f"{model} = {_explain(failure)}" for model, failure in failures)
    message = f"Request failed: {reasons}" if len(failures) == 1 else f"All {len(failures)} upstreams failed: {reasons}"
    # The gateway has retried already; a client's SDK would repeat the whole fan-out twice more.
    headers = {"x-should-retry": "false"}
    waits = [failure.retry_after for _, failure in failures if failure.retry_after is not None]
    if status in _PASSING_STATUS and waits:
        headers["retry-after"] = str(round(min(max(waits), LONGEST_RETRY_AFTER)))
    return ApiError(status, message, type=type_, code=code, headers=headers)


def _explain(failure: Failure) -> str:
    return f"{describe(failure)}: {failure.message}" if failure.message else describe(failure)
