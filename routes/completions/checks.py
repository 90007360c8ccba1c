"""What OpenAI allows in a chat request: a table of parameters, and the rules of messages; judges, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from routes.http.errors import invalid
from upstreams.values import Json

Check: TypeAlias = Callable[[Any], str | None]
"""Returns what is wrong with a value, in words that follow the member's name; None when nothing is."""


def _a(kind: type | tuple[type, ...], words: str) -> Check:
    def check(value: Any) -> str | None:
        # bool is an int in Python, but not in JSON.
        wrong = not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)
        return f"must be {words}" if wrong else None

    return check


def _number(low: float, high: float | None = None, kind: type | tuple[type, ...] = (int, float)) -> Check:
    words = "a whole number" if kind is int else "a number"
    span = f"{words} from {low:g} to {high:g}" if high is not None else f"{words}, {low:g} or more"
    typed = _a(kind, span)

    def check(value: Any) -> str | None:
        return typed(value) or (None if low <= value and (high is None or value <= high) else f"must be {span}")

    return check


def one_of(*choices: str) -> Check:
    """Return a check for a parameter that has just these values."""
    return lambda value: None if value in choices else f"must be one of {', '.join(choices)}"


def _check_stop(value: Any) -> str | None:
    if isinstance(value, str):
        return None
    if isinstance(value, list) and len(value) <= 4 and all(isinstance(item, str) for item in value):
        return None
    return "must be a text or a list of at most 4 texts"


def _check_tools(value: Any) -> str | None:
    if not isinstance(value, list):
        return "must be a list"
    for place, tool in enumerate(value):
        if not isinstance(tool, dict) or not isinstance(tool.get("type", "function"), str):
            return f"[{place}] must be an object with a type"
        function = tool.get("function")
        named = isinstance(function, dict) and isinstance(function.get("name"), str)
        if tool.get("type", "function") == "function" and not named:
            return f"[{place}] must be a function with a name"
    return None


def _check_bias(value: Any) -> str | None:
    if isinstance(value, dict) and all(_number(-100, 100)(bias) is None for bias in value.values()):
        return None
    return "must be an object of numbers from -100 to 100"


def _check_tool_choice(value: Any) -> str | None:
    if isinstance(value, dict) and isinstance(value.get("type"), str):
        return None
    return None if value in ("none", "auto", "required") else "must be none, auto, required or an object with a type"


def _check_format(value: Any) -> str | None:
    if not isinstance(value, dict) or value.get("type") not in ("text", "json_object", "json_schema"):
        return "must be an object with the type text, json_object or json_schema"
    schema = value.get("json_schema")
    if value["type"] == "json_schema" and not (isinstance(schema, dict) and isinstance(schema.get("schema", {}), dict)):
        return "must hold an object `json_schema`"
    return None


def _check_replaced(name: str) -> Check:
    return lambda value: f"is deprecated and not supported; use `{name}`"


LONGEST_MODEL = 1024
"""Characters of a model id, or of a list of them: it is repeated in every chunk of the answer, and in the log."""


def _check_model(value: Any) -> str | None:
    if isinstance(value, str) and len(value) <= LONGEST_MODEL:
        return None
    return f"must be a text of at most {LONGEST_MODEL} characters"


CHECKS: Mapping[str, Check] = {
    "model": _check_model,
    "messages": _a(list, "a list of messages"),
    "stream": _a(bool, "true or false"),
    "stream_options": _a(dict, "an object"),
    "temperature": _number(0, 2),
    "top_p": _number(0, 1),
    "n": _number(1, 128, int),
    "max_tokens": _number(1, kind=int),
    "max_completion_tokens": _number(1, kind=int),
    "stop": _check_stop,
    "seed": _a(int, "a whole number"),
    "frequency_penalty": _number(-2, 2),
    "presence_penalty": _number(-2, 2),
    "logprobs": _a(bool, "true or false"),
    "top_logprobs": _number(0, 20, int),
    "logit_bias": _check_bias,
    "tools": _check_tools,
    "tool_choice": _check_tool_choice,
    "parallel_tool_calls": _a(bool, "true or false"),
    "functions": _check_replaced("tools"),
    "function_call": _check_replaced("tool_choice"),
    "response_format": _check_format,
    "reasoning_effort": one_of("none", "minimal", "low", "medium", "high", "xhigh", "max"),
    "metadata": _a(dict, "an object"),
    "user": _a(str, "a text"),
    "service_tier": _a(str, "a text"),
}
"""OpenAI's parameters with their types and ranges; what is not named here is not ours to judge.
https://platform.openai.com/docs/api-reference/chat/create"""

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})


def check_messages(messages: list[Any]) -> None:
    """Raise ApiError 400 for the first message that is not one."""
    for place, message in enumerate(messages):
        if complaint := _complain_about(message):
            raise invalid(f"`messages[{place}]` {complaint}.", f"messages[{place}]")
    if not any(message["role"] == "user" for message in messages):
        raise invalid("`messages` must hold at least one message of the role user.", "messages")


def _complain_about(message: Any) -> str | None:
    if not isinstance(message, dict):
        return "must be an object"
    role = message.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        return f"must have a role: {', '.join(sorted(_ROLES))}"
    if role == "tool" and not isinstance(message.get("tool_call_id"), str):
        return "must have a `tool_call_id`"
    return _complain_about_content(message) or _complain_about_calls(message.get("tool_calls"))


def _complain_about_content(message: Json) -> str | None:
    content = message.get("content")
    if content is None:
        return None if message["role"] == "assistant" else "must have a `content`"
    if isinstance(content, str):
        return None
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        return "must have a `content` that is a text or a list of parts"
    for part in content:
        if not isinstance(part.get("type"), str):
            return "must have parts with a `type`"
        if part["type"] == "text" and not isinstance(part.get("text"), str):
            return "must have a `text` in each text part"
    return None


def _complain_about_calls(calls: Any) -> str | None:
    if calls is None:
        return None
    if not isinstance(calls, list):
        return "must have `tool_calls` that are a list"
    for call in calls:
        if not isinstance(call, dict) or not isinstance(call.get("id"), str):
            return "must have an `id` in each tool call"
        if call.get("type", "function") != "function":
            continue
        function = call.get("function")
        if not isinstance(function, dict):
            return "must have a `function` in each tool call"
        if not isinstance(function.get("name"), str) or not isinstance(function.get("arguments", ""), str):
            return "must have a `name` and `arguments` as text in each tool call's function"
    return None
