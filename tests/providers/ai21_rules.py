"""What AI21 refuses: the content that is no string as quoted, the rest as its reference reads; shapes no bodies.

Whether AI21 itself ignores unknown keys is not known; the Jamba that Azure hosts refuses them (BerriAI/litellm #4815), so here
they are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, TypeAlias

from tests.providers.strict import ABOVE_ZERO, OneOf, Place, Ranges, Shape, fields, out_of_range, unknown_keys
from tests.providers.turns import Payload

Detail: TypeAlias = str | list[Payload]
"""A sentence, or pydantic's list of validation errors."""

MODELS = frozenset(
    {"jamba-large", "jamba-large-1.7", "jamba-large-1.7-2025-07", "jamba-mini", "jamba-mini-2", "jamba-mini-2-2026-01"}
)

RANGES: Ranges = {"max_tokens": (0, 4096), "temperature": (0, 2), "top_p": (ABOVE_ZERO, 1), "n": (1, 16)}

CLASSES = {"system": "SystemMessage", "user": "UserMessage", "assistant": "AssistantMessage", "tool": "ToolMessage"}
"""Role → the name that a place in an error has for it."""

_CALL = fields("id", "type", function=fields("name", "arguments"))
_MESSAGES = OneOf(
    "role",
    {
        "system": fields("role", "content"),
        "user": fields("role", "content"),
        "assistant": fields("role", "content", tool_calls=[_CALL]),
        "tool": fields("role", "content", "tool_call_id"),
    },
)
SHAPE: Shape = fields(
    *("model", "stop", "stream"),
    *RANGES,
    messages=[_MESSAGES],
    tools=[fields("type", function=fields("name", "description", "parameters"))],
    documents=[fields("content", "id", "metadata")],
    response_format=fields("type"),
)


def complaints(body: Payload) -> Iterator[Detail]:
    """Yield what AI21 has against this body, the first first."""
    for place in unknown_keys(body, SHAPE):
        yield _invalid(place, "extra fields not permitted", "value_error.extra")
    if body.get("model") not in MODELS:
        yield "The provided model is not supported. See the list of models in the documentation."
    for name, (low, high) in out_of_range(body, RANGES):
        yield _invalid((name,), f"ensure this value is between {low:g} and {high:g}", "value_error.number")
    if (body.get("response_format") or {}).get("type", "text") not in ("text", "json_object"):
        yield _invalid(("response_format", "type"), "unexpected value; permitted: 'text', 'json_object'", "value_error.const")
    yield from _about_choices(body)
    yield from _about_messages(body.get("messages") or [])


def _about_choices(body: Payload) -> Iterator[Detail]:
    many = (body.get("n") or 1) > 1
    if body.get("stream") and many:
        yield "n must be 1 when streaming."
    if body.get("stream") and body.get("tools"):
        yield "stream must be false when tools are given."
    if many and body.get("temperature") == 0:
        yield "temperature must be above 0 when n is greater than 1."


def _about_messages(messages: list[Payload]) -> Iterator[Detail]:
    if not messages:
        yield _invalid(("messages",), "field required", "value_error.missing")
    for index, message in enumerate(messages):
        if not _is_content(message):
            # Quoted in elastic/elasticsearch PR #131238: parts are refused as they stand.
            place = ("messages", index, CLASSES[message["role"]], "content")
            yield _invalid(place, "str type expected", "type_error.str")
        if message["role"] == "system" and index:
            yield "A system message must be the first."
    for before, after in pairwise(message["role"] for message in messages):
        if before == after != "tool":
            yield "The roles user and assistant must alternate."


def _is_content(message: Payload) -> bool:
    content: Any = message.get("content")
    return isinstance(content, str) or (content is None and bool(message.get("tool_calls")))


def _invalid(place: Place, words: str, kind: str) -> list[Payload]:
    return [{"loc": ["body", *place], "msg": words, "type": kind}]
