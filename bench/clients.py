"""Two raw clients, HTTP/1.1 and HTTP/2 with prior knowledge, made for load: they count and time what comes, and keep nothing.

They are no clients for the world: of HTTP/1.1 they know content-length and chunked bodies, and an answer is told to be
complete by the framing, a stream also by its `[DONE]`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, cast
from urllib.parse import SplitResult, urlsplit

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset
from h2.settings import SettingCodes

from bench.upstream import TOKEN

STREAMS_PER_CONNECTION = 50
"""Of HTTP/2; servers allow 100 or so."""

WINDOW = 2**30
"""Bytes that a server may send; more than any run brings, so that the clients spend nothing on flow control."""

_TOKEN = TOKEN.encode()
_LONGEST_MARK = 128


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked, and what is watched for in the answer."""

    url: str
    body: bytes
    headers: Sequence[tuple[str, str]] = ()
    marks: Sequence[str] = ()
    leave: bool = False
    """Go away as soon as the first token is there."""


@dataclass(slots=True)
class Heard:
    """One answer as it arrives; times are of the system's monotonic clock, None = not seen."""

    request: Request
    done: asyncio.Future[None]
    leave: Callable[[], None]
    began: float = field(default_factory=time.monotonic)
    status: int = 0
    tokens: int = 0
    first: float | None = None
    ended: float | None = None
    left: float | None = None
    complete: bool = False
    marks: dict[str, float] = field(default_factory=dict)
    _tail: bytes = b""

    def feed(self, data: bytes) -> None:
        text = self._tail + data
        # Only what the last piece cannot have shown already counts.
        self.tokens += text.count(_TOKEN, max(0, len(self._tail) - len(_TOKEN) + 1))
        for mark in self.request.marks:
            if mark not in self.marks and mark.encode() in text:
                self.marks[mark] = time.monotonic()
        self._tail = text[-_LONGEST_MARK:]
        if self.first is None and self.tokens:
            self.first = time.monotonic()
            if self.request.leave:
                self.left = self.first
                self.leave()
                self.end(complete=False)

    def end(self, *, complete: bool) -> None:
        if not self.done.done():
            self.ended = time.monotonic()
            streamed = b'"stream":true' in self.request.body and self.status == 200
            self.complete = complete and (not streamed or b"[DONE]" in self._tail)
            self.done.set_result(None)


class Client(Protocol):
    """Opens connections as it needs them, and keeps them."""

    async def ask(self, request: Request) -> Heard:
        """Return the answer when it has ended, well or not; raises OSError where no connection is to be had."""
        ...

    def close(self) -> None: ...


class Http11Connection(asyncio.Protocol):
    """Carries one request at a time."""

    def __init__(self) -> None:
        self._heard: Heard | None = None
        self._head = b""
        self._rest: int | None = None
        self._in_body = False
        self._end = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    async def ask(self, request: Request, raw: bytes) -> Heard:
        heard = self._heard = Heard(request, asyncio.get_running_loop().create_future(), self.transport.close)
        self._head, self._end, self._in_body, self._rest = b"", b"", False, None
        self.transport.write(raw)
        await heard.done
        self._heard = None
        return heard

    def data_received(self, data: bytes) -> None:
        heard = self._heard
        if heard is None:
            return
        if not self._in_body:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            self._in_body = True
            heard.status = int(head[9:12])
            _, known, length = head.lower().partition(b"\r\ncontent-length:")
            self._rest = int(length.split(b"\r\n", 1)[0]) if known else None
        heard.feed(data)
        if self._rest is not None:
            self._rest -= len(data)
            if self._rest <= 0:
                heard.end(complete=True)
            return
        self._end = (self._end + data)[-5:]
        if self._end == b"0\r\n\r\n":
            heard.end(complete=True)

    def connection_lost(self, error: Exception | None) -> None:
        if self._heard is not None:
            self._heard.end(complete=False)


