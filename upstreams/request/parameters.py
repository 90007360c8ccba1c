"""Tables of parameters and their interpreter: which of OpenAI's a provider takes, under which name, within which range."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from upstreams.values import Json


class NotTaken(Exception):
    """The provider has no equivalent of this value."""


@dataclass(frozen=True, slots=True)
class Field:
    """One parameter at one provider: its name there, and how OpenAI's value becomes the provider's.

    `to_wire` raises NotTaken for a value that cannot be said there; `note` tells people about range and change.
    """

    name: str
    to_wire: Callable[[Any], Any] = lambda value: value
    note: str = ""


Fields: TypeAlias = Mapping[str, Field]
"""OpenAI's name → the provider's field. What is not in the table is not sent: three of four providers refuse unknown keys."""

NEUTRAL: Json = {
    "n": 1,
    "logprobs": False,
    "top_logprobs": 0,
    "logit_bias": {},
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "response_format": {"type": "text"},
    "stop": [],
    "service_tier": "auto",
    "store": False,
    "modalities": ["text"],
    "metadata": {},
}
"""Values that ask for what happens anyway: to leave them out changes nothing, so nobody is told."""


def clamp(low: float, high: float) -> Callable[[Any], Any]:
    """Return a transform that keeps a number within a provider's range."""

    def to_wire(value: Any) -> Any:
        return min(max(value, low), high)

    return to_wire


def translate(words: Mapping[str, Any]) -> Callable[[Any], Any]:
    """Return a transform for a parameter of which just these values have a word at the provider."""

    def to_wire(value: Any) -> Any:
        if not isinstance(value, str) or value not in words:
            raise NotTaken
        return words[value]

    return to_wire


def one_or_more(value: Any) -> list[Any]:
    """Turn what may be one value or a list of them into the list; an empty one says nothing."""
    values = value if isinstance(value, list) else [value]
    if not values:
        raise NotTaken
    return values


def to_wire(table: Fields, fields: Json, refused: Collection[str] = ()) -> tuple[dict[str, Any], list[str]]:
    """Translate the client's parameters; returns the body's members and the names of those that were dropped.

    `refused` are those that the provider takes, but not from this request. Where two of OpenAI's names meet in one of the
    provider's (`max_tokens`, `max_completion_tokens`), the later row wins.
    """
    body: dict[str, Any] = {}
    for name, field in table.items():
        if name in fields and name not in refused:
            try:
                body[field.name] = field.to_wire(fields[name])
            except NotTaken:
                continue
    return body, [name for name in fields if not _was_sent(table, body, name) and fields[name] != NEUTRAL.get(name)]


def _was_sent(table: Fields, body: Json, name: str) -> bool:
    return name in table and table[name].name in body
