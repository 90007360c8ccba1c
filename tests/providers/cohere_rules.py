"""What Cohere refuses, with the status and in the words of its errors page where that quotes them; shapes no bodies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TypeAlias

from tests.providers.strict import OneOf, Ranges, Shape, fields, out_of_range, unknown_keys
from tests.providers.turns import Payload

Complaint: TypeAlias = tuple[int, str]

OLDER = frozenset({"command-r-08-2024", "command-r-plus-08-2024"})
"""Older models: `tool_choice` works from command-r7b on, but only these still take a `tool_plan` back."""

WITH_VISION = frozenset({"command-a-vision-07-2025", "command-a-plus-05-2026"})

MODELS = (
    OLDER
    | WITH_VISION
    | {
        "command-a-03-2025",
        "command-a-reasoning-08-2025",
        "command-a-translate-08-2025",
        "command-r7b-12-2024",
        "north-mini-code-1-0",
    }
)

RANGES: Ranges = {
    "temperature": (0, 1.0),
    "p": (0.01, 0.99),
    "k": (0, 500),
    "frequency_penalty": (0, 1.0),
    "presence_penalty": (0, 1.0),
    "seed": (0, 2**64 - 1),
    "priority": (0, 999),
}

TOOL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_TEXT = fields("type", "text")
_CALL = fields("id", "type", function=fields("name", "arguments"))
_MESSAGES = OneOf(
    "role",
    {
        "system": fields("role", content=[OneOf("type", {"text": _TEXT})]),
        "user": fields(
            "role", content=[OneOf("type", {"text": _TEXT, "image_url": fields("type", image_url=fields("url", "detail"))})]
        ),
        "assistant": fields(
            "role",
            "tool_plan",
            "citations",
            content=[OneOf("type", {"text": _TEXT, "thinking": fields("type", "thinking")})],
            tool_calls=[_CALL],
        ),
        "tool": fields(
            "role",
            "tool_call_id",
            content=[OneOf("type", {"text": _TEXT, "document": fields("type", document=fields("id", "data"))})],
        ),
    },
)
SHAPE: Shape = fields(
    *("model", "stream", "strict_tools", "documents", "safety_mode", "max_tokens", "stop_sequences", "logprobs", "tool_choice"),
    *RANGES,
    messages=[_MESSAGES],
    tools=[fields("type", function=fields("name", "parameters", "description"))],
    citation_options=fields("mode"),
    response_format=fields("type", "json_schema"),
    thinking=fields("type", "token_budget"),
)


def complaints(body: Payload) -> Iterator[Complaint]:
    """Yield what Cohere has against this body, the first first."""
    for place in unknown_keys(body, SHAPE):
        yield 422, f"unknown field: parameter '{place[-1]}' is not a valid field."
    if body.get("model") not in MODELS:
        yield 404, f"model '{body.get('model')}' not found, make sure the correct model ID was used."
    for name, (low, high) in out_of_range(body, RANGES):
        yield 400, f"invalid request: {name} must be between {low} and {high} inclusive."
    if len(body.get("stop_sequences") or []) > 5:
        yield 400, "invalid request: stop_sequences must have at most 5 entries."
    yield from _about_tools(body)
    yield from _about_turns(body)


def _about_tools(body: Payload) -> Iterator[Complaint]:
    tools = body.get("tools") or []
    for tool in tools:
        if not TOOL_NAME.fullmatch(tool["function"]["name"]):
            yield 400, "tool names can only contain characters, numbers and underscores, and must not start with a digit."
        yield from _about_schema(tool["function"], bool(body.get("strict_tools")))
    # langchain-cohere #161: every other value is an error, OpenAI's `auto` too.
    if body.get("tool_choice") not in (None, "REQUIRED", "NONE"):
        yield 422, "invalid type: parameter tool_choice must be one of REQUIRED, NONE."
    if body.get("tool_choice") and body["model"] in OLDER:
        yield 400, f"tool_choice is not supported by the model '{body['model']}'."
    if (tools or body.get("documents")) and (body.get("response_format") or {}).get("type") == "json_object":
        yield 400, "invalid request: json_object response format is not supported together with tools or documents."


def _about_schema(function: Payload, strict: bool) -> Iterator[Complaint]:
    schema = function.get("parameters") or {}
    if schema.get("type", "object") != "object":
        yield 400, "invalid request: the parameters of a tool must be a schema of type object."
    if not function.get("description") and not schema.get("properties"):
        yield 400, "invalid request: a tool must have a description or an input."
    if any("type" not in member for member in schema.get("properties", {}).values()):
        yield 400, "invalid request: every property of a tool must have a type."
    if strict and not schema.get("required"):
        yield 400, "invalid request: with strict_tools every tool must have a required parameter."


def _about_turns(body: Payload) -> Iterator[Complaint]:
    messages: list[Payload] = body.get("messages") or []
    if not messages:
        yield 400, "invalid request: messages must not be empty."
    called: list[str] = []
    seen_other = False
    for message in messages:
        if message["role"] == "system" and seen_other:
            yield 400, "invalid request: all system messages must be at the start of the conversation."
        seen_other = seen_other or message["role"] != "system"
        if message["role"] == "tool":
            yield from _about_result(message, called)
        elif not message.get("content") and not message.get("tool_calls"):
            yield 400, f"invalid request: the {message['role']} message in a turn must not be empty."
        called += [call["id"] for call in message.get("tool_calls") or []]
        yield from _about_message(message, body["model"])
    if len(called) != len(set(called)):
        yield 400, "invalid request: duplicate tool call ids."
    # oracle/langchain-oracle #10: newer models want every call answered.
    if body["model"] not in OLDER and set(called) - {message.get("tool_call_id") for message in messages}:
        yield 400, "invalid request: every tool call must be followed by a tool message."


def _about_result(message: Payload, called: list[str]) -> Iterator[Complaint]:
    if not message.get("tool_call_id"):
        yield 400, "invalid request: a tool message must have a tool_call_id."
    elif message["tool_call_id"] not in called:
        yield 400, f"invalid request: tool_call_id {message['tool_call_id']} not found in previous tool calls."


def _about_message(message: Payload, model: str) -> Iterator[Complaint]:
    if any(call.get("type") != "function" for call in message.get("tool_calls") or []):
        yield 400, "invalid request: tool call type must be function."
    # crmne/ruby_llm: newer models refuse their own plan in the history.
    if message.get("tool_plan") and model not in OLDER:
        yield 400, "invalid request: tool_plan is not supported in the history."
    if _has_image(message.get("content")) and model not in WITH_VISION:
        yield 400, f"invalid request: the model '{model}' does not support image inputs."


def _has_image(content: Any) -> bool:
    return isinstance(content, list) and any(part.get("type") == "image_url" for part in content)
