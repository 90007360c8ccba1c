"""AI21's wire as recorded before its end: chunks written with spaces, errors in FastAPI's shape; knows nothing of sockets."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.providers.ai21_rules import complaints
from tests.providers.strict import bearer_token
from tests.providers.turns import WRONG_TOKEN, Call, Payload, Piece, Received, Refusal, Turn
from upstreams.values import Usage

PATH = "/chat/completions"
WHOLE_HEADERS: Mapping[str, str] = {}
STREAM_HEADERS = {"content-type": "text/event-stream; charset=utf-8"}
ERROR_HEADERS: Mapping[str, str] = {}

_ID = "chat-0123456789abcdef0123456789abcdef"


def error(status: int, message: Any) -> Payload:
    return {"detail": message}


def error_event(message: str) -> bytes:
    """How AI21 fails in mid-stream is unknown; this is the shape of its other errors."""
    return _data(error(500, message)) + b"data: [DONE]"


def refuse(received: Received) -> Refusal | None:
    if bearer_token(received) in (None, WRONG_TOKEN):
        return 401, error(401, "Forbidden: Bad or missing Apikey/JWT.")
    if not isinstance(received.body, dict):
        return 422, error(422, [{"loc": ["body"], "msg": "value is not a valid dict", "type": "type_error.dict"}])
    return next(((422, error(422, detail)) for detail in complaints(received.body)), None)


def whole(turn: Turn, received: Received) -> Payload:
    """No `object`, `created` or `model`, as recorded."""
    return {
        "id": _ID,
        "choices": [
            {"index": index, "message": _message(turn), "logprobs": None, "finish_reason": turn.finish}
            for index in range(turn.choices or received.body.get("n") or 1)
        ],
        **({"usage": _usage(turn.usage)} if turn.usage else {}),
    }


def events(turn: Turn, received: Received) -> Iterator[bytes]:
    """The last chunk has empty content, the finish reason and the usage; [DONE] ends the stream without a newline."""
    yield _data(_chunk({"role": "assistant"}))
    for piece in turn.text:
        yield Piece(_data(_chunk({"content": piece})))
    usage = {"usage": _usage(turn.usage)} if turn.usage else {}
    yield _data({**_chunk({"content": ""}, turn.finish), **usage})
    yield b"data: [DONE]"


def _chunk(delta: Payload, finish: str | None = None) -> Payload:
    return {"id": _ID, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}


def _message(turn: Turn) -> Payload:
    calls = [_call(call) for call in turn.tool_calls]
    return {"role": "assistant", "content": None if calls else "".join(turn.text), "tool_calls": calls or None}


def _call(call: Call) -> Payload:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": "".join(call.arguments) or "{}"}}


def _usage(usage: Usage) -> Payload:
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
    }


def _data(payload: Any) -> bytes:
    return f"data: {json.dumps(payload, ensure_ascii=False)}\n\n".encode()
