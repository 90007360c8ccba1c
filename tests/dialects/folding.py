"""Puts the deltas of an answer together, and checks that their order is the one that is promised."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from upstreams.answer.sse import EventParser, EventTooLarge
from upstreams.dialects.protocol import Dialect
from upstreams.values import AnswerContext, Delta, Failure, Finish, Reasoning, Text, ToolCall, Usage

PLAIN = AnswerContext()
"""Of a request that leaves no trace in its answer."""


@dataclass
class Answer:
    """What an answer says, however it was cut; texts by choice, calls as (id, name, arguments) by choice and index."""

    texts: dict[int, str] = field(default_factory=dict)
    thoughts: dict[int, str] = field(default_factory=dict)
    calls: dict[tuple[int, int], tuple[str, str, str]] = field(default_factory=dict)
    usage: Usage | None = None
    end: Finish | Failure | None = None


def fold(deltas: Iterable[Delta]) -> Answer:
    answer = Answer()
    for delta in deltas:
        assert answer.end is None, "nothing follows the end"
        if isinstance(delta, Finish | Failure):
            answer.end = delta
            continue
        assert answer.usage is None, "only the end follows the usage"
        if isinstance(delta, Usage):
            answer.usage = delta
        elif isinstance(delta, ToolCall):
            _fold_call(answer.calls, delta)
        else:
            said = answer.texts if isinstance(delta, Text) else answer.thoughts
            said[delta.choice] = said.get(delta.choice, "") + delta.text
            assert isinstance(delta, Text | Reasoning)
            assert delta.text
            delta.text.encode()
    assert answer.end is not None, "an answer ends"
    return answer


def _fold_call(calls: dict[tuple[int, int], tuple[str, str, str]], piece: ToolCall) -> None:
    place = (piece.choice, piece.index)
    if place not in calls:
        assert piece.id, "the first piece of a call has its id"
        assert piece.name is not None, "and its name"
        assert piece.index == sum(choice == piece.choice for choice, _ in calls), "calls are counted from 0"
        calls[place] = (piece.id, piece.name, piece.arguments)
        return
    assert piece.id is None
    assert piece.name is None
    id, name, arguments = calls[place]
    calls[place] = (id, name, arguments + piece.arguments)


def read_stream(dialect: Dialect, pieces: Iterable[bytes], context: AnswerContext = PLAIN) -> list[Delta]:
    """Read a streamed answer that arrives in these pieces, as the gateway does; an oversized event ends it."""
    parser, reader = EventParser(), dialect.Reader(context)
    deltas: list[Delta] = []
    try:
        for piece in pieces:
            for event in parser.feed(piece):
                deltas += reader.read(event)
    except EventTooLarge:
        return deltas + reader.close()
    for event in parser.close():
        deltas += reader.read(event)
    deltas += reader.close()
    assert reader.close() == [], "the end is told once"
    return deltas


def read_whole(dialect: Dialect, payload: Any, context: AnswerContext = PLAIN) -> Answer:
    return fold(dialect.answer(payload, context))
