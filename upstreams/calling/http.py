"""The only user of aiohttp: makes one call, keeps its timeouts, retries it; network and provider errors become a Failure."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from settings import Settings
from upstreams.answer.errors import read_retry_after
from upstreams.answer.sse import EventParser, EventTooLarge
from upstreams.calling.retry import pause_before_retry
from upstreams.dialects.protocol import Dialect
from upstreams.lenient_json import read_json
from upstreams.values import AnswerContext, Delta, ErrorKind, Failure, Finish, Reasoning, Text, ToolCall

Session: TypeAlias = aiohttp.ClientSession

Sink: TypeAlias = Callable[[list[Delta]], asyncio.Event | None]
"""Takes deltas; returns the event to wait for before more is read (backpressure), or None to go on."""

MAX_ERROR_BYTES = 64 * 1024
"""How much of an error answer is read, in bytes: the message stands in its first lines, and some are whole web pages."""

TAIL_SECONDS = 0.05
"""How long the end of a stream's body may lag behind its last event before the connection is given up instead of reused."""

CLOCK_SLACK = 0.05
"""Part of a silence limit by which its timer may lag, so that a token does not cost a timer: 60 s may become 57 s."""

KIND_OF_EXCEPTION: Mapping[type[Exception], tuple[ErrorKind, str]] = {
    aiohttp.ClientConnectorDNSError: (ErrorKind.UNREACHABLE, "the name was not resolved"),
    aiohttp.ClientSSLError: (ErrorKind.UNREACHABLE, "TLS failed"),
    aiohttp.ConnectionTimeoutError: (ErrorKind.UNREACHABLE, "connecting took too long"),
    aiohttp.ServerDisconnectedError: (ErrorKind.UNREACHABLE, "the connection was closed"),
    aiohttp.InvalidURL: (ErrorKind.UNREACHABLE, "the address is invalid"),
    OSError: (ErrorKind.UNREACHABLE, ""),
    aiohttp.ClientPayloadError: (ErrorKind.INTERRUPTED, ""),
    HttpProcessingError: (ErrorKind.MALFORMED, "not HTTP"),
    aiohttp.ClientResponseError: (ErrorKind.MALFORMED, "not HTTP"),
    EventTooLarge: (ErrorKind.TOO_LARGE, "an event without end"),
    aiohttp.ClientError: (ErrorKind.BROKEN, ""),
}
"""What aiohttp raises, as kind and message; the first match counts. A connection that an upstream closed while idle is
UNREACHABLE and so retried: aiohttp repeats a GET on a fresh one, but never a POST."""


