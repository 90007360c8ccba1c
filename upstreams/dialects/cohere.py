"""The dialect of Cohere's v2 chat API: typed events, its own names for parameters, and no key that it does not know.

https://docs.cohere.com/reference/chat; unknown keys are refused at every depth (422 `unknown field`).
"""

from __future__ import annotations

import re
from typing import Any

from upstreams.answer.chunks import FinishTable, PayloadReader, read_content, read_end, read_error, read_part
from upstreams.answer.errors import read_failure, read_message, redact
from upstreams.answer.tool_calls import ToolCallAssembler
from upstreams.lenient_json import as_count, as_list, as_object, as_text
from upstreams.request import messages, parameters, tools
from upstreams.request.messages import IMAGE, TEXT, RoleRule, RoleRules
from upstreams.request.parameters import Parameter, Parameters, Unsupported, clamp
from upstreams.values import AnswerContext, ChatRequest, Delta, ErrorKind, Failure, Json, Outgoing, Reasoning, Usage

_NO_TOOL_CHOICE = frozenset({"command-r-08-2024", "command-r-plus-08-2024"})
"""Models older than command-r7b-12-2024, with which `tool_choice` came: https://docs.cohere.com/reference/chat."""

_REASONING = frozenset({"command-a-plus-05-2026", "command-a-reasoning-08-2025"})
"""Models that know `thinking`, of Cohere's list of August 2026; the others refuse what they do not know."""

_PENALTIES = ("frequency_penalty", "presence_penalty")


def _response_format(value: Any) -> Json:
    kind = as_text(as_object(value).get("type"))
    schema = as_object(as_object(value).get("json_schema")).get("schema")
    if kind not in ("json_object", "json_schema"):
        raise Unsupported
    return {"type": "json_object", **({"json_schema": schema} if schema else {})}


def _tools(value: Any) -> list[Json]:
    """A tool with neither description nor input is refused: its name has to describe it."""
    functions = [tool["function"] for tool in tools.define()(value)]
    return [{"type": "function", "function": {"description": function.get("name", ""), **function}} for function in functions]


def _thinking(effort: str) -> Json:
    return {"type": "disabled" if effort == "none" else "enabled"}


PARAMETERS: Parameters = {
    "temperature": Parameter("temperature", clamp(0, 1), "0–1"),
    "top_p": Parameter("p", clamp(0.01, 0.99), "0.01–0.99"),
    "max_tokens": Parameter("max_tokens"),
    "max_completion_tokens": Parameter("max_tokens"),
    "stop": Parameter("stop_sequences", parameters.one_or_more, "up to 5"),
    "seed": Parameter("seed", abs, "0 and up"),
    "frequency_penalty": Parameter("frequency_penalty", clamp(0, 1), "0–1; only the larger of the two penalties"),
    "presence_penalty": Parameter("presence_penalty", clamp(0, 1), "0–1; only the larger of the two penalties"),
    "response_format": Parameter("response_format", _response_format, "not with tools"),
    "tools": Parameter("tools", _tools, "functions, with parameters"),
    "tool_choice": Parameter("tool_choice", parameters.translate({"required": "REQUIRED"}), "newer models"),
    "logprobs": Parameter("logprobs"),
    "reasoning_effort": Parameter("thinking", _thinking, "none or not; reasoning models"),
}

FINISH: FinishTable = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
    "ERROR": ErrorKind.BROKEN,
    "TIMEOUT": ErrorKind.TIMEOUT,
    "ERROR_TOXIC": "content_filter",
    "ERROR_LIMIT": "length",
    "USER_CANCEL": ErrorKind.INTERRUPTED,
}

PATH = "/v2/chat"

_ROLES: RoleRules = {
    "system": RoleRule("system", TEXT),
    "developer": RoleRule("system", TEXT),
    "user": RoleRule("user", {**TEXT, **IMAGE}),
    "assistant": RoleRule("assistant", TEXT, {"tool_calls": messages.tool_calls}),
    "tool": RoleRule("tool", members={"tool_call_id": as_text}),
}

_PIECES = frozenset({"content-start", "content-delta", "tool-plan-delta", "tool-call-start", "tool-call-delta"})
"""Events with a piece of the answer in them; all others, such as citations and unknown ones, hold nothing for a client."""

