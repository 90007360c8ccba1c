"""Tables of parameters and their interpreter: which of OpenAI's a provider takes, under which name, within which range."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from upstreams.values import Json


class Unsupported(Exception):
    """The provider has no equivalent of this value, so the parameter is dropped."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter at one provider: its name there, and how OpenAI's value becomes the provider's.

    `to_wire` raises Unsupported where the provider has no equivalent of a value; `note` tells people about range and change.
    """

    name: str
    to_wire: Callable[[Any], Any] = lambda value: value
    note: str = ""


Parameters: TypeAlias = Mapping[str, Parameter]
"""OpenAI's name → the provider's parameter. What is not in the table is not sent: three of four refuse unknown keys."""

OPENAI_DEFAULTS: Json = {
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
"""Values that ask for what happens anyway: to leave one out changes nothing, so it does not count as dropped."""


def clamp(low: float, high: float) -> Callable[[Any], Any]:
    """Return a transform that keeps a number within a provider's range."""

    def to_wire(value: Any) -> Any:
        return min(max(value, low), high)

    return to_wire


def translate(equivalents: Mapping[str, Any]) -> Callable[[Any], Any]:
    """Return a transform for a parameter of which only these values have an equivalent at the provider."""

    def to_wire(value: Any) -> Any:
        if not isinstance(value, str) or value not in equivalents:
            raise Unsupported
        return equivalents[value]

    return to_wire


def one_or_more(value: Any) -> list[Any]:
    """Turn what may be one value or a list of them into the list; an empty one is unsupported."""
    values = value if isinstance(value, list) else [value]
    if not values:
        raise Unsupported
    return values


def to_wire(table: Parameters, parameters: Json, refused: Collection[str] = ()) -> tuple[dict[str, Any], list[str]]:
    """Translate the client's parameters; returns the body's members and the names of those that were dropped.

    `refused` are those that the provider takes, but not from this request. Where two of OpenAI's names meet in one of the
    provider's (`max_tokens`, `max_completion_tokens`), the later row wins.
    """
    body: dict[str, Any] = {}
    for name, parameter in table.items():
        if name in parameters and name not in refused:
            try:
                body[parameter.name] = parameter.to_wire(parameters[name])
            except Unsupported:
                continue
    unsent = [name for name in parameters if name not in table or table[name].name not in body]
    return body, [name for name in unsent if parameters[name] != OPENAI_DEFAULTS.get(name)]
