"""The dialect of AI21's chat API (Jamba): contents are strings, roles alternate, and most parameters do not exist.

https://docs.ai21.com/reference/jamba-1-6-api-ref; what the docs leave open is read from the SDK, ai21 4.3.0.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from upstreams.answer.chunks import ChunkReader, FinishTable, read_completion
from upstreams.answer.errors import read_failure
from upstreams.lenient_json import as_object, as_text
from upstreams.request import messages, parameters, tools
from upstreams.request.messages import Message, RoleRule, RoleRules
from upstreams.request.parameters import Parameter, Parameters, Unsupported, clamp
from upstreams.values import AnswerContext, ChatRequest, Delta, ErrorKind, Failure, Json, Outgoing

_MAX_ANSWERS = 16


def _count(n: Any) -> Any:
    if n > _MAX_ANSWERS:
        raise Unsupported
    return n


def _response_format(value: Any) -> Json:
    """JSON is all that can be asked for; the schema goes into an instruction."""
    if as_text(as_object(value).get("type")) not in ("json_object", "json_schema"):
        raise Unsupported
    return {"type": "json_object"}


PARAMETERS: Parameters = {
    "temperature": Parameter("temperature", clamp(0, 2), "0–2"),
    "top_p": Parameter("top_p", clamp(0.001, 1), "above 0, up to 1"),
    "max_tokens": Parameter("max_tokens", clamp(0, 4096), "0–4096"),
    "max_completion_tokens": Parameter("max_tokens", clamp(0, 4096), "0–4096"),
    "stop": Parameter("stop", parameters.one_or_more),
    "n": Parameter("n", _count, "1–16; not when streamed, nor with temperature 0"),
    "response_format": Parameter("response_format", _response_format, "a schema becomes an instruction"),
    "tools": Parameter("tools", tools.define(), "functions, without strict"),
}

FINISH: FinishTable = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "error": ErrorKind.BROKEN,
}

PATH = "/chat/completions"

_ROLES: RoleRules = {
    "system": RoleRule("system"),
    "developer": RoleRule("system"),
    "user": RoleRule("user"),
    "assistant": RoleRule("assistant", members={"tool_calls": messages.tool_calls}),
    "tool": RoleRule("tool", members={"tool_call_id": as_text}),
}


def headers(token: str | None) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"} if token else {}


def body(model: str, request: ChatRequest) -> Outgoing:
    """Translate the request; with tools it is not streamed, for the docs forbid that.

    Where `n` answers are not allowed, `n` is among the dropped: the gateway repeats the call.
    """
    wanted = tools.without_choice(request.parameters)
    streamed = request.stream and not tools.functions_of(wanted)
    refused = {"n"} if streamed or wanted.get("temperature") == 0 else ()
    members, dropped = parameters.to_wire(PARAMETERS, wanted, refused)
    dropped += tools.find_dropped(request.parameters, "strict") + messages.find_dropped(request.messages, _ROLES)
    stream = {"stream": True} if streamed else {}
    return Outgoing({"model": model, "messages": _messages(request), **members, **stream}, tuple(dropped))


def answer(payload: Any, context: AnswerContext) -> list[Delta]:
    return read_completion(payload, FINISH)


class Reader(ChunkReader):
    def __init__(self, context: AnswerContext) -> None:
        super().__init__(FINISH)


def failure(status: int, payload: Any, retry_after: float | None = None) -> Failure:
    """An unknown model is 422 with a plain string; a list of mistakes is about the request."""
    failure = read_failure(status, payload, retry_after=retry_after)
    unknown_model = status == 422 and isinstance(as_object(payload).get("detail"), str)
    return replace(failure, kind=ErrorKind.MODEL_NOT_FOUND) if unknown_model else failure


def _messages(request: ChatRequest) -> list[Message]:
    """One system turn leads, then user and assistant alternate."""
    conversation = messages.to_wire(request.messages, _ROLES)
    schema = as_object(as_object(request.parameters.get("response_format")).get("json_schema")).get("schema")
    if schema:
        conversation.append({"role": "system", "content": _instruction(schema)})
    return messages.merge_neighbours(messages.lead_with_system(conversation))


def _instruction(schema: Any) -> str:
    return f"Answer with a JSON object that follows this JSON schema: {orjson.dumps(schema).decode()}"
