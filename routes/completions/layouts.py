"""Deltas to the chunks of a stream, for each layout an answer can have; pure, told the time by whoever feeds it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from panels.fanout import Seat
from panels.order import Sections
from routes.completions.chunks import Chunks
from routes.completions.outbound import failure_line, finish_of_sections, heading, sum_usage, to_report, to_result, to_usage
from upstreams.answer.sse import DONE, encode
from upstreams.values import Delta, End, Failure, Json, Piece, Reasoning, Result, Text, ToolCall

ROLE: Json = {"role": "assistant", "content": ""}


class Layout(Protocol):
    """Writes one stream."""

    @property
    def wake_at(self) -> float | None:
        """The time at which `tick` may have something to say."""
        ...

    @property
    def speaker(self) -> int | None:
        """The one seat whose words leave as they come; None = every one's."""
        ...

    def open(self) -> bytes:
        """Return the chunks with which the stream begins."""
        ...

    def write(self, seat: int, delta: Delta, now: float) -> bytes:
        """Return the chunks that a delta brings; they may be none, or those of other seats as well."""
        ...

    def tick(self, now: float) -> bytes:
        """Return the chunks that the time brings."""
        ...

    def finish(self, results: Sequence[Result]) -> bytes:
        """Return the chunks with the finish reasons."""
        ...


def close(layout: Layout, chunks: Chunks, results: Sequence[Result], *, include_usage: bool) -> bytes:
    """Return the end of a stream: finish reasons, usage where the client asked for it, `[DONE]`."""
    usage = chunks.usage(to_usage(sum_usage(results))) if include_usage else b""
    return layout.finish(results) + usage + encode(DONE)


class SectionsLayout:
    """One text: every seat has a heading, its answer live or in one piece, and an end; one seat speaks at a time."""

    def __init__(self, chunks: Chunks, seats: Sequence[Seat], order: str, grace: float, now: float) -> None:
        self._chunks = chunks
        self._seats = seats
        self._sections = Sections(len(seats), order, grace, now)
        self._section = -1
        self._speaker: int | None = None
        self._has_text = False

    @property
    def wake_at(self) -> float | None:
        return self._sections.wake_at

    @property
    def speaker(self) -> int | None:
        return self._sections.speaker

    def open(self) -> bytes:
        return self._chunks.delta(0, ROLE)

    def write(self, seat: int, delta: Delta, now: float) -> bytes:
        said = self._sections.feed(seat, delta, now)
        if len(said) == 1:
            return self._say(*said[0])
        return self._say_all(said)

    def tick(self, now: float) -> bytes:
        return self._say_all(self._sections.tick(now))

    def finish(self, results: Sequence[Result]) -> bytes:
        return self._chunks.delta(0, {}, finish_reason=finish_of_sections(results), x_rawbot=to_report(results))

    def _say_all(self, said: Sequence[tuple[int, Delta]]) -> bytes:
        return b"".join(self._say(seat, delta) for seat, delta in _join_texts(said))

    def _say(self, seat: int, delta: Delta) -> bytes:
        if seat == self._speaker and isinstance(delta, Text):
            self._has_text = True
            return self._chunks.text(0, delta.text)
        begin = b"" if seat == self._speaker else self._begin(seat)
        if isinstance(delta, Text):
            self._has_text = True
            return begin + self._chunks.text(0, delta.text)
        if isinstance(delta, Reasoning):
            return begin + self._chunks.delta(0, {"reasoning_content": delta.text})
        if isinstance(delta, End):
            return begin + self._end(seat, delta)
        return begin

    def _begin(self, seat: int) -> bytes:
        self._section += 1
        self._speaker = seat
        self._has_text = False
        call = self._seats[seat].call
        line = "\n" * (self._section > 0) + heading(call.provider, call.id) + "\n"
        start = {"section": self._section, "event": "start", "provider": call.provider, "model": call.id}
        return self._chunks.delta(0, {"content": line}, x_rawbot=start)

    def _end(self, seat: int, end: End) -> bytes:
        line = b""
        if isinstance(end, Failure):
            line = self._chunks.text(0, "\n" * self._has_text + failure_line(end))
        result = self._seats[seat].result
        assert result is not None, "a seat that has ended has a result"
        return line + self._chunks.delta(0, {}, x_rawbot={"section": self._section, "event": "end", **to_result(result)})


class ChoicesLayout:
    """One choice per seat, all live; a single seat may itself bring several choices (n > 1)."""

    wake_at = None
    speaker = None

    def __init__(self, chunks: Chunks) -> None:
        self._chunks = chunks
        self._opened = 0
        self._named: set[tuple[int, int]] = set()

    def open(self) -> bytes:
        return self._open(0)

    def write(self, seat: int, delta: Delta, now: float) -> bytes:
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

    def tick(self, now: float) -> bytes:
        return b""

    def finish(self, results: Sequence[Result]) -> bytes:
        """Finish all choices at the end: a client that reads by position takes the first reason for the end of the stream."""
        reasons = [reason for result in results for reason in result.reasons]
        return self._open(len(reasons) - 1) + b"".join(
            self._chunks.delta(choice, {}, finish_reason=reason, x_rawbot=to_report(results) if choice == 0 else None)
            for choice, reason in reversed(list(enumerate(reasons)))
        )

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


def _join_texts(said: Sequence[tuple[int, Delta]]) -> list[tuple[int, Delta]]:
    """Put the texts of a seat that come one after another into one: what was kept leaves in one large chunk."""
    joined: list[tuple[int, Delta]] = []
    run: list[str] = []
    for place, (seat, delta) in enumerate(said):
        if not isinstance(delta, Text):
            joined.append((seat, delta))
            continue
        run.append(delta.text)
        following = said[place + 1] if place + 1 < len(said) else None
        if following is None or following[0] != seat or not isinstance(following[1], Text):
            joined.append((seat, Text("".join(run))))
            run = []
    return joined