@asynccontextmanager
async def open_session(settings: Settings) -> AsyncIterator[Session]:
    """Open the one pool of connections; the number of calls is bounded by the gate, so the pool has no limit of its own."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=120, keepalive_timeout=30),
        # A shared jar would carry one client's cookies into the calls of another.
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, connect=settings.connect_timeout),
        headers={"user-agent": "rawbot-2api", "content-type": "application/json", "accept-encoding": "identity"},
    ) as session:
        yield session


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """A serialised request to one upstream, with the dialect that decodes its response."""

    url: URL
    headers: Mapping[str, str]
    body: bytes
    streamed: bool
    dialect: Dialect
    context: AnswerContext


class Attempts:
    """One call with its retries, under one deadline; output cannot be taken back, so no attempt with any is repeated."""

    def __init__(self, request: PreparedRequest, session: Session, settings: Settings, sink: Sink) -> None:
        self._request = request
        self._session = session
        self._settings = settings
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.time() + self._settings.api_request_timeout
        self._clock = asyncio.timeout_at(self._deadline)
        self._has_output = False
        self._size = 0

    async def run(self) -> Finish | Failure:
        try:
            async with self._clock:
                return await self._attempt_until_output()
        except TimeoutError:
            if self._has_output and self._loop.time() >= self._deadline:
                return Finish("length")
            return Failure(ErrorKind.TIMEOUT)

    async def _attempt_until_output(self) -> Finish | Failure:
        attempt = 0
        while True:
            end = await self._attempt()
            if isinstance(end, Finish) or self._has_output or attempt >= self._settings.retries:
                return end
            pause = pause_before_retry(end, attempt)
            if pause is None or self._loop.time() + pause >= self._deadline:
                return end
            self._clock.reschedule(self._deadline)
            await asyncio.sleep(pause)
            attempt += 1

    async def _attempt(self) -> Finish | Failure:
        request = self._request
        if request.streamed:
            self._set_timeout(self._settings.first_token_timeout)
        answered = False
        try:
            async with self._session.post(
                request.url, data=request.body, headers=request.headers, allow_redirects=False
            ) as response:
                answered = True
                return await self._read(response)
        except tuple(KIND_OF_EXCEPTION) as error:
            kind, message = next(row for type, row in KIND_OF_EXCEPTION.items() if isinstance(error, type))
            return Failure(ErrorKind.INTERRUPTED if answered and kind is ErrorKind.UNREACHABLE else kind, message=message)

    async def _read(self, response: aiohttp.ClientResponse) -> Finish | Failure:
        dialect = self._request.dialect
        if response.status != 200:
            payload = _read_payload(await _read_at_most(response, MAX_ERROR_BYTES))
            return dialect.failure(response.status, payload, read_retry_after(response.headers, time.time()))
        if response.content_type == "text/html":
            return Failure(ErrorKind.MALFORMED, message="a web page instead of an answer")
        if self._request.streamed and response.content_type != "application/json":
            return await self._read_stream(response, dialect)
        return await self._read_whole(response, dialect)

    async def _read_whole(self, response: aiohttp.ClientResponse, dialect: Dialect) -> Finish | Failure:
        if self._request.streamed:
            self._clock.reschedule(self._deadline)
        limit = self._settings.max_answer_bytes
        body = await _read_at_most(response, limit)
        if len(body) > limit:
            return Failure(ErrorKind.TOO_LARGE)
        try:
            payload = read_json(body)
        except ValueError:
            return Failure(ErrorKind.MALFORMED, message="an answer that is no JSON")
        return await self._emit(dialect.answer(payload, self._request.context), response) or Failure(ErrorKind.MALFORMED)

    async def _read_stream(self, response: aiohttp.ClientResponse, dialect: Dialect) -> Finish | Failure:
        parser = EventParser()
        reader = dialect.Reader(self._request.context)
        try:
            async for data in response.content.iter_any():
                deltas: list[Delta] = []
                for event in parser.feed(data):
                    deltas += reader.read(event)
                if deltas and (end := await self._emit(deltas, response)):
                    await _finish_body(response)
                    return end
        except aiohttp.ClientPayloadError:
            # The reader knows whether anything is missing: a finish reason may have come before the connection broke.
            return await self._emit(reader.close(), response) or Failure(ErrorKind.INTERRUPTED)
        deltas = [delta for event in parser.close() for delta in reader.read(event)]
        return await self._emit(deltas + reader.close(), response) or Failure(ErrorKind.INTERRUPTED)

    async def _emit(self, deltas: list[Delta], response: aiohttp.ClientResponse) -> Finish | Failure | None:
        """Pass pieces and usage to the sink; hold the end back and return it: only the caller knows whether it will retry."""
        last = deltas[-1] if deltas else None
        end = last if isinstance(last, Finish | Failure) else None
        output = deltas[:-1] if end else deltas
        if not output:
            return end
        self._size += sum(map(_size_of, output))
        if self._size > self._settings.max_answer_bytes:
            return Failure(ErrorKind.TOO_LARGE)
        self._has_output = True
        resume = self._sink(output)
        if end is not None:
            return end
        if resume is not None:
            # Backpressure: the client is slow or another seat is live, so the upstream's silence does not count.
            self._clock.reschedule(None)
            with _paused(response):
                await resume.wait()
        self._set_timeout(self._settings.idle_timeout)
        return None

    def _set_timeout(self, seconds: float) -> None:
        """Let the call time out unless output comes within so many seconds."""
        when = min(self._deadline, self._loop.time() + seconds)
        armed = self._clock.when()
        # The total deadline is exact: at it an answer with output is cut, before it a silence has timed out.
        slack = 0 if when == self._deadline else seconds * CLOCK_SLACK
        if armed is None or abs(when - armed) > slack:
            self._clock.reschedule(when)


def _size_of(delta: Delta) -> int:
    if isinstance(delta, Text | Reasoning):
        return len(delta.text.encode("utf-8", "surrogatepass"))
    return len(delta.arguments) if isinstance(delta, ToolCall) else 0


async def _read_at_most(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """Read a body until it is over or longer than `limit` bytes; counts what comes out of a gzip, not what goes in."""
    body = bytearray()
    async for data in response.content.iter_any():
        body += data
        if len(body) > limit:
            break
    return bytes(body)


@contextlib.contextmanager
def _paused(response: aiohttp.ClientResponse) -> Iterator[None]:
    """Pause reading, so that what comes waits in the kernel's buffer: TCP slows the upstream, and later it is read at once."""
    connection = response.connection
    transport = None if connection is None else connection.transport
    if transport is not None and not transport.is_closing():
        transport.pause_reading()
    try:
        yield
    finally:
        if transport is not None and not transport.is_closing():
            transport.resume_reading()


async def _finish_body(response: aiohttp.ClientResponse) -> None:
    """Read past the last event to the end of the body: only then can aiohttp use the connection again."""
    if response.content.at_eof():
        return
    # The answer is whole: how its connection ends changes nothing.
    with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(TAIL_SECONDS):
            await response.content.readany()


def _read_payload(body: bytes) -> Any:
    try:
        return read_json(body)
    except ValueError:
        return body.decode("utf-8", "replace")
