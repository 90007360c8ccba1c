"""Reads JSON from strangers, of which nothing is certain: what has another shape than expected counts as absent."""

from __future__ import annotations

import json
import math
from typing import Any

import orjson

from upstreams.messages import Json


def read_json(data: bytes) -> Any:
    """Parse JSON; raises ValueError.

    orjson refuses half surrogates (`\\ud83d` at the end of a piece), but providers do cut emoji in two.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        if b"\\ud" not in data and b"\\uD" not in data:
            raise
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def as_object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def as_text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def as_count(value: Any) -> int:
    """Read a count of tokens: some providers send floats."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return 0
    return max(0, int(value))


def as_arguments(value: Any) -> str:
    """Read the arguments of a tool call: a string of JSON by the standard, the object itself at some providers."""
    if not isinstance(value, dict | list):
        return as_text(value)
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return ""
