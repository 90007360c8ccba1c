"""What Mistral refuses, in its words where somebody has quoted them; shapes no bodies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tests.providers.strict import ABOVE_ZERO, OneOf, Place, Ranges, Shape, fields, out_of_range, unknown_keys, value_at
from tests.providers.turns import Payload

MODELS = frozenset(
    {
        *("mistral-small-latest", "mistral-small-2603", "mistral-medium-latest", "mistral-medium-3-5", "mistral-large-2512"),
        *("ministral-3b-latest", "ministral-8b-latest", "ministral-14b-latest", "codestral-2508", "voxtral-small-latest"),
        "zai-glm-5-2",
    }
)

RANGES: Ranges = {
    "temperature": (0, 1.5),
    "top_p": (ABOVE_ZERO, 1),
    "max_tokens": (0, 2**31),
    "random_seed": (0, 2**63),
    "n": (1, 128),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
}

CHOICES = {
    "tool_choice": {"auto", "none", "any", "required"},
    "service_tier": {"auto", "standard_only"},
    "reasoning_effort": {"none", "minimal", "low", "medium", "high", "xhigh"},
}

TOOL_ID = re.compile(r"[A-Za-z0-9]{9}")

_CALL = fields("id", "type", "index", function=fields("name", "arguments"))
_MESSAGES = OneOf(
    "role",
    {
        "system": fields("role", content=[OneOf("type", {"text": fields("type", "text"), "thinking": None})]),
        "user": fields("role", "content"),
        "assistant": fields("role", "content", "prefix", tool_calls=[_CALL]),
        "tool": fields("role", "content", "tool_call_id", "name"),
    },
)
SHAPE: Shape = fields(
    *("model", "stream", "stop", "tool_choice", "parallel_tool_calls", "reasoning_effort", "prompt_mode"),
    *("metadata", "guardrails", "prompt_cache_key", "safe_prompt", "service_tier"),
    *RANGES,
    messages=[_MESSAGES],
    tools=[fields("type", function=fields("name", "parameters", "description", "strict"))],
    response_format=fields("type", json_schema=fields("name", "schema", "description", "strict")),
    prediction=fields("type", "content"),
)


@dataclass(frozen=True)
class Complaint:
    status: int
    message: Any
    kind: str = "invalid_request_error"
    code: str | None = None


def complaints(body: Payload) -> Iterator[Complaint]:
    """Yield what Mistral has against this body, the first first."""
    for place in unknown_keys(body, SHAPE):
        yield _invalid("extra_forbidden", place, "Extra inputs are not permitted", input=value_at(body, place))
    for name in ("model", "messages"):
        if not body.get(name):
            yield _invalid("missing", (name,), "Field required")
    for name, (low, high) in out_of_range(body, RANGES):
        yield _invalid("value_error", (name,), f"Input should be between {low:g} and {high:g}")
    for name, values in CHOICES.items():
        if isinstance(body.get(name), str) and body[name] not in values:
            yield _invalid("literal_error", (name,), f"Input should be one of {sorted(values)}")
    yield from _about_tools(body)
    if body["model"] not in MODELS:
        yield Complaint(400, f"Invalid model: {body['model']}", "invalid_model")
    yield from _about_ids(body["messages"])
    yield from _about_order(body["messages"])


def _about_tools(body: Payload) -> Iterator[Complaint]:
    # partITech/php-mistral #76: an empty list is an error, an absent one is not.
    if body.get("tools") == []:
        yield _invalid("too_short", ("tools",), "List should have at least 1 item after validation, not 0")
    for place, tool in enumerate(body.get("tools") or []):
        if tool.get("type") == "function" and "parameters" not in tool["function"]:
            yield _invalid("missing", ("tools", place, "function", "parameters"), "Field required")


def _about_ids(messages: list[Payload]) -> Iterator[Complaint]:
    """Both where a call is made and where it is answered (ironclaw #1241)."""
    made = [call["id"] for message in messages for call in message.get("tool_calls") or []]
    answered = [message.get("tool_call_id") or "" for message in messages if message["role"] == "tool"]
    for given in made + answered:
        if not TOOL_ID.fullmatch(given):
            words = f"Tool call id was {given} but must be a-z, A-Z, 0-9, with a length of 9."
            yield Complaint(400, words, "invalid_function_call", "3280")
    if sorted(made) != sorted(answered):
        yield Complaint(400, "Not the same number of function calls and responses", "invalid_request_message_order", "3230")


def _about_order(messages: list[Payload]) -> Iterator[Complaint]:
    # avante.nvim PR #2695 and hermes PR #84944 for user after tool, charmbracelet/crush #279 for tool after user.
    for before, after in pairwise(message["role"] for message in messages):
        if (before, after) in {("tool", "user"), ("user", "tool"), ("system", "tool")}:
            words = f"Unexpected role '{after}' after role '{before}'"
            yield Complaint(400, words, "invalid_request_message_order", "3230")
    last = messages[-1]
    if last["role"] not in ("user", "tool") and not last.get("prefix"):
        words = "Expected last role User or Tool (or Assistant with prefix True) for serving but got "
        yield Complaint(400, words + last["role"])


def _invalid(kind: str, place: Place, words: str, **more: Any) -> Complaint:
    """A validation error: its `message` is an object (editor-code-assistant/eca #231)."""
    return Complaint(422, {"detail": [{"type": kind, "loc": ["body", *place], "msg": words, **more}]})