_ERRORS = {"TOO_MANY_TOKENS": ErrorKind.CONTEXT_LENGTH}

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""The names that Cohere takes for tools: those of variables."""


def headers(token: str | None) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"} if token else {}


def body(model: str, request: ChatRequest) -> Outgoing:
    wanted = tools.without_choice(request.parameters)
    names = tools.substitute(tools.names_in(request), _NAME, _legalise)
    members, dropped = parameters.to_wire(PARAMETERS, tools.rename_definitions(wanted, names), _refused(model, wanted))
    strict = {"strict_tools": True} if _all_strict(wanted) else {}
    dropped += tools.find_dropped(request.parameters, *([] if strict else ["strict"]))
    dropped += messages.find_dropped(request.messages, _ROLES)
    history = tools.distinct_ids(tools.rename_calls(request.messages, names, {}))
    conversation = messages.lead_with_system(messages.to_wire(history, _ROLES))
    stream = {"stream": True} if request.stream else {}
    context = AnswerContext(tool_names={theirs: ours for ours, theirs in names.items()})
    return Outgoing({"model": model, "messages": conversation, **members, **strict, **stream}, tuple(dropped), context)


def answer(payload: Any, context: AnswerContext) -> list[Delta]:
    if failure := read_error(payload, _ERRORS):
        return [failure]
    reason = as_text(payload.get("finish_reason"))
    message = as_object(payload.get("message"))
    if not message and not reason:
        return [Failure(ErrorKind.MALFORMED, message=redact(read_message(payload)) or "an answer without a message")]
    calls = ToolCallAssembler(context.tool_names)
    pieces = _read_pieces(message, calls, None, payload.get("id"), payload.get("logprobs"))
    return pieces + read_end({0: reason}, _read_usage(payload.get("usage")), calls, FINISH)


class Reader(PayloadReader):
    def __init__(self, context: AnswerContext) -> None:
        super().__init__()
        self._calls = ToolCallAssembler(context.tool_names)
        self._id: Any = None

    def _read_payload(self, payload: Any) -> list[Delta]:
        kind = as_text(as_object(payload).get("type"))
        if kind in _PIECES:
            message = as_object(as_object(payload.get("delta")).get("message"))
            return _read_pieces(message, self._calls, payload.get("index"), self._id, payload.get("logprobs"))
        if kind == "message-start":
            self._id = payload.get("id")
        elif kind == "tool-call-end":
            return [*self._calls.close()]
        elif kind == "message-end":
            return self._read_message_end(as_object(payload.get("delta")))
        elif failure := self._read_error(kind, payload):
            return self._fail(failure)
        return []

    def _read_message_end(self, delta: Json) -> list[Delta]:
        self._ended = True
        reasons = {0: as_text(delta.get("finish_reason"))}
        return read_end(reasons, _read_usage(delta.get("usage")), self._calls, FINISH, as_text(delta.get("error")))

    def _read_error(self, kind: str, payload: Any) -> Failure | None:
        """Read an event without a type as an error answer, which has a message; an unknown type may be a new one."""
        failure = read_error(payload, _ERRORS)
        return failure or (read_failure(None, payload, _ERRORS) if not kind and read_message(payload) else None)


def failure(status: int, payload: Any, retry_after: float | None = None) -> Failure:
    return read_failure(status, payload, _ERRORS, retry_after)


def _refused(model: str, wanted: Json) -> set[str]:
    """Return what Cohere takes, but not from this model or not beside the rest of this request."""
    refused = set()
    if model in _NO_TOOL_CHOICE:
        refused.add("tool_choice")
    if model not in _REASONING:
        refused.add("reasoning_effort")
    if tools.functions_of(wanted):
        refused.add("response_format")  # https://docs.cohere.com/docs/structured-outputs
    smaller = min(_PENALTIES, key=lambda name: wanted.get(name, 0))
    if wanted.get(smaller, 0) > 0:
        refused.add(smaller)  # some models refuse to have both: https://docs.cohere.com/v2/reference/errors
    return refused


def _all_strict(wanted: Json) -> bool:
    """Tell whether `strict_tools` is wanted and possible: every tool has to require a parameter."""
    functions = tools.functions_of(wanted)
    required = [as_list(as_object(function.get("parameters")).get("required")) for function in functions]
    return bool(functions) and all(required) and all(function.get("strict") for function in functions)


def _legalise(name: str, attempt: int) -> str:
    legal = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return ("_" if legal[0].isdigit() else "") + legal + (f"_{attempt + 1}" if attempt else "")


def _read_pieces(message: Json, calls: ToolCallAssembler, index: Any, answer_id: Any, logprobs: Any) -> list[Delta]:
    """Read a message, or the delta of one, in which one object stands for a list, and its index beside it."""
    deltas: list[Delta] = []
    if plan := as_text(message.get("tool_plan")):
        deltas.append(Reasoning(plan))
    if content := message.get("content"):
        read = read_part if isinstance(content, dict) else read_content
        deltas += read(content, 0, _read_logprobs(logprobs) if logprobs else None)
    if made := message.get("tool_calls"):
        deltas += calls.read([{"index": index, **made}] if isinstance(made, dict) else made, 0, answer_id)
    return deltas


def _read_usage(usage: Any) -> Usage | None:
    """Read the real counts, which include Cohere's own preamble, or else those on the bill."""
    usage = as_object(usage)
    counts = as_object(usage.get("tokens")) or as_object(usage.get("billed_units"))
    if not counts:
        return None
    return Usage(
        prompt=as_count(counts.get("input_tokens")),
        completion=as_count(counts.get("output_tokens")),
        cached=as_count(usage.get("cached_tokens")),
        reasoning=as_count(counts.get("reasoning_tokens")),
    )


def _read_logprobs(items: Any) -> Json:
    """Turn Cohere's pieces of text, each of one or more tokens, into OpenAI's tokens."""
    read = map(as_object, [items] if isinstance(items, dict) else as_list(items))
    return {"content": [_read_logprob(item) for item in read], "refusal": None}


def _read_logprob(item: Json) -> Json:
    values = [value for value in as_list(item.get("logprobs")) if isinstance(value, float)]
    return {"token": as_text(item.get("text")), "logprob": sum(values), "bytes": None, "top_logprobs": []}
