"""Answers as deltas: what all streams share, and OpenAI's shape, whole and streamed; its dialects differ in tables."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import orjson

from upstreams.answer.errors import KIND_OF_CODE, ErrorTable, read_failure, redact
from upstreams.answer.sse import DONE, Event
from upstreams.answer.tool_calls import ToolCallAssembler
from upstreams.lenient_json import SurrogateHalves, as_count, as_list, as_object, as_text, read_with_surrogates, repair_text
from upstreams.values import Delta, ErrorKind, Failure, Finish, FinishReason, Json, Piece, Reasoning, Text, ToolCall, Usage

FinishTable: TypeAlias = Mapping[str, FinishReason | ErrorKind]
"""A provider's finish reason → OpenAI's; one that means an error becomes an ErrorKind, never `stop`."""

MAX_CHOICES = 128
"""OpenAI allows as many; an index beyond is nonsense, and must not become a list of that length."""


_CUT_OFF = Failure(ErrorKind.INTERRUPTED, message="the stream ended without a finish reason")


def read_completion(payload: Any, table: FinishTable, codes: ErrorTable = KIND_OF_CODE) -> list[Delta]:
    """Turn a whole `chat.completion` into the deltas that its stream would have brought."""
    if failure := read_error(payload, codes):
        return [failure]
    choices = as_list(payload.get("choices"))[:MAX_CHOICES]
    if not choices:
        return [Failure(ErrorKind.MALFORMED, message="an answer without choices")]
    deltas: list[Delta] = []
    reasons: dict[int, str] = {}
    calls = ToolCallAssembler()
    for position, choice in enumerate(map(as_object, choices)):
        index = _index(choice, position)
        deltas += read_pieces(as_object(choice.get("message")), index, calls, choice.get("logprobs"), payload.get("id"))
        reasons[index] = as_text(choice.get("finish_reason")) or "stop"
    return deltas + read_end(reasons, read_usage(payload.get("usage")), calls, table)


class PayloadReader(ABC):
    """What all streamed answers share: JSON in events, `[DONE]`, surrogate pairs cut in two, and silence after the end."""

    def __init__(self) -> None:
        self._ended = False
        self._surrogates = SurrogateHalves()

    def read(self, event: Event) -> list[Delta]:
        if self._ended:
            return []
        try:
            payload = orjson.loads(event.data)
        except orjson.JSONDecodeError:
            return self._join(self._read_unusual(event.data))
        deltas = self._read_payload(payload)
        return self._join(deltas) if self._surrogates.kept else deltas

    def close(self) -> list[Delta]:
        """Return how the end of the connection ends the answer: well only where a finish reason came before it."""
        return [] if self._ended else self._join(self._end(_CUT_OFF))

    @abstractmethod
    def _read_payload(self, payload: Any) -> list[Delta]:
        """Return the deltas of one event's JSON, which may be of any shape, and hold lone surrogates."""
        ...

    def _read_done(self) -> list[Delta]:
        return self._end(_CUT_OFF)

    def _end(self, failure: Failure) -> list[Delta]:
        """Return how the answer ended; with this failure where it was not over."""
        return self._fail(failure)

    def _fail(self, failure: Failure) -> list[Delta]:
        self._ended = True
        return [failure]

    def _read_unusual(self, data: bytes) -> list[Delta]:
        """Read what orjson refused: the mark of the end, a keep-alive, a lone surrogate, or nonsense."""
        if data == DONE:
            return self._read_done()
        if not data.strip():
            return []
        try:
            payload = read_with_surrogates(data)
        except ValueError:
            return self._end(Failure(ErrorKind.MALFORMED, message="an event that is no JSON"))
        return self._read_payload(payload)

    def _join(self, deltas: list[Delta]) -> list[Delta]:
        """Join surrogate pairs that were cut in two; a surrogate that is alone at the end becomes U+FFFD."""
        joined: list[Delta] = []
        for delta in deltas:
            if isinstance(delta, Usage | Finish | Failure):
                joined += [_with_text(key, "\ufffd") for key in self._surrogates.drain()]
                joined.append(delta)
            elif (piece := _repair(delta, self._surrogates)) != _key_of(delta):
                joined.append(piece)
        return joined


class ChunkReader(PayloadReader):
    """Turns the events of a `chat.completion.chunk` stream into deltas; none follow a Finish or Failure."""

    def __init__(self, table: FinishTable, codes: ErrorTable = KIND_OF_CODE) -> None:
        super().__init__()
        self._table = table
        self._codes = codes
        self._reasons: dict[int, str] = {}
        self._usage: Any = None
        self._begun = False
        self._calls = ToolCallAssembler()

    def _read_payload(self, payload: Any) -> list[Delta]:
        if failure := read_error(payload, self._codes):
            return self._fail(failure)
        if usage := payload.get("usage"):
            self._usage = usage
        deltas: list[Delta] = []
        for position, choice in enumerate(map(as_object, as_list(payload.get("choices")))):
            self._begun = True
            index = _index(choice, position)
            deltas += read_pieces(as_object(choice.get("delta")), index, self._calls, choice.get("logprobs"), payload.get("id"))
            if reason := choice.get("finish_reason"):
                self._reasons[index] = as_text(reason)
        return deltas

    def _read_done(self) -> list[Delta]:
        """Some servers give no finish reason and end well all the same."""
        if self._begun:
            self._reasons.setdefault(0, "stop")
        return self._end(_CUT_OFF)

    def _end(self, failure: Failure) -> list[Delta]:
        if not self._reasons:
            return self._fail(failure)
        self._ended = True
        return read_end(self._reasons, read_usage(self._usage), self._calls, self._table)


