"""The dialect of OpenAI and of all servers that follow it: what the client sent goes through untouched."""

from __future__ import annotations

from typing import Any

from upstreams.answer.chunks import ChunkReader, FinishTable, read_completion
from upstreams.answer.errors import read_failure
from upstreams.request.parameters import Parameters
from upstreams.values import AnswerContext, ChatRequest, Delta, ErrorKind, Failure, Outgoing

PARAMETERS: Parameters = {}
"""Empty: there is nothing to translate, and a parameter unknown to us may well be known to the server."""

FINISH: FinishTable = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "error": ErrorKind.BROKEN,
}

PATH = "/chat/completions"


def headers(token: str | None) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"} if token else {}


def body(model: str, request: ChatRequest) -> Outgoing:
    stream = {"stream": True, "stream_options": {"include_usage": True}} if request.stream else {}
    return Outgoing({"model": model, "messages": request.messages, **request.parameters, **stream})


def answer(payload: Any, context: AnswerContext) -> list[Delta]:
    return read_completion(payload, FINISH)


class Reader(ChunkReader):
    def __init__(self, context: AnswerContext) -> None:
        super().__init__(FINISH)


def failure(status: int, payload: Any, retry_after: float | None = None) -> Failure:
    return read_failure(status, payload, retry_after=retry_after)
