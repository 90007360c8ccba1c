"""text/event-stream is read as the HTML standard defines it, however the bytes arrive, and written so that it is read again."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from upstreams.answer.sse import MAX_EVENT_BYTES, Event, EventParser, EventTooLarge, encode

BOM = b"\xef\xbb\xbf"

STREAMS: list[tuple[str, bytes, list[Event]]] = [
    ("WHATWG: several data lines", b"data: YHOO\ndata: +2\ndata: 10\n\n", [Event(b"YHOO\n+2\n10")]),
    (
        "WHATWG: comment, ids, one blank is taken",
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
        [Event(b"first event"), Event(b"second event"), Event(b" third event")],
    ),
    ("WHATWG: empty data", b"data\n\ndata\ndata\n\ndata:\n\n", [Event(b""), Event(b"\n"), Event(b"")]),
    ("WHATWG: the blank is optional", b"data:test\n\ndata: test\n\n", [Event(b"test"), Event(b"test")]),
    ("WHATWG: names", b"event: add\ndata: 7\n\nevent\ndata: 8\n\n", [Event(b"7", b"add"), Event(b"8")]),
    ("a name without data is no event", b"event: add\n\ndata: 1\n\n", [Event(b"1")]),
    ("a name is forgotten with its event", b"event: add\ndata: 1\n\ndata: 2\n\n", [Event(b"1", b"add"), Event(b"2")]),
    ("CRLF", b"event: a\r\ndata: 1\r\n\r\ndata: 2\r\n\r\n", [Event(b"1", b"a"), Event(b"2")]),
    ("CR", b"event: a\rdata: 1\r\rdata: 2\r\r", [Event(b"1", b"a"), Event(b"2")]),
    ("all line ends mixed", b"data: 1\r\ndata: 2\rdata: 3\n\r\ndata: 4\n\r", [Event(b"1\n2\n3"), Event(b"4")]),
    ("comments are no events", b": ping\n\n:\n\ndata: 1\n: ping\n\n", [Event(b"1")]),
    ("more blank lines than needed", b"\n\n\ndata: 1\n\n\n\ndata: 2\n\n", [Event(b"1"), Event(b"2")]),
    ("byte order mark", BOM + b"data: 1\n\n", [Event(b"1")]),
    ("a later byte order mark is part of a name", b"data: 1\n\n" + BOM + b"data: 2\n\n", [Event(b"1")]),
    ("characters of several bytes", "data: 🙂é\n\n".encode(), [Event("🙂é".encode())]),
    ("separators of Unicode end no line", "data: a\u2028b\u2029c\x85d\n\n".encode(), [Event("a\u2028b\u2029c\x85d".encode())]),
    ("other fields", b"retry: 10\nx: y\ndata: 1\n\n", [Event(b"1")]),
    ("a colon in the data", b"data: a: b\n\n", [Event(b"a: b")]),
    ("no blank line at the end", b"data: 1\n\ndata: [DONE]", [Event(b"1"), Event(b"[DONE]")]),
    ("nothing", b"", []),
]


def parse(*pieces: bytes) -> list[Event]:
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)] + parser.close()


@pytest.mark.parametrize(("stream", "events"), [row[1:] for row in STREAMS], ids=[row[0] for row in STREAMS])
def test_streams(stream: bytes, events: list[Event]) -> None:
    """A stream holds the events that the standard says, at once and byte by byte."""
    assert parse(stream) == events
    assert parse(*(stream[i : i + 1] for i in range(len(stream)))) == events


lines = st.sampled_from(
    [b"data: 1", b"data:", b"event: a", b": c", b"", "data: 🙂".encode(), BOM, b"\xf0\x9f", b"\n", b"\r", b"\r\n"]
)


@given(st.lists(lines, max_size=30).map(b"".join), st.lists(st.integers(0, 200)))
@example(BOM + b"data: 1\r\n\r\n", [1, 2, 12])
@example(b"data: 1\r\r\ndata: 2\n\n", [8, 9])
def test_cuts_change_nothing(stream: bytes, cuts: list[int]) -> None:
    """Wherever a stream is cut into reads, it holds the same events."""
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]

    assert parse(*(stream[a:b] for a, b in pairwise(edges))) == parse(stream)


def test_events_are_told_at_once() -> None:
    """An event is told with the byte that completes it, even where a line feed may follow its carriage return."""
    parser = EventParser()

    assert parser.feed(b"data: 1\r\n") == []
    assert parser.feed(b"\r") == [Event(b"1")]
    assert parser.feed(b"\ndata: 2\n\n") == [Event(b"2")]


def test_an_endless_event_is_refused() -> None:
    """An event that does not end is not kept without bound."""
    with pytest.raises(EventTooLarge):
        parse(*[b"x" * 1000] * (MAX_EVENT_BYTES // 1000 + 2))


def test_a_large_event_is_read() -> None:
    """An event just below the bound is read."""
    data = b"x" * (MAX_EVENT_BYTES - 10)

    assert parse(b"data: ", data, b"\n\n") == [Event(data)]


@given(st.lists(st.binary().filter(lambda data: not {10, 13} & set(data)), max_size=5))
def test_what_is_written_is_read(data: list[bytes]) -> None:
    """Each line of data comes out as it went in."""
    assert parse(b"".join(map(encode, data))) == [Event(line) for line in data]