def read_pieces(
    message: Json, choice: int, calls: ToolCallAssembler, logprobs: Any = None, answer_id: Any = None
) -> list[Piece]:
    """Read a message, or the delta of one: reasoning first, then text, then tool calls."""
    if len(message) == 1 and "content" in message:
        return read_content(message["content"], choice, logprobs)
    pieces: list[Piece] = []
    if reasoning := as_text(message.get("reasoning_content")) or as_text(message.get("reasoning")):
        pieces.append(Reasoning(reasoning, choice))
    pieces += read_content(message.get("content"), choice, logprobs)
    if refusal := as_text(message.get("refusal")):
        pieces.append(Text(refusal, choice))
    pieces += calls.read(message.get("tool_calls"), choice, answer_id)
    if function := message.get("function_call"):
        pieces += calls.read([{"function": function}], choice, answer_id)
    return pieces


def read_content(content: Any, choice: int, logprobs: Any = None) -> list[Piece]:
    """Read content that is a string or a list of parts, some of which may be thinking (Mistral, Cohere)."""
    if isinstance(content, str):
        return [Text(content, choice, as_object(logprobs) or None)] if content else []
    pieces: list[Piece] = []
    for part in map(as_object, as_list(content)):
        pieces += read_part(part, choice, None if pieces else logprobs)
    return pieces


def read_part(part: Json, choice: int, logprobs: Any = None) -> list[Piece]:
    if text := as_text(part.get("text")):
        return [Text(text, choice, as_object(logprobs) or None)]
    thinking = part.get("thinking")
    thought = as_text(thinking) or "".join(as_text(as_object(item).get("text")) for item in as_list(thinking))
    return [Reasoning(thought, choice)] if thought else []


def read_end(
    reasons: Mapping[int, str], usage: Usage | None, calls: ToolCallAssembler, table: FinishTable, message: str = ""
) -> list[Delta]:
    """Return how an answer ended: its usage, then its finish reasons, or the failure that one of them stands for.

    A choice with tool calls finishes with `tool_calls`: OpenAI itself says `stop` after a call that `tool_choice` named.
    """
    counted: list[Delta] = [*calls.close(), *([usage] if usage else [])]
    good: list[FinishReason] = []
    for choice in range(max(reasons, default=0) + 1):
        end = table.get(reasons.get(choice, "stop"), "stop")
        if isinstance(end, ErrorKind):
            return [*counted, Failure(end, message=redact(message) or "the upstream ended its answer with an error")]
        good.append("tool_calls" if end == "stop" and calls.made_in(choice) else end)
    return [*counted, Finish(good[0], tuple(good[1:]))]


def read_usage(usage: Any) -> Usage | None:
    counts = as_object(usage)
    if not counts:
        return None
    return Usage(
        prompt=as_count(counts.get("prompt_tokens")),
        completion=as_count(counts.get("completion_tokens")),
        cached=as_count(as_object(counts.get("prompt_tokens_details")).get("cached_tokens")),
        reasoning=as_count(as_object(counts.get("completion_tokens_details")).get("reasoning_tokens")),
    )


def read_error(payload: Any, codes: ErrorTable = KIND_OF_CODE) -> Failure | None:
    """Return the failure that an answer with status 200 may still be: an error object where an answer should stand."""
    if not isinstance(payload, dict):
        return Failure(ErrorKind.MALFORMED, message="an answer that is no JSON object")
    if not payload.get("error") and payload.get("object") not in ("error", "Error"):
        return None
    status = as_object(payload.get("error")).get("code") or payload.get("raw_status_code")
    return read_failure(status if isinstance(status, int) and 400 <= status <= 599 else None, payload, codes)


def _index(item: Json, position: int) -> int:
    index = item.get("index")
    return index if index.__class__ is int and 0 <= index < MAX_CHOICES else position


def _key_of(piece: Piece) -> Piece:
    """Return the key of the text that a piece belongs to: the same piece without its text."""
    if isinstance(piece, ToolCall):
        return ToolCall(piece.index, choice=piece.choice)
    return piece.__class__("", piece.choice)


def _with_text(piece: Piece, text: str) -> Piece:
    return replace(piece, arguments=text) if isinstance(piece, ToolCall) else replace(piece, text=text)


def _repair(piece: Piece, surrogates: SurrogateHalves) -> Piece:
    """Return a piece without lone surrogates; its logprobs, which hold the same ones, are lost."""
    if isinstance(piece, ToolCall):
        id, name = piece.id and repair_text(piece.id), piece.name and repair_text(piece.name)
        return replace(piece, id=id, name=name, arguments=surrogates.join(_key_of(piece), piece.arguments))
    text = surrogates.join(_key_of(piece), piece.text)
    return replace(piece, text=text, logprobs=None) if isinstance(piece, Text) else replace(piece, text=text)
