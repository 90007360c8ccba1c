"""Checks a request against a provider's tables: keys that it does not know, numbers beyond its ranges; words no errors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from tests.providers.turns import Received

Ranges: TypeAlias = Mapping[str, tuple[float, float]]
Place: TypeAlias = tuple[str | int, ...]
"""Where in a body something stands: ("messages", 0, "name")."""

Shape: TypeAlias = "Mapping[str, Shape] | Sequence[Shape] | OneOf | None"
"""An object with just these keys, a list of one shape, an object told by one of its keys, or None for anything.

A list shape also stands for "a string or a list of parts": a value that is no list is left alone.
"""

ABOVE_ZERO = math.ulp(0.0)
"""The lower end of a range that zero itself does not belong to."""


@dataclass(frozen=True)
class OneOf:
    """An object whose keys depend on the value of one: messages on `role`, parts on `type`."""

    key: str
    variants: Mapping[str, Shape]


def fields(*names: str, **nested: Shape) -> Shape:
    """Return the shape of an object; `names` are the keys whose value may be anything."""
    return {**dict.fromkeys(names), **nested}


def unknown_keys(value: Any, shape: Shape, place: Place = ()) -> Iterator[Place]:
    """Yield the place of each key that the shape does not have, and of each telling key with an unknown value."""
    if isinstance(shape, OneOf):
        yield from _unknown_in_variant(value, shape, place)
    elif isinstance(shape, Mapping) and isinstance(value, dict):
        for key, member in value.items():
            if key in shape:
                yield from unknown_keys(member, shape[key], (*place, key))
            else:
                yield *place, key
    elif isinstance(shape, Sequence) and isinstance(value, list):
        for index, item in enumerate(value):
            yield from unknown_keys(item, shape[0], (*place, index))


def value_at(body: Any, place: Place) -> Any:
    for step in place:
        body = body.get(step) if isinstance(body, dict) else body[step]
    return body


def out_of_range(body: Mapping[str, Any], ranges: Ranges) -> Iterator[tuple[str, tuple[float, float]]]:
    """Yield name and range of each parameter that is no number within it; null is never sent, so it counts as absent."""
    for name, (low, high) in ranges.items():
        value = body.get(name)
        if value is not None and not (isinstance(value, int | float) and low <= value <= high):
            yield name, (low, high)


def bearer_token(received: Received) -> str | None:
    scheme, _, token = received.headers.get("authorization", "").partition(" ")
    return token if scheme == "Bearer" and token else None


def _unknown_in_variant(value: Any, shape: OneOf, place: Place) -> Iterator[Place]:
    if not isinstance(value, dict):
        return
    kind = value.get(shape.key)
    if isinstance(kind, str) and kind in shape.variants:
        yield from unknown_keys(value, shape.variants[kind], place)
    else:
        yield *place, shape.key
