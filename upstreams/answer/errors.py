"""Reads error answers of any provider: kind, message, and how long to wait; redacts keys and addresses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, TypeAlias

from upstreams.lenient_json import as_list, as_object, as_text, repair_text
from upstreams.values import ErrorKind, Failure

MAX_MESSAGE = 300
"""Characters of a provider's message that a client gets to see."""

KIND_OF_STATUS: Mapping[int | None, ErrorKind] = {
    400: ErrorKind.BAD_REQUEST,
    401: ErrorKind.CREDENTIALS,
    402: ErrorKind.CREDENTIALS,
    403: ErrorKind.CREDENTIALS,
    404: ErrorKind.MODEL_NOT_FOUND,
    408: ErrorKind.TIMEOUT,
    410: ErrorKind.MODEL_NOT_FOUND,
    413: ErrorKind.BAD_REQUEST,
    422: ErrorKind.BAD_REQUEST,
    429: ErrorKind.RATE_LIMITED,
    503: ErrorKind.UNAVAILABLE,
    504: ErrorKind.TIMEOUT,
    529: ErrorKind.UNAVAILABLE,
}
"""Everything else is the upstream's own trouble: ErrorKind.BROKEN."""

ErrorTable: TypeAlias = Mapping[str, ErrorKind]
"""A provider's error codes, in `code`, `type` or `error_type`, that say more than the status."""

KIND_OF_CODE: ErrorTable = {
    "context_length_exceeded": ErrorKind.CONTEXT_LENGTH,
    "exceed_context_size_error": ErrorKind.CONTEXT_LENGTH,
    "model_not_found": ErrorKind.MODEL_NOT_FOUND,
    "rate_limit_exceeded": ErrorKind.RATE_LIMITED,
}
"""The codes of OpenAI and, the second, of llama.cpp."""

MAX_READ = 20 * MAX_MESSAGE
"""Characters of a provider's message that are looked at: enough for MAX_MESSAGE to be left when all addresses are gone."""

MAX_DEPTH = 8
"""How deep in the JSON a message is looked for; the deepest seen is `message.detail[0].msg`."""

MAX_RETRY_AFTER = 86400.0
"""Seconds; nobody waits for more than a day, and `inf` is a number to Python."""

_PHRASES: Mapping[int | None, str] = {status.value: status.phrase for status in HTTPStatus}
_SECRET = re.compile(
    r"""(?ix)
    \b(?:bearer|basic)\s+\S+                 # an authorization header
    | \b(?:api[-_]?key|access[-_]?token|secret|password)["']?\s*[=:]\s*\S+
    | \b(?:sk|pk|gsk|rk|xai|key)[-_][\w*.-]{6,}  # keys that say what they are
    | (?<=provided:\s)\S+ | (?<=provided:)\S+  # "Incorrect API key provided: …", masked or not
    | \b(?=\w*\d)(?=\w*[a-z])[\w-]{24,}      # any long run of letters and digits
    | \b[a-z]{32,}                           # or of letters alone
    """
)
# The counts are bounded so that no text takes more than linear time.
_ADDRESS = re.compile(
    r"""(?ix)
    \b[a-z][a-z0-9+.-]{0,20}://\S+
    | \bwww\.\S+
    | \b(?:[a-z0-9-]{1,63}\.){1,6}[a-z]{2,24}(?::\d+)?/\S*   # a host without a scheme shows by its path
    | \b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?
    """
)


def read_failure(
    status: int | None, payload: Any, codes: ErrorTable = KIND_OF_CODE, retry_after: float | None = None
) -> Failure:
    """Turn an error answer into a Failure; `payload` is its parsed JSON, or its text where it was none.

    Without a status the error came amid an answer; `retry_after` is what the headers ask for, in seconds.
    """
    kinds = (codes[code] for code in read_codes(payload) if code in codes)
    kind = next(kinds, None) or KIND_OF_STATUS.get(status, ErrorKind.BROKEN)
    return Failure(kind, status, redact(read_message(payload)) or _PHRASES.get(status, ""), retry_after)


def read_codes(payload: Any) -> list[str]:
    """Return the error codes, wherever a provider puts them."""
    body = as_object(payload)
    objects = (body, as_object(body.get("error")))
    return [code for object in objects for name in ("code", "type", "error_type") if (code := as_text(object.get(name)))]


def read_message(payload: Any, depth: int = MAX_DEPTH) -> str:
    """Find the message in any of the shapes that providers use; "" where there is none."""
    if isinstance(payload, str):
        return "" if payload.lstrip().startswith("<") else payload
    if not depth:
        return ""
    if isinstance(payload, list):
        return "; ".join(filter(None, (_read_detail(item, depth - 1) for item in payload)))
    body = as_object(payload)
    return next(filter(None, (read_message(body.get(name), depth - 1) for name in ("error", "message", "detail"))), "")


def read_retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Read how many seconds a provider asks to wait (RFC 9110 §10.2.3; `retry-after-ms` is OpenAI's).

    `now` is the time of day as a Unix timestamp, for the form of the header that is a date.
    """
    milliseconds, value = _read_number(headers.get("retry-after-ms")), headers.get("retry-after")
    seconds = milliseconds / 1000 if milliseconds is not None else _read_number(value)
    if seconds is None:
        seconds = _read_date(value, now)
    return None if seconds is None else min(max(0.0, seconds), MAX_RETRY_AFTER)


def redact(text: str) -> str:
    """Redact keys and addresses in a provider's message, and put it on one line of bounded length."""
    words = repair_text(text[:MAX_READ]).split()
    # Where the text was cut, its last word may be the first half of a key.
    text = " ".join(words[:-1] if len(text) > MAX_READ else words)
    text = _SECRET.sub("…", _ADDRESS.sub("…", text))
    return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 1] + "…"


def _read_detail(item: Any, depth: int) -> str:
    """Read one of pydantic's validation errors, as Mistral's and AI21's servers list them."""
    location = ".".join(str(part) for part in as_list(as_object(item).get("loc")) if isinstance(part, str | int))
    message = as_text(as_object(item).get("msg")) or read_message(item, depth)
    return f"{location}: {message}" if location and message else message


def _read_number(value: str | None) -> float | None:
    try:
        return None if value is None else float(value)
    except ValueError:
        return None


def _read_date(value: str | None, now: float) -> float | None:
    try:
        return None if value is None else parsedate_to_datetime(value).timestamp() - now
    except (ValueError, TypeError, OverflowError):
        return None
