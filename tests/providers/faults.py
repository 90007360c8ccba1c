"""What goes wrong at a provider, by name: each fault is the steps of an answer that no client should have to see.

Faults in the middle let the whole text of the standing turn arrive, but not its end, so that a test knows what came before;
where the answer is not streamed, half of its bytes arrive.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from email.utils import format_datetime
from itertools import chain, repeat
from typing import Any, TypeAlias

from tests.providers.http1 import LAST_CHUNK, Ending, Step, chunk, head
from tests.providers.steps import JSON_TYPE, answer, compact, plain, start_stream
from tests.providers.turns import Piece, Received, Turn, Wire

Steps: TypeAlias = Callable[[Wire, Turn, Received], Iterator[Step]]

REST = "…"
"""The piece that a fault in the middle holds back; its character has three bytes."""

HUGE = 16 * 2**20
"""Four times what the gateway takes of one answer (MAX_ANSWER_BYTES)."""


@dataclass(frozen=True)
class Fault:
    """A fault as it is played instead of the turn."""

    name: str
    steps: Steps = field(repr=False)


@contextmanager
def refused() -> Iterator[str]:
    """A base URL where nobody listens; its port is bound meanwhile, so that nobody else begins to."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def status(
    code: int,
    message: str = "the provider's own words",
    *,
    retry_after: float | datetime | None = None,
    headers: Mapping[str, str] | None = None,
) -> Fault:
    """An error answer in the provider's shape; `retry_after` in seconds, or as the moment, in UTC."""
    extra = {**(headers or {}), **({} if retry_after is None else {"retry-after": _retry_after(retry_after)})}

    def steps(wire: Wire, turn: Turn, received: Received) -> Iterator[Step]:
        return plain(code, {**JSON_TYPE, **wire.ERROR_HEADERS, **extra}, compact(wire.error(code, message)))

    return Fault(f"status {code}", steps)


def answered(code: int, body: Any, headers: Mapping[str, str] = JSON_TYPE) -> Fault:
    """An answer with this body, whatever the provider would say: bytes as they are, anything else as JSON."""
    data = body if isinstance(body, bytes) else compact(body)
    return Fault(f"answered {code}", lambda wire, turn, received: plain(code, headers, data))


def with_header(name: str, value: str) -> Fault:
    """The turn, well played, under one more header, with every character of it as it stands."""
    return Fault(f"header {name}", lambda wire, turn, received: answer(wire, turn, received, {name: value}))


def _retry_after(value: float | datetime) -> str:
    return format_datetime(value, usegmt=True) if isinstance(value, datetime) else f"{value:g}"


def _hang(wire: Wire, turn: Turn, received: Received) -> Iterator[Step]:
    yield asyncio.Event()


def _close(wire: Wire, turn: Turn, received: Received) -> Iterator[Step]:
    yield Ending.CLOSE


def _hang_before_first_token(wire: Wire, turn: Turn, received: Received) -> Iterator[Step]:
    if received.streamed:
        yield start_stream(wire)
        yield from map(chunk, _before_first_piece(wire, turn, received))
    else:
        yield head(200, {**JSON_TYPE, "content-length": "100"})
    yield asyncio.Event()


def _before_first_piece(wire: Wire, turn: Turn, received: Received) -> Iterator[bytes]:
    for event in wire.events(turn, received):
        if isinstance(event, Piece):
            return
        yield event


