"""Reads error answers of any provider: what went wrong, in whose words, for how long; lets no key or address through."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

from upstreams.messages import Failure, Fault
from upstreams.shapes import as_list, as_object, as_text

MAX_MESSAGE = 300
"""Characters of a provider's words that a client gets to see."""

FAULT_OF_STATUS: Mapping[int, Fault] = {
    400: Fault.BAD_REQUEST,
    401: Fault.CREDENTIALS,
    402: Fault.CREDENTIALS,
    403: Fault.CREDENTIALS,
    404: Fault.MODEL_NOT_FOUND,
    408: Fault.TIMEOUT,
    410: Fault.MODEL_NOT_FOUND,
    413: Fault.BAD_REQUEST,
    422: Fault.BAD_REQUEST,
    429: Fault.RATE_LIMITED,
    503: Fault.UNAVAILABLE,
    504: Fault.TIMEOUT,
    529: Fault.UNAVAILABLE,
}
"""Everything else is the upstream's own trouble: Fault.BROKEN."""

CONTEXT_CODES = frozenset({"context_length_exceeded", "TOO_MANY_TOKENS", "exceed_context_size_error"})
"""What OpenAI, Cohere and llama.cpp call a conversation that is too long, in `code`, `error_type` or `type`."""

_SECRET = re.compile(
    r"""(?ix)
    \b(?:bearer|basic)\s+\S+                 # an authorization header
    | \b(?:sk|pk|gsk|rk|xai|key)[-_][\w*.-]{6,}  # keys that say what they are
    | (?<=provided:)\s*\S+                   # "Incorrect API key provided: …", masked or not
    | \b(?=\w*\d)(?=\w*[a-z])[\w-]{24,}      # any long run of letters and digits
    """
)
_ADDRESS = re.compile(r"(?i)\b[a-z][a-z0-9+.-]*://\S+")


def read_failure(status: int, payload: Any) -> Failure:
    """Turn an error answer into a Failure; `payload` is its parsed JSON, or its text where it was none."""
    fault = FAULT_OF_STATUS.get(status, Fault.BROKEN)
    if fault is Fault.BAD_REQUEST and read_codes(payload) & CONTEXT_CODES:
        fault = Fault.CONTEXT_LENGTH
    return Failure(fault, status, clean(read_message(payload)) or _phrase(status))


def read_codes(payload: Any) -> set[str]:
    """Return the words by which a machine may tell errors apart, wherever a provider puts them."""
    body = as_object(payload)
    places = (body, as_object(body.get("error")))
    return {as_text(place.get(name)) for place in places for name in ("code", "type", "error_type")} - {""}


def read_message(payload: Any) -> str:
    """Find the words for people in any of the shapes that providers use; "" where there are none."""
    if isinstance(payload, str):
        return "" if payload.lstrip().startswith("<") else payload
    if isinstance(payload, list):
        return "; ".join(filter(None, map(_read_detail, payload)))
    body = as_object(payload)
    for name in ("error", "message", "detail"):
        if found := read_message(body.get(name)):
            return found
    return ""


def read_retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Read for how many seconds a provider wants to be left alone (RFC 9110 §10.2.3; `retry-after-ms` is OpenAI's).

    `now` is the time of day as a Unix timestamp, for the form of the header that is a date.
    """
    milliseconds, value = headers.get("retry-after-ms"), headers.get("retry-after")
    try:
        if milliseconds is not None:
            return max(0.0, float(milliseconds) / 1000)
        return None if value is None else max(0.0, float(value))
    except ValueError:
        return _read_date(value, now)


def clean(text: str) -> str:
    """Strip keys and addresses from foreign words, and put them on one line of bounded length."""
    text = " ".join(_ADDRESS.sub("…", text).split())
    text = _SECRET.sub("…", text)
    return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 1] + "…"


def _read_detail(item: Any) -> str:
    """Read one of pydantic's validation errors, as Mistral's and AI21's servers list them."""
    place = ".".join(str(part) for part in as_list(as_object(item).get("loc")))
    words = as_text(as_object(item).get("msg")) or read_message(item)
    return f"{place}: {words}" if place and words else words


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _read_date(value: str | None, now: float) -> float | None:
    try:
        return None if value is None else max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None
