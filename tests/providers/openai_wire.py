"""OpenAI's wire: `chat.completion` and its chunks, as OpenAI sends them; knows nothing of sockets.

Also stands for the many servers that follow OpenAI. They take fields of their own, so unknown keys are not refused here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.providers.steps import compact
from tests.providers.strict import Ranges, bearer_token, out_of_range
from tests.providers.turns import WRONG_TOKEN, Call, Payload, Piece, Received, Refusal, Turn
from upstreams.values import Usage

PATH = "/chat/completions"
WHOLE_HEADERS = {"x-request-id": "req_0123456789abcdef", "openai-version": "2020-10-01", "openai-processing-ms": "12"}
STREAM_HEADERS = {"content-type": "text/event-stream; charset=utf-8", **WHOLE_HEADERS}
ERROR_HEADERS = {"x-request-id": "req_0123456789abcdef"}

MISSING_MODEL = "no-such-model"
"""The one model that does not exist: rows of compatible servers have any name."""

RANGES: Ranges = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "n": (1, 128),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
    "top_logprobs": (0, 20),
}

ERRORS: Mapping[int, tuple[str, str | None]] = {
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("request_forbidden", "unsupported_country_region_territory"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
    500: ("server_error", None),
    503: ("service_unavailable_error", "server_is_overloaded"),
}
"""Status → type and code."""

_IDENTITY = {"id": "chatcmpl-0123456789abcdef", "created": 1_787_150_061}


def error(status: int, message: str, param: str | None = None) -> Payload:
    kind, code = ERRORS.get(status, ("invalid_request_error" if status < 500 else "server_error", None))
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error_event(message: str) -> bytes:
    """An `error` object among the data, then the usual end (go-openai PR #396)."""
    return _data(error(500, message)) + b"data: [DONE]\n\n"


def refuse(received: Received) -> Refusal | None:
    token = bearer_token(received)
    if token is None:
        return 401, error(401, "You didn't provide an API key.")
    if token == WRONG_TOKEN:
        return 401, error(401, f"Incorrect API key provided: {token}.")
    if not isinstance(received.body, dict):
        return 400, error(400, "We could not parse the JSON body of your request.")
    return next(_complaints(received.body), None)


def _complaints(body: Payload) -> Iterator[Refusal]:
    for name in ("model", "messages"):
        if not body.get(name):
            yield 400, error(400, f"Missing required parameter: '{name}'.", name)
    if body.get("model") == MISSING_MODEL:
        yield 404, error(404, f"The model `{MISSING_MODEL}` does not exist or you do not have access to it.")
    for name, (low, high) in out_of_range(body, RANGES):
        yield 400, error(400, f"Invalid '{name}': expected a value between {low} and {high}.", name)
    if body.get("stream_options") is not None and not body.get("stream"):
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        yield 400, error(400, message, "stream_options")


def whole(turn: Turn, received: Received) -> Payload:
    return {
        **_IDENTITY,
        "object": "chat.completion",
        "model": received.body["model"],
        "choices": [
            {"index": index, "message": _message(turn), "logprobs": None, "finish_reason": turn.finish}
            for index in range(_count(turn, received))
        ],
        **({"usage": _usage(turn.usage)} if turn.usage else {}),
        "service_tier": "default",
    }


def events(turn: Turn, received: Received) -> Iterator[bytes]:
    """Each chunk has one choice; with n > 1 they interleave, each opened right before its first piece."""
    include_usage = bool((received.body.get("stream_options") or {}).get("include_usage"))
    frame = {
        **_IDENTITY,
        "object": "chat.completion.chunk",
        "model": received.body["model"],
        "service_tier": "default",
        **({"usage": None} if include_usage else {}),
    }
    for deltas in _rounds(turn):
        for index in range(_count(turn, received)):
            for delta, brings_piece in deltas:
                event = _data({**frame, "choices": [_choice(index, delta)]})
                yield Piece(event) if brings_piece else event
    for index in range(_count(turn, received)):
        yield _data({**frame, "choices": [_choice(index, {}, turn.finish)]})
    if include_usage and turn.usage:
        yield _data({**frame, "choices": [], "usage": _usage(turn.usage)})
    yield b"data: [DONE]\n\n"


def _rounds(turn: Turn) -> list[list[tuple[Payload, bool]]]:
    """Return what each choice says in turn: deltas, each with whether it brings a piece."""
    pieces: list[Payload] = [{"reasoning_content": piece} for piece in turn.reasoning]
    pieces += [{"content": piece} for piece in turn.text]
    pieces += [{"tool_calls": [part]} for index, call in enumerate(turn.tool_calls) for part in _call_parts(index, call)]
    opening: Payload = {"role": "assistant", "content": "", "refusal": None}
    if pieces and "tool_calls" in pieces[0]:
        return [[({**opening, "content": None, **pieces[0]}, True)], *([(piece, True)] for piece in pieces[1:])]
    return [[(opening, False), *((piece, True) for piece in pieces[:1])], *([(piece, True)] for piece in pieces[1:])]


def _call_parts(index: int, call: Call) -> Iterator[Payload]:
    yield {"index": index, "id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}}
    for piece in call.arguments or ("{}",):
        yield {"index": index, "function": {"arguments": piece}}


def _choice(index: int, delta: Payload, finish: str | None = None) -> Payload:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}


def _message(turn: Turn) -> Payload:
    content = None if turn.tool_calls and not turn.text else "".join(turn.text)
    message: Payload = {"role": "assistant", "content": content, "refusal": None, "annotations": []}
    if turn.reasoning:
        message["reasoning_content"] = "".join(turn.reasoning)
    if turn.tool_calls:
        message["tool_calls"] = [_whole_call(call) for call in turn.tool_calls]
    return message


def _whole_call(call: Call) -> Payload:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": "".join(call.arguments) or "{}"}}


def _usage(usage: Usage) -> Payload:
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _count(turn: Turn, received: Received) -> int:
    return turn.choices or received.body.get("n") or 1


def _data(payload: Any) -> bytes:
    return b"data: " + compact(payload) + b"\n\n"