def _beginning(wire: Wire, turn: Turn, received: Received) -> Iterator[Step]:
    if received.streamed:
        yield start_stream(wire)
        yield from map(chunk, _unfinished(wire, turn, received))
    else:
        body = compact(wire.whole(turn, received))
        yield head(200, {**JSON_TYPE, "content-length": str(len(body))}) + body[: len(body) // 2]


def _unfinished(wire: Wire, turn: Turn, received: Received) -> list[bytes]:
    """Return the events up to one piece too few: at Mistral the last piece brings the finish along, so it may not leave."""
    events = list(wire.events(replace(turn, text=(*turn.text, REST)), received))
    return events[: max(place for place, event in enumerate(events) if isinstance(event, Piece))]


def _then(*steps: Step) -> Steps:
    """Return a fault that begins well and goes on like this."""

    def play(wire: Wire, turn: Turn, received: Received) -> Iterator[Step]:
        yield from _beginning(wire, turn, received)
        yield from steps

    return play


def _silence(wire: Wire, turn: Turn, received: Received) -> Iterator[Step]:
    yield from _beginning(wire, turn, received)
    yield asyncio.Event()


def _cut_in_character(wire: Wire, turn: Turn, received: Received) -> Iterator[Step]:
    longer = replace(turn, text=(*turn.text, REST))
    character = REST.encode()
    if received.streamed:
        yield start_stream(wire)
        for event in wire.events(longer, received):
            yield chunk(event.partition(character)[0] + character[:1] if character in event else event)
            if character in event:
                break
    else:
        body = compact(wire.whole(longer, received))
        yield head(200, {**JSON_TYPE, "content-length": str(len(body))}) + body.partition(character)[0] + character[:1]
    yield Ending.CLOSE


def _ended(wire: Wire, turn: Turn, received: Received, more: bytes = b"") -> Iterator[Step]:
    """An answer that HTTP takes for complete, though it is not: all that came, `more`, and the end of the body."""
    if received.streamed:
        yield from _beginning(wire, turn, received)
        yield (chunk(more) if more else b"") + LAST_CHUNK
    else:
        body = compact(wire.whole(turn, received))
        yield from plain(200, JSON_TYPE, body[: len(body) // 2] + more)


def _garbage(wire: Wire, turn: Turn, received: Received) -> Iterator[Step]:
    return _ended(wire, turn, received, b'data: {"choices": [{"delta": }]\n\n')


def _error_event(wire: Wire, turn: Turn, received: Received) -> Iterator[Step]:
    if not received.streamed:
        return _error_object(wire, turn, received)
    return _ended(wire, turn, received, wire.error_event("the provider broke down"))


def _error_object(wire: Wire, turn: Turn, received: Received) -> Iterator[Step]:
    return plain(200, JSON_TYPE, compact(wire.error(500, "the provider broke down")))


def _whole_though_streamed(wire: Wire, turn: Turn, received: Received) -> Iterator[Step]:
    return plain(200, {**JSON_TYPE, **wire.WHOLE_HEADERS}, compact(wire.whole(turn, received)))


def _endless(wire: Wire, turn: Turn, received: Received) -> Iterator[Step]:
    if received.streamed:
        word = next(event for event in wire.events(Turn(text=("word ", REST)), received) if isinstance(event, Piece))
        return chain([start_stream(wire)], repeat(chunk(word)))
    beginning = compact(wire.whole(Turn(text=(REST,)), received)).partition(REST.encode())[0]
    start = head(200, {**JSON_TYPE, "transfer-encoding": "chunked"})
    return chain([start, chunk(beginning)], repeat(chunk(b"word " * 1024)))


def _gzip_bomb(wire: Wire, turn: Turn, received: Received) -> Iterator[Step]:
    """A valid answer of 16 MiB in some 16 KiB."""
    long = replace(turn, text=("a" * 2**16,) * (HUGE // 2**16))
    body = b"".join(wire.events(long, received)) if received.streamed else compact(wire.whole(long, received))
    headers = wire.STREAM_HEADERS if received.streamed else {**JSON_TYPE, **wire.WHOLE_HEADERS}
    return plain(200, {**headers, "content-encoding": "gzip"}, gzip.compress(body))


def _huge_line(wire: Wire, turn: Turn, received: Received) -> Iterator[Step]:
    headers = wire.STREAM_HEADERS if received.streamed else JSON_TYPE
    return plain(200, headers, b'data: {"id":"' + b"a" * HUGE)


def _two_answers(wire: Wire, turn: Turn, received: Received) -> Iterator[Step]:
    """A second answer behind the first lies in wait for whoever gets this connection next."""
    return chain(answer(wire, turn, received), answer(wire, Turn(text=("smuggled",)), received))


_PAGE = b"<!doctype html><html><head><title>502 Bad Gateway</title></head><body>cloudflare</body></html>"
_HTML_TYPE = {"content-type": "text/html; charset=UTF-8", "server": "cloudflare"}

HANG_BEFORE_HEADERS = Fault("hang before headers", _hang)
HANG_BEFORE_FIRST_TOKEN = Fault("hang before the first token", _hang_before_first_token)
SILENCE = Fault("silence in the middle", _silence)
CLOSED_BEFORE_HEADERS = Fault("closed before headers", _close)
CUT_IN_CHUNK = Fault("cut in the middle of a chunk", _then(b'40\r\ndata: {"', Ending.CLOSE))
CUT_IN_CHARACTER = Fault("cut in the middle of a character", _cut_in_character)
RESET = Fault("reset in the middle", _then(Ending.RESET))
NO_END = Fault("neither finish nor [DONE]", _ended)
GARBAGE_EVENT = Fault("an event that is no JSON", _garbage)
ERROR_EVENT = Fault("an error event in the stream", _error_event)
ERROR_OBJECT = Fault("an error object with status 200", _error_object)
WHOLE_THOUGH_STREAMED = Fault("a whole answer where a stream was asked for", _whole_though_streamed)
HTML_502 = replace(answered(502, _PAGE, _HTML_TYPE), name="a 502 page in HTML")
WRONG_TYPE = replace(answered(200, _PAGE, _HTML_TYPE), name="a page in HTML with status 200")
EMPTY_BODY = replace(answered(200, b""), name="an empty body")
REDIRECT = replace(answered(307, b"", {"location": "/elsewhere/chat/completions"}), name="a redirect")
ENDLESS = Fault("an endless answer", _endless)
GZIP_BOMB = Fault("a gzip bomb", _gzip_bomb)
HUGE_LINE = Fault("a huge line without an end", _huge_line)
BARE_CR_HEADER = replace(with_header("x-note", "a\rset-cookie: b=c"), name="a header with a bare CR")
FOLDED_HEADER = replace(with_header("x-note", "a\r\n b"), name="a header over two lines")
TWO_ANSWERS = Fault("two answers to one request", _two_answers)

HANGING = (HANG_BEFORE_HEADERS, HANG_BEFORE_FIRST_TOKEN, SILENCE)
BROKEN = (CLOSED_BEFORE_HEADERS, CUT_IN_CHUNK, CUT_IN_CHARACTER, RESET, NO_END, GARBAGE_EVENT, ERROR_EVENT, ERROR_OBJECT)
STRANGE = (HTML_502, WRONG_TYPE, EMPTY_BODY, REDIRECT, BARE_CR_HEADER)
TOO_LARGE = (ENDLESS, GZIP_BOMB, HUGE_LINE)
"""Tables for parametrised tests: the client has to give up, is given up, has no use for the answer, has to refuse the rest."""
