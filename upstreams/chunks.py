"""Answers in OpenAI's shape, whole and streamed, as deltas; the dialects that speak it differ only in their tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from upstreams.faults import clean, read_failure, read_message
from upstreams.messages import Delta, Failure, Fault, Finish, FinishReason, Json, Piece, Reasoning, Text, ToolCall, Usage
from upstreams.shapes import as_arguments, as_count, as_list, as_object, as_text, read_json
from upstreams.sse import DONE, Event

FinishTable: TypeAlias = Mapping[str, FinishReason | Fault]
"""A provider's finish reasons in OpenAI's words; those that mean an error become a Fault, never `stop`."""


def read_completion(payload: Any, table: FinishTable) -> list[Delta]:
    """Turn a whole `chat.completion` into the deltas that its stream would have brought."""
    if failure := read_error(payload):
        return [failure]
    choices = as_list(as_object(payload).get("choices"))
    if not choices:
        return [Failure(Fault.MALFORMED, message="an answer without choices")]
    deltas: list[Delta] = []
    reasons: dict[int, str] = {}
    for position, choice in enumerate(map(as_object, choices)):
        index = _index(choice, position)
        deltas += read_pieces(as_object(choice.get("message")), index, choice.get("logprobs"))
        reasons[index] = as_text(choice.get("finish_reason")) or "stop"
    return deltas + read_end(reasons, as_object(payload).get("usage"), table)


class ChunkReader:
    """Turns the events of a `chat.completion.chunk` stream into deltas; says nothing more after Finish or Failure."""

    def __init__(self, table: FinishTable) -> None:
        self._table = table
        self._reasons: dict[int, str] = {}
        self._usage: Any = None
        self._ended = False

    def read(self, event: Event) -> list[Delta]:
        if self._ended:
            return []
        if event.data == DONE:
            return self._end()
        try:
            payload = read_json(event.data)
        except ValueError:
            return self._fail(Failure(Fault.MALFORMED, message="an event that is no JSON"))
        if failure := read_error(payload):
            return self._fail(failure)
        return self._read_chunk(as_object(payload))

    def close(self) -> list[Delta]:
        """Tell what the end of the connection means: a good end only where a finish reason came before it."""
        if self._ended:
            return []
        if self._reasons:
            return self._end()
        return self._fail(Failure(Fault.INTERRUPTED, message="the stream ended without a finish reason"))

    def _read_chunk(self, chunk: Json) -> list[Delta]:
        if usage := chunk.get("usage"):
            self._usage = usage
        deltas: list[Delta] = []
        for position, choice in enumerate(map(as_object, as_list(chunk.get("choices")))):
            index = _index(choice, position)
            deltas += read_pieces(as_object(choice.get("delta")), index, choice.get("logprobs"))
            if reason := as_text(choice.get("finish_reason")):
                self._reasons[index] = reason
        return deltas

    def _end(self) -> list[Delta]:
        self._ended = True
        return read_end(self._reasons, self._usage, self._table)

    def _fail(self, failure: Failure) -> list[Delta]:
        self._ended = True
        return [failure]


def read_pieces(message: Json, choice: int, logprobs: Any = None) -> list[Piece]:
    """Read a message, or the delta of one: reasoning first, then text, then tool calls."""
    content = message.get("content")
    if content.__class__ is str and len(message) == 1:
        return [Text(content, choice, logprobs)] if content else []
    pieces: list[Piece] = []
    if reasoning := as_text(message.get("reasoning_content")) or as_text(message.get("reasoning")):
        pieces.append(Reasoning(reasoning, choice))
    pieces += read_content(content, choice, logprobs)
    if refusal := as_text(message.get("refusal")):
        pieces.append(Text(refusal, choice))
    pieces += read_tool_calls(message.get("tool_calls"), choice)
    return pieces


def read_content(content: Any, choice: int, logprobs: Any = None) -> Iterator[Piece]:
    """Read content that is a string or a list of parts, some of which may be thinking (Mistral, Cohere)."""
    if isinstance(content, str):
        if content:
            yield Text(content, choice, logprobs)
        return
    for part in map(as_object, as_list(content)):
        thinking = part.get("thinking")
        if thought := as_text(thinking) or "".join(as_text(as_object(item).get("text")) for item in as_list(thinking)):
            yield Reasoning(thought, choice)
        elif text := as_text(part.get("text")):
            yield Text(text, choice)


def read_tool_calls(calls: Any, choice: int) -> Iterator[ToolCall]:
    """Read tool calls or pieces of them; an index that is missing is the place in the list, an empty name is none."""
    for position, call in enumerate(map(as_object, as_list(calls))):
        function = as_object(call.get("function"))
        yield ToolCall(
            index=_index(call, position),
            id=as_text(call.get("id")) or None,
            name=as_text(function.get("name")) or None,
            arguments=as_arguments(function.get("arguments")),
            choice=choice,
        )


def read_end(reasons: Mapping[int, str], usage: Any, table: FinishTable) -> list[Delta]:
    """Return how an answer ended: its usage, then its finish reasons, or the failure that one of them stands for."""
    ends = [table.get(reasons.get(choice, "stop"), "stop") for choice in range(max(reasons, default=0) + 1)]
    for end in ends:
        if isinstance(end, Fault):
            return [Failure(end, message="the upstream ended its answer with an error")]
    good = [end for end in ends if not isinstance(end, Fault)]
    found = read_usage(usage)
    return [*([found] if found else []), Finish(good[0], tuple(good[1:]))]


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


def read_error(payload: Any) -> Failure | None:
    """Return the failure that an answer with status 200 may still be: an error object where an answer should stand."""
    body = as_object(payload)
    if not body:
        return Failure(Fault.MALFORMED, message="an answer that is no JSON object")
    if not body.get("error") and body.get("object") not in ("error", "Error"):
        return None
    status = as_object(body.get("error")).get("code") or body.get("raw_status_code")
    if isinstance(status, int) and 400 <= status <= 599:
        return read_failure(status, payload)
    return Failure(Fault.BROKEN, message=clean(read_message(payload)))


def _index(item: Json, position: int) -> int:
    index = item.get("index")
    return index if index.__class__ is int and 0 <= index < 1024 else position