class Http11:
    """A pool of connections."""

    def __init__(self) -> None:
        self._idle: list[Http11Connection] = []

    async def ask(self, request: Request) -> Heard:
        place = urlsplit(request.url)
        fields = {"host": place.netloc, "content-type": "application/json", "content-length": str(len(request.body))}
        lines = "".join(f"{name}: {value}\r\n" for name, value in [*fields.items(), *request.headers])
        method = "POST" if request.body else "GET"
        raw = f"{method} {place.path} HTTP/1.1\r\n{lines}\r\n".encode() + request.body
        connection = self._take() or await self._connect(place.hostname or "", place.port or 80)
        heard = await connection.ask(request, raw)
        if not connection.transport.is_closing():
            self._idle.append(connection)
        return heard

    def _take(self) -> Http11Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.transport.is_closing():
                return connection
        return None

    async def _connect(self, host: str, port: int) -> Http11Connection:
        _, connection = await asyncio.get_running_loop().create_connection(Http11Connection, host, port)
        return connection

    def close(self) -> None:
        for connection in self._idle:
            connection.transport.close()


class Http2Connection(asyncio.Protocol):
    """Carries many requests at a time."""

    def __init__(self) -> None:
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self._heard: dict[int, Heard] = {}
        self.asked = 0
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._h2.local_settings[SettingCodes.INITIAL_WINDOW_SIZE] = WINDOW
        self._h2.local_settings.acknowledge()
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(WINDOW)
        self._flush()

    def _flush(self) -> None:
        self.transport.write(self._h2.data_to_send())

    async def ask(self, request: Request) -> Heard:
        place = urlsplit(request.url)
        stream = self._h2.get_next_available_stream_id()
        method = "POST" if request.body else "GET"
        pseudo = [(":method", method), (":scheme", "http"), (":authority", place.netloc), (":path", place.path)]
        headers = [*pseudo, ("content-type", "application/json"), *request.headers]
        self._h2.send_headers(stream, headers, end_stream=not request.body)
        if request.body:
            self._h2.send_data(stream, request.body, end_stream=True)
        heard = Heard(request, asyncio.get_running_loop().create_future(), lambda: self._reset(stream))
        self._heard[stream] = heard
        self._flush()
        try:
            await heard.done
        finally:
            self._heard.pop(stream, None)
        return heard

    def _reset(self, stream: int) -> None:
        self._h2.reset_stream(stream, ErrorCodes.CANCEL)
        self._flush()

    def data_received(self, data: bytes) -> None:
        for event in self._h2.receive_data(data):
            if isinstance(event, DataReceived):
                if (heard := self._heard.get(event.stream_id)) is not None:
                    heard.feed(event.data)
            elif isinstance(event, ResponseReceived):
                self._heard[event.stream_id].status = int(dict(event.headers)[b":status"])
            elif isinstance(event, StreamEnded | StreamReset) and event.stream_id in self._heard:
                self._heard[event.stream_id].end(complete=isinstance(event, StreamEnded))
        self._flush()

    def connection_lost(self, error: Exception | None) -> None:
        for heard in list(self._heard.values()):
            heard.end(complete=False)


class Http2:
    """As few connections as carry all requests."""

    def __init__(self) -> None:
        self._connections: list[Http2Connection] = []
        self._opening = asyncio.Lock()

    async def ask(self, request: Request) -> Heard:
        async with self._opening:
            connection = await self._find(urlsplit(request.url))
            connection.asked += 1
        try:
            return await connection.ask(request)
        finally:
            connection.asked -= 1

    async def _find(self, place: SplitResult) -> Http2Connection:
        self._connections = [one for one in self._connections if not one.transport.is_closing()]
        for connection in self._connections:
            if connection.asked < STREAMS_PER_CONNECTION:
                return connection
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Http2Connection, place.hostname or "", place.port or 80)
        self._connections.append(connection)
        return connection

    def close(self) -> None:
        for connection in self._connections:
            connection.transport.close()
