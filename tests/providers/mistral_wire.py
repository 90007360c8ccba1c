"""Mistral's wire: padded chunks, usage on the last one, thinking as parts, as Mistral sends them; knows no sockets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.providers.mistral_rules import complaints
from tests.providers.steps import compact
from tests.providers.strict import bearer_token
from tests.providers.turns import WRONG_TOKEN, Call, Payload, Piece, Received, Refusal, Turn
from upstreams.values import Usage

PATH = "/chat/completions"
ERROR_HEADERS = dict.fromkeys(("mistral-correlation-id", "x-kong-request-id"), "0123456789abcdef0123456789abcdef")
STREAM_HEADERS = {"content-type": "text/event-stream; charset=utf-8", **ERROR_HEADERS}
WHOLE_HEADERS = {
    **ERROR_HEADERS,
    "x-ratelimit-limit-req-minute": "60",
    "x-ratelimit-remaining-req-minute": "59",
    "x-ratelimit-limit-tokens-minute": "500000",
    "x-ratelimit-remaining-tokens-minute": "499987",
    "x-ratelimit-tokens-query-cost": "13",
}
"""Only these answers tell the limits."""

PIECEWISE_MODEL = "zai-glm-5-2"
"""The hosted model that streams arguments in pieces, continued under an empty name and no id (vercel/ai PR #19181)."""

ERRORS: Mapping[int, tuple[str, str | None]] = {
    400: ("invalid_request_error", None),
    422: ("invalid_request_error", None),
    429: ("rate_limited", "1300"),
}
"""Status → type and code."""

_IDENTITY = {"id": "0123456789abcdef0123456789abcdef", "created": 1_787_150_061}
_PADDING = "abcdefghijklmnopqrstuvwxyz0123456789"


def error(status: int, message: Any) -> Payload:
    if status == 401:
        return {"detail": message}
    kind, code = ERRORS.get(status, ("internal_server_error", None))
    return _error(status, message, kind, code)


def error_event(message: str) -> bytes:
    """An error object among the chunks; another way to fail is the finish reason `error` (client-python #74)."""
    return b"data: " + compact(error(500, message)) + b"\n\ndata: [DONE]\n\n"


def refuse(received: Received) -> Refusal | None:
    token = bearer_token(received)
    if token is None:
        return 401, error(401, "Unauthorized")
    if token == WRONG_TOKEN:
        return 401, error(401, "Invalid API Key")
    if not isinstance(received.body, dict):
        return 422, error(422, {"detail": [{"type": "json_invalid", "loc": ["body", 0], "msg": "JSON decode error"}]})
    for complaint in complaints(received.body):
        return complaint.status, _error(complaint.status, complaint.message, complaint.kind, complaint.code)
    return None


def whole(turn: Turn, received: Received) -> Payload:
    return {
        **_IDENTITY,
        "model": received.body["model"],
        **({"usage": _usage(turn.usage)} if turn.usage else {}),
        "object": "chat.completion",
        "choices": [
            {"index": index, "finish_reason": turn.finish, "message": _message(turn)} for index in range(_count(turn, received))
        ],
    }


def events(turn: Turn, received: Received) -> Iterator[bytes]:
    """The last piece brings finish reason and usage along; every chunk but the first is padded."""
    frame = {**_IDENTITY, "object": "chat.completion.chunk", "model": received.body["model"]}
    opening = {"role": "assistant", "content": ""}
    for index in range(_count(turn, received)):
        yield _data({**frame, "choices": [_choice(index, opening)]})
    deltas = _deltas(turn, received.body["model"] == PIECEWISE_MODEL)
    usage = {"usage": _usage(turn.usage)} if turn.usage else {}
    for place, delta in enumerate(deltas, start=1):
        is_last = place == len(deltas)
        for index in range(_count(turn, received)):
            choice = _choice(index, delta, turn.finish if is_last else None)
            chunk = {**frame, "choices": [choice], **(usage if is_last else {}), "p": _PADDING[: place * 7 % 36]}
            yield Piece(_data(chunk))
    yield b"data: [DONE]\n\n"


def _error(status: int, message: Any, kind: str, code: str | None) -> Payload:
    return {"object": "error", "message": message, "type": kind, "param": None, "code": code, "raw_status_code": status}


def _deltas(turn: Turn, piecewise: bool) -> list[Payload]:
    deltas: list[Payload] = [{"content": [_thinking(piece)]} for piece in turn.reasoning]
    deltas += [{"content": piece} for piece in turn.text]
    if turn.tool_calls and piecewise:
        deltas += [{"tool_calls": [part]} for index, call in enumerate(turn.tool_calls) for part in _call_parts(index, call)]
    elif turn.tool_calls:
        deltas.append({"tool_calls": [_whole_call(index, call) for index, call in enumerate(turn.tool_calls)]})
    return deltas or [{"content": ""}]


def _call_parts(index: int, call: Call) -> Iterator[Payload]:
    yield {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}, "index": index}
    for piece in call.arguments or ("{}",):
        yield {"function": {"name": "", "arguments": piece}, "index": index}


def _whole_call(index: int, call: Call) -> Payload:
    function = {"name": call.name, "arguments": "".join(call.arguments) or "{}"}
    return {"id": call.id, "type": "function", "function": function, "index": index}


def _message(turn: Turn) -> Payload:
    text = "".join(turn.text)
    thought = {**_thinking("".join(turn.reasoning)), "closed": True}
    content = [thought, {"type": "text", "text": text}] if turn.reasoning else text
    calls = [_whole_call(index, call) for index, call in enumerate(turn.tool_calls)]
    return {"role": "assistant", "tool_calls": calls or None, "content": content}


def _thinking(text: str) -> Payload:
    return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}


def _choice(index: int, delta: Payload, finish: str | None = None) -> Payload:
    return {"index": index, "delta": delta, "finish_reason": finish}


def _usage(usage: Usage) -> Payload:
    return {
        "prompt_tokens": usage.prompt,
        "total_tokens": usage.prompt + usage.completion,
        "completion_tokens": usage.completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "service_tier": "standard",
    }


def _count(turn: Turn, received: Received) -> int:
    return turn.choices or received.body.get("n") or 1


def _data(payload: Any) -> bytes:
    return b"data: " + compact(payload) + b"\n\n"
