"""Two raw clients, HTTP/1.1 and HTTP/2, that can do what good clients never do: stop, send too much, leave in any way."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import h2.events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes
from hyperframe.frame import Frame, GoAwayFrame

PATIENCE = 10.0
"""Seconds after which a test that waits has failed."""

Headers = Iterable[tuple[bytes, bytes]]


async def eventually(condition: Callable[[], bool]) -> None:
    """Return as soon as the condition holds; fails when it does not within PATIENCE."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110  # any condition, of the kernel's too, and not an event of one's own
            await asyncio.sleep(0.001)


async def _open(port: int, tls: ssl.SSLContext | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    name = None if tls is None else "localhost"
    return await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name, limit=2**24)


def reset(writer: asyncio.StreamWriter) -> None:
    """Leave with a TCP reset, as a client whose process is killed may."""
    raw: socket.socket = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@dataclass(frozen=True)
class Answer:
    """A complete HTTP/1.1 answer."""

    status: int
    headers: dict[str, str]
    body: bytes


class Http1Client:
    """One HTTP/1.1 connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def get(self, path: str = "/", *headers: str) -> None:
        """Send a GET request."""
        lines = [f"GET {path} HTTP/1.1", "host: test", *headers, "", ""]
        self.send("\r\n".join(lines).encode())

    async def line(self) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readuntil(b"\r\n")

    async def head(self) -> tuple[int, dict[str, str]]:
        """Read the status and the headers of an answer."""
        status = int((await self.line()).split()[1])
        headers: dict[str, str] = {}
        while (line := await self.line()) != b"\r\n":
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        return status, headers

    async def chunk(self) -> bytes:
        """Read one chunk of a chunked body; the last one is empty."""
        size = int(await self.line(), 16)
        async with asyncio.timeout(PATIENCE):
            return (await self.reader.readexactly(size + 2))[:-2]

    async def answer(self) -> Answer:
        """Read a whole answer."""
        status, headers = await self.head()
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while piece := await self.chunk():
                body += piece
        else:
            async with asyncio.timeout(PATIENCE):
                body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return Answer(status, headers, body)

    async def rest(self) -> bytes:
        """Read until the server closes."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read()

    def reset(self) -> None:
        """Leave with a TCP reset."""
        reset(self.writer)


@asynccontextmanager
async def http1(port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[Http1Client]:
    """Open an HTTP/1.1 connection to a port of this machine."""
    reader, writer = await _open(port, tls)
    try:
        yield Http1Client(reader, writer)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


@dataclass
class Stream:
    """What has arrived on one HTTP/2 stream."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    asked: int = 0
    """How often the server has asked for the body, with 100."""
    ended: bool = False
    reset: int | None = None
    """The error code of RST_STREAM."""

    @property
    def over(self) -> bool:
        return self.ended or self.reset is not None


class _Frames(H2Connection):
    """h2's client, which also reads what comes after a GOAWAY, as RFC 9113 §6.8 has it."""

    def __init__(self) -> None:
        super().__init__(H2Configuration(client_side=True, header_encoding=None, validate_outbound_headers=False))
        self.goaways: list[GoAwayFrame] = []

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[h2.events.Event]]:
        self.goaways.append(frame)
        return [], []


class Http2Client:
    """One HTTP/2 connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.h2 = _Frames()
        self.h2.local_settings[SettingCodes.ENABLE_PUSH] = 0
        self.streams: dict[int, Stream] = {}
        self.closed = False
        self.generous = True
        """Give the window back as soon as data arrives."""

    @property
    def goaways(self) -> list[GoAwayFrame]:
        return self.h2.goaways

    def start(self) -> None:
        """Send the preface, without a request."""
        self.h2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        self.writer.write(self.h2.data_to_send())

    def request(
        self, path: bytes = b"/", *, method: bytes = b"GET", headers: Headers = (), body: bytes = b"", end: bool = True
    ) -> Stream:
        """Ask, on a new stream; with `end` false the body is not finished."""
        stream_id = self.h2.get_next_available_stream_id()
        pseudo = [(b":method", method), (b":authority", b"test")]
        if method != b"CONNECT":
            pseudo += [(b":scheme", b"http"), (b":path", path)]
        self.h2.send_headers(stream_id, [*pseudo, *headers], end_stream=end and not body)
        if body:
            self.h2.send_data(stream_id, body, end_stream=end)
        self.flush()
        stream = self.streams[stream_id] = Stream()
        return stream

    def number(self, stream: Stream) -> int:
        """Return the identifier of a stream."""
        return next(number for number, one in self.streams.items() if one is stream)

    def data(self, stream: Stream, data: bytes, *, end: bool = False) -> None:
        """Send a piece of a body."""
        self.h2.send_data(self.number(stream), data, end_stream=end)
        self.flush()

    def cancel(self, stream: Stream) -> None:
        """Send RST_STREAM with CANCEL, as a client that gives up does."""
        self.h2.reset_stream(self.number(stream), 8)
        self.flush()

    def reset(self) -> None:
        """Leave with a TCP reset."""
        reset(self.writer)

    async def finish(self, stream: Stream) -> Stream:
        """Wait for the end of an answer, or for its reset, or for the end of the connection."""
        await eventually(lambda: stream.over or self.closed)
        return stream

    async def read(self) -> None:
        """Take in what the server sends, until it closes."""
        while data := await self._read_some():
            for event in self.h2.receive_data(data):
                self._take(event)
            self.flush()
        self.closed = True

    async def _read_some(self) -> bytes:
        try:
            return await self.reader.read(2**16)
        except OSError:
            return b""

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            stream = self.streams[event.stream_id]
            stream.headers = {name.decode(): value.decode() for name, value in event.headers or ()}
            stream.status = int(stream.headers[":status"])
        elif isinstance(event, h2.events.InformationalResponseReceived):
            self.streams[event.stream_id].asked += 1
        elif isinstance(event, h2.events.DataReceived):
            self.streams[event.stream_id].body += event.data
            if self.generous:
                self.h2.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self.streams[event.stream_id].ended = True
        elif isinstance(event, h2.events.StreamReset):
            self.streams[event.stream_id].reset = int(event.error_code)


@asynccontextmanager
async def http2(port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[Http2Client]:
    """Open an HTTP/2 connection, by ALPN over TLS or else with prior knowledge."""
    reader, writer = await _open(port, tls)
    client = Http2Client(reader, writer)
    client.start()
    reading = asyncio.create_task(client.read())
    try:
        yield client
    finally:
        reading.cancel()
        await asyncio.wait({reading})
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
