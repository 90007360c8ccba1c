"""Turns what a wire module says into the steps of an HTTP answer: status, framing and pace; nothing here does I/O."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.providers.http1 import LAST_CHUNK, Ending, Step, chunk, head
from tests.providers.turns import Piece, Received, Turn, Wire

JSON_TYPE = {"content-type": "application/json"}


def compact(payload: Any) -> bytes:
    """Return JSON as most providers write it: no spaces, UTF-8 as it is."""
    return json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode()


def answer(wire: Wire, turn: Turn, received: Received, extra: Mapping[str, str] | None = None) -> Iterator[Step]:
    """Play a turn, whole or streamed, as the request asks for, under these headers beside the provider's own."""
    keep_alive = turn.keep_alive and received.keep_alive
    headers = {**(extra or {}), **({} if keep_alive else {"connection": "close"})}
    yield from (_streamed if received.streamed else _whole)(wire, turn, received, headers)
    if not keep_alive:
        yield Ending.CLOSE


def plain(status: int, headers: Mapping[str, str], body: bytes) -> Iterator[Step]:
    """Send a body of known length, and keep the connection."""
    yield head(status, {**headers, "content-length": str(len(body))}) + body


def refusal(wire: Wire, status: int, payload: Any) -> Iterator[Step]:
    return plain(status, {**JSON_TYPE, **wire.ERROR_HEADERS}, compact(payload))


def start_stream(wire: Wire, extra: Mapping[str, str] | None = None) -> bytes:
    return head(200, {**wire.STREAM_HEADERS, "transfer-encoding": "chunked", **(extra or {})})


def _whole(wire: Wire, turn: Turn, received: Received, extra: Mapping[str, str]) -> Iterator[Step]:
    yield from turn.pace.values()
    yield from plain(200, {**JSON_TYPE, **wire.WHOLE_HEADERS, **extra}, compact(wire.whole(turn, received)))


def _streamed(wire: Wire, turn: Turn, received: Received, extra: Mapping[str, str]) -> Iterator[Step]:
    yield start_stream(wire, extra)
    for step in _paced(turn, list(wire.events(turn, received))):
        yield chunk(step) if isinstance(step, bytes) else step
    yield LAST_CHUNK


def _paced(turn: Turn, events: list[bytes]) -> Iterator[Step]:
    total = sum(isinstance(event, Piece) for event in events)
    played = 0
    for event in events:
        is_piece = isinstance(event, Piece)
        if (is_piece or played == total) and played in turn.pace:
            yield turn.pace[played]
        yield event
        played += is_piece
