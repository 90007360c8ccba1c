"""Reads a provider's JSON leniently: a value of another type than expected counts as absent, a lone surrogate is repaired."""

from __future__ import annotations

import json
from typing import Any

import orjson

from upstreams.values import Json

MAX_COUNT = 2**53 - 1
"""Largest count that JavaScript reads right; no answer is that long."""


def read_json(data: bytes) -> Any:
    """Parse JSON; raises ValueError. A lone surrogate (half a character), which orjson refuses, becomes U+FFFD."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return repair_surrogates(read_with_surrogates(data))


def read_with_surrogates(data: bytes) -> Any:
    """Parse JSON that orjson refused for a lone surrogate (`\\ud83d` at the end of a piece); raises ValueError."""
    if b"\\ud" not in data and b"\\uD" not in data:
        raise ValueError("no JSON")
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def repair_surrogates(value: Any) -> Any:
    """Replace the surrogates anywhere in a JSON value; raises ValueError where it holds what JSON cannot."""
    try:
        return orjson.loads(repair_text(json.dumps(value, ensure_ascii=False)))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def repair_text(text: str) -> str:
    """Join surrogate pairs into whole characters and replace lone surrogates by U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class SurrogateHalves:
    """Keeps the high surrogate at the end of a text until the low one comes; one per key, for texts come interleaved."""

    def __init__(self) -> None:
        self.kept: dict[Any, str] = {}

    def join(self, key: Any, text: str) -> str:
        """Return the whole characters of the next piece of a text."""
        text = self.kept.pop(key, "") + text
        if "\ud800" <= text[-1:] <= "\udbff":
            self.kept[key] = text[-1]
            text = text[:-1]
        return repair_text(text)

    def drain(self) -> list[Any]:
        """Return the keys under which a surrogate waits in vain, and forget them."""
        keys = list(self.kept)
        self.kept.clear()
        return keys


def as_object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def as_text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def as_count(value: Any) -> int:
    """Read a count of tokens: some providers send floats."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return int(min(max(0, value), MAX_COUNT))


def as_arguments(value: Any) -> str:
    """Read the arguments of a tool call: a string of JSON by the standard, the object itself at some providers."""
    if not isinstance(value, dict | list):
        return as_text(value)
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return ""
