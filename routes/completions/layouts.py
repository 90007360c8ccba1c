"""Deltas to the chunks of a streamed chat completion, for each layout that an answer can have; pure, and told who speaks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from panels.seats import Seat, SeatDelta
from routes.completions.answer import (
    finish_of_sections,
    section_closing,
    section_opening,
    sum_usage,
    to_report,
    to_result,
    to_usage,
)
from routes.completions.chunk_writer import ChunkWriter
from routes.http.errors import ApiError
from upstreams.answer.sse import DONE, encode
from upstreams.values import Delta, End, Json, Piece, Reasoning, Result, Text, ToolCall

ROLE: Json = {"role": "assistant", "content": ""}


class _ChatLayout:
    """What both layouts share: how a stream of chat completions stays alive and ends."""

    def __init__(self, chunks: ChunkWriter, *, include_usage: bool) -> None:
        self._chunks = chunks
        self._include_usage = include_usage

    def heartbeat(self) -> bytes:
        """Return an empty delta and no comment: strict parsers of clients stumble over comments."""
        return self._chunks.delta(0, {})

    def error(self, error: ApiError) -> bytes:
        """Return the end of a stream that fails: OpenAI's SDKs raise at an `error` key, and `[DONE]` says that all is said."""
        return encode(error.envelope()) + encode(DONE)

    def _end(self, results: Sequence[Result]) -> bytes:
        usage = self._chunks.usage(to_usage(sum_usage(results))) if self._include_usage else b""
        return usage + encode(DONE)


class SectionsLayout(_ChatLayout):
    """One text: every seat has a heading, its answer live or in one piece, and an end; one seat speaks at a time."""

    def __init__(self, chunks: ChunkWriter, seats: Sequence[Seat], *, include_usage: bool) -> None:
        super().__init__(chunks, include_usage=include_usage)
        self._seats = seats
        self._section = -1
        self._seat: int | None = None
        self._has_text = False

    def open(self) -> bytes:
        return self._chunks.delta(0, ROLE)

    def write(self, shown: Sequence[SeatDelta]) -> bytes:
        if len(shown) == 1:
            return self._write(*shown[0])
        return b"".join(self._write(seat, delta) for seat, delta in _join_texts(shown))

    def finish(self, results: Sequence[Result]) -> bytes:
        finish = self._chunks.delta(0, {}, finish_reason=finish_of_sections(results), x_rawbot=to_report(results))
        return finish + self._end(results)

    def _write(self, seat: int, delta: Delta) -> bytes:
        begin = b"" if seat == self._seat else self._begin_section(seat)
        if isinstance(delta, Text):
            self._has_text = True
            return begin + self._chunks.text(0, delta.text)
        if isinstance(delta, Reasoning):
            return begin + self._chunks.delta(0, {"reasoning_content": delta.text})
        if isinstance(delta, End):
            return begin + self._end_section(seat, delta)
        return begin

    def _begin_section(self, seat: int) -> bytes:
        self._section += 1
        self._seat = seat
        self._has_text = False
        call = self._seats[seat].call
        start = {"section": self._section, "event": "start", "provider": call.provider, "model": call.id}
        return self._chunks.delta(0, {"content": section_opening(self._section, call.provider, call.id)}, x_rawbot=start)

    def _end_section(self, seat: int, end: End) -> bytes:
        closing = section_closing(end, has_text=self._has_text)
        text = self._chunks.text(0, closing) if closing else b""
        report = {"section": self._section, "event": "end", **to_result(self._seats[seat].result)}
        return text + self._chunks.delta(0, {}, x_rawbot=report)


class ChoicesLayout(_ChatLayout):
    """One choice per seat, all live; a single seat may itself bring several choices (n > 1)."""

    def __init__(self, chunks: ChunkWriter, *, include_usage: bool) -> None:
        super().__init__(chunks, include_usage=include_usage)
        self._opened = 0
        self._named: set[tuple[int, int]] = set()

    def open(self) -> bytes:
        return self._open(0)

    def write(self, shown: Sequence[SeatDelta]) -> bytes:
        return b"".join(self._write(seat, delta) for seat, delta in shown)

    def finish(self, results: Sequence[Result]) -> bytes:
        """Finish all choices at the end: a client that reads by position takes the first reason for the end of the stream."""
        reasons = [reason for result in results for reason in result.reasons]
        finishes = [
            self._chunks.delta(choice, {}, finish_reason=reason, x_rawbot=to_report(results) if choice == 0 else None)
            for choice, reason in reversed(list(enumerate(reasons)))
        ]
        return self._open(len(reasons) - 1) + b"".join(finishes) + self._end(results)

    def _write(self, seat: int, delta: Delta) -> bytes:
        if not isinstance(delta, Piece):
            return b""
        choice = seat + delta.choice
        opening = self._open(choice) if choice >= self._opened else b""
        if isinstance(delta, Text) and delta.logprobs is None:
            return opening + self._chunks.text(choice, delta.text)
        if isinstance(delta, Text):
            return opening + self._chunks.delta(choice, {"content": delta.text}, logprobs=delta.logprobs)
        if isinstance(delta, Reasoning):
            return opening + self._chunks.delta(choice, {"reasoning_content": delta.text})
        return opening + self._chunks.delta(choice, {"tool_calls": [self._to_call(choice, delta)]})

    def _open(self, choice: int) -> bytes:
        """Open the indices up to this one, in order: openai-python raises when index 1 appears before index 0."""
        new = range(self._opened, choice + 1)
        self._opened = max(self._opened, choice + 1)
        return b"".join(self._chunks.delta(index, ROLE) for index in new)

    def _to_call(self, choice: int, piece: ToolCall) -> Json:
        """Return a piece of a tool call; id, type and name appear once, in the first."""
        call: dict[str, Any] = {"index": piece.index}
        if (choice, piece.index) not in self._named:
            self._named.add((choice, piece.index))
            call |= {"id": piece.id, "type": "function", "function": {"name": piece.name, "arguments": piece.arguments}}
        else:
            call["function"] = {"arguments": piece.arguments}
        return call


def _join_texts(shown: Sequence[SeatDelta]) -> list[SeatDelta]:
    """Join the texts of a seat that come one after another: what was kept leaves in one large chunk."""
    joined: list[SeatDelta] = []
    run: list[str] = []
    for number, (seat, delta) in enumerate(shown):
        if not isinstance(delta, Text):
            joined.append((seat, delta))
            continue
        run.append(delta.text)
        following = shown[number + 1] if number + 1 < len(shown) else None
        if following is None or following[0] != seat or not isinstance(following[1], Text):
            joined.append((seat, Text("".join(run))))
            run = []
    return joined
