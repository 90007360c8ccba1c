"""Reads JSON from strangers, of which nothing is certain: what has another shape than expected counts as absent."""

from __future__ import annotations

import json
from typing import Any

import orjson

from upstreams.values import Json

MAX_COUNT = 2**53 - 1
"""Largest count that JavaScript reads right; no answer is that long."""


def read_json(data: bytes) -> Any:
    """Parse JSON; raises ValueError. Half a character, which orjson refuses, becomes U+FFFD."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return mend(read_halves(data))


def read_halves(data: bytes) -> Any:
    """Parse JSON that orjson refused for half a character in it (`\\ud83d` at the end of a piece); raises ValueError."""
    if b"\\ud" not in data and b"\\uD" not in data:
        raise ValueError("no JSON")
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def mend(value: Any) -> Any:
    """Replace the halves of characters anywhere in a JSON value; raises ValueError where it holds what JSON does not."""
    try:
        return orjson.loads(mend_text(json.dumps(value, ensure_ascii=False)))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def mend_text(text: str) -> str:
    """Join halves that stand side by side into whole characters and replace lonely ones by U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class Halves:
    """Keeps the first half of a character that was cut in two, by the place where it stood, until the second half comes."""

    def __init__(self) -> None:
        self.kept: dict[Any, str] = {}

    def join(self, place: Any, text: str) -> str:
        """Return the whole characters of the next text at this place."""
        text = self.kept.pop(place, "") + text
        if "\ud800" <= text[-1:] <= "\udbff":
            self.kept[place] = text[-1]
            text = text[:-1]
        return mend_text(text)

    def drain(self) -> list[Any]:
        """Return the places where a half waits in vain, and forget them."""
        places = list(self.kept)
        self.kept.clear()
        return places


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
