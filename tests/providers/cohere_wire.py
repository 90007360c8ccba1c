"""Cohere's wire, v2 of its chat: typed events, thinking blocks, tool plans, as Cohere sends them; knows no sockets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.providers.cohere_rules import complaints
from tests.providers.steps import compact
from tests.providers.strict import bearer_token
from tests.providers.turns import WRONG_TOKEN, Call, Payload, Piece, Received, Refusal, Turn
from upstreams.values import Usage

PATH = "/v2/chat"
WHOLE_HEADERS = {"x-debug-trace-id": "0123456789abcdef0123456789abcdef"}
STREAM_HEADERS = {"content-type": "text/event-stream", **WHOLE_HEADERS}
ERROR_HEADERS: Mapping[str, str] = {}

FINISH = {"stop": "COMPLETE", "length": "MAX_TOKENS", "tool_calls": "TOOL_CALL", "error": "ERROR"}

_ID = "b5a2f3c0-0d5f-4f0e-9b1a-0123456789ab"


def error(status: int, message: str) -> Payload:
    return {"id": _ID, "message": message}


def error_event(message: str) -> bytes:
    """The specification's way to fail in mid-stream; nobody has published a recording of it."""
    return _event("message-end", delta={"finish_reason": "ERROR", "error": message}) + b"data: [DONE]\n\n"


def refuse(received: Received) -> Refusal | None:
    token = bearer_token(received)
    if token is None:
        return 401, error(401, "no api key supplied")
    if token == WRONG_TOKEN:
        return 401, error(401, f"Incorrect API key provided: {'*' * len(token)}")
    if not isinstance(received.body, dict):
        return 400, error(400, "invalid request: the body is not a JSON object")
    return next(((status, error(status, message)) for status, message in complaints(received.body)), None)


def whole(turn: Turn, received: Received) -> Payload:
    return {
        "id": _ID,
        "message": _message(turn),
        "finish_reason": FINISH.get(turn.finish, turn.finish),
        **({"usage": _usage(turn.usage)} if turn.usage else {}),
    }


def events(turn: Turn, received: Received) -> Iterator[bytes]:
    """Typed events, unless the client accepts plain JSON only: it gets bare lines and no [DONE] (a transcript of 2024)."""
    if received.headers.get("accept") == "application/json":
        for event in _framed(turn):
            line = event.partition(b"data: ")[2].rstrip(b"\n") + b"\n"
            yield Piece(line) if isinstance(event, Piece) else line
        return
    yield from _framed(turn)
    yield b"data: [DONE]\n\n"


def _framed(turn: Turn) -> Iterator[bytes]:
    opening = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    yield _event("message-start", id=_ID, delta={"message": opening})
    if turn.reasoning:
        yield from _block(0, "thinking", turn.reasoning)
    if turn.tool_calls:
        for piece in turn.text:
            yield Piece(_event("tool-plan-delta", delta={"message": {"tool_plan": piece}}))
        for index, call in enumerate(turn.tool_calls):
            yield from _call_events(index, call)
    elif turn.text or not turn.reasoning:
        yield from _block(int(bool(turn.reasoning)), "text", turn.text)
    ending = {"finish_reason": FINISH.get(turn.finish, turn.finish)}
    yield _event("message-end", delta={**ending, **({"usage": _usage(turn.usage)} if turn.usage else {})})


def _block(index: int, kind: str, pieces: tuple[str, ...]) -> Iterator[bytes]:
    yield _event("content-start", index=index, delta={"message": {"content": {"type": kind, kind: ""}}})
    for piece in pieces:
        yield Piece(_event("content-delta", index=index, delta={"message": {"content": {kind: piece}}}))
    yield _event("content-end", index=index)


def _call_events(index: int, call: Call) -> Iterator[bytes]:
    """One call after the other; a call without arguments has a start and an end, and no delta."""
    opening = {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}}
    yield Piece(_event("tool-call-start", index=index, delta={"message": {"tool_calls": opening}}))
    for piece in call.arguments:
        delta = {"message": {"tool_calls": {"function": {"arguments": piece}}}}
        yield Piece(_event("tool-call-delta", index=index, delta=delta))
    yield _event("tool-call-end", index=index)


def _message(turn: Turn) -> Payload:
    """A tool turn has a plan where another has text, and no `content` at all but for its thinking."""
    parts: list[Payload] = []
    if turn.reasoning:
        parts.append({"type": "thinking", "thinking": "".join(turn.reasoning)})
    if not turn.tool_calls and (turn.text or not turn.reasoning):
        parts.append({"type": "text", "text": "".join(turn.text)})
    message: Payload = {"role": "assistant", **({"content": parts} if parts else {})}
    if turn.tool_calls:
        message["tool_calls"] = [_whole_call(call) for call in turn.tool_calls]
        if turn.text:
            message["tool_plan"] = "".join(turn.text)
    return message


def _whole_call(call: Call) -> Payload:
    """The arguments of a tool without parameters may be the four letters `null`, as recorded."""
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": "".join(call.arguments) or "null"}}


def _usage(usage: Usage) -> Payload:
    """Billed units leave out the prompt that Cohere puts in front, so they are smaller than the true counts."""
    tokens = {"input_tokens": usage.prompt, "output_tokens": usage.completion}
    if usage.reasoning:
        tokens["reasoning_tokens"] = usage.reasoning
    return {
        "billed_units": {"input_tokens": usage.prompt // 2, "output_tokens": usage.completion},
        "tokens": tokens,
        "cached_tokens": usage.cached,
    }


def _event(kind: str, **members: Any) -> bytes:
    payload = {"type": kind, **members}
    if "id" in payload:
        payload = {"id": payload.pop("id"), **payload}
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), compact(payload))
