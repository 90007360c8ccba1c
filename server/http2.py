"""HTTP/2 on one connection, on top of h2; it opens no sockets and runs no application.

Takes the place of hypercorn's H2Protocol, whose defects it repairs: DATA after an early answer is a KeyError that ends
every stream (#329); so is a `:path` that is not ASCII, and CONNECT; 1,000 PRIORITY frames cancel what runs (they are
ignored here, RFC 9113 §5.3.2 deprecates them); `send` does not wait for the flow-control window, and after a TCP close it
never returns; a connection whose last stream was reset, or that never asked, is kept for ever; a client's GOAWAY ends its
own answers; our end comes without GOAWAY, and streams that come too late get NO_ERROR, which forbids a retry, in place of
REFUSED_STREAM (§8.7).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from h2 import events
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from hypercorn.utils import filter_pseudo_headers

from server.body import RequestBody
from server.connection import LINGER, Connection
from server.exchange import Exchange, Head, Headers, Request
from server.lenient_h2 import LenientH2Connection

CONTROL_BACKLOG = 2**18
"""Bytes that a client which does not read may have waiting for it in acknowledgements, before we stop reading too."""

FIELD_OVERHEAD = 32
"""Bytes that count for each field of a header list beside its name and value (RFC 9113 §6.5.2)."""

BURST = 2**16
"""Bytes of one stream that are written before the other streams get their turn."""


class HTTP2Protocol:
    """Carries many exchanges at a time; each sends for itself, as far as its window reaches."""

    def __init__(self, tcp: Connection) -> None:
        self._tcp = tcp
        self._h2 = LenientH2Connection(tcp.context.config)
        self._exchanges: dict[int, Exchange] = {}
        self._blocked: dict[int, asyncio.Event] = {}
        self._handlers: set[asyncio.Task[None]] = set()
        self._shutting_down = False

    def start(self) -> None:
        """Send our SETTINGS."""
        self._h2.initiate_connection()
        self._flush()
        # Also while the process drains: the first request of a connection, a health check perhaps, is answered.
        self._tcp.set_timer(self._tcp.context.config.keep_alive_timeout, self._shut_down)

    async def receive(self, data: bytes) -> None:
        """Act on the frames that the client sent; waits only for one that never reads its acknowledgements."""
        try:
            for event in self._h2.receive_data(data):
                react = REACTIONS.get(type(event))
                if react is not None:
                    react(self, event)
        except ProtocolError:  # h2 has already written the GOAWAY that says which.
            self.disconnect()
            self._flush()
            self._tcp.linger()
            return
        self._flush()
        if self._tcp.write_buffer_size > CONTROL_BACKLOG:
            await self._tcp.drain()

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data:
            self._tcp.write(data)

    def _request_received(self, event: events.RequestReceived) -> None:
        stream_id = event.stream_id
        stream = self._h2.streams.get(stream_id)
        if stream is None or stream.closed:  # Its RST_STREAM came in the same piece.
            return
        # Handlers of streams that the client has reset count too: otherwise open-and-reset starts any number (CVE-2023-44487).
        if self._shutting_down or len(self._handlers) >= self._tcp.context.config.h2_max_concurrent_streams:
            self._h2.reset_stream(stream_id, ErrorCodes.REFUSED_STREAM)
            return
        request = to_request(event.headers or [], self._tcp.context.config.h2_max_header_list_size)
        if isinstance(request, int):
            headers = [(b":status", b"%d" % request), (b"content-length", b"0"), (b"date", self._tcp.context.date)]
            self._h2.send_headers(stream_id, headers, end_stream=True)
            return
        self._tcp.cancel_timer()
        exchange = self._exchanges[stream_id] = Exchange(self, stream_id, RequestBody(partial(self._give_credit, stream_id)))
        exchange.expects_continue = any(
            name == b"expect" and value.lower() == b"100-continue" for name, value in request.headers
        )
        handler = self._tcp.start_handler(exchange, request)
        self._handlers.add(handler)
        handler.add_done_callback(self._handlers.discard)

    def _data_received(self, event: events.DataReceived) -> None:
        exchange = self._exchanges.get(event.stream_id)
        length = event.flow_controlled_length or 0
        if exchange is None:
            self._h2.acknowledge_received_data(length, event.stream_id)
            return
        padding = length - len(event.data)
        if padding:
            self._h2.acknowledge_received_data(padding, event.stream_id)
        exchange.request_body.feed(event.data)

    def _give_credit(self, stream_id: int, size: int) -> None:
        """Give the client the window back that a body took."""
        self._h2.acknowledge_received_data(size, stream_id)
        self._flush()

    def _stream_ended(self, event: events.StreamEnded) -> None:
        exchange = self._exchanges.get(event.stream_id)
        if exchange is not None:
            exchange.request_body.finish()

    def _wake(self, stream_id: int) -> None:
        """Let a stream that waits for its flow-control window check it again; 0: all of them."""
        for number, opened in self._blocked.items():
            if stream_id in (0, number):
                opened.set()

    def _goaway_received(self, event: events.ConnectionTerminated) -> None:
        self._shutting_down = True
        if not self._exchanges:
            self._shut_down()

    def send_continue(self, exchange: Exchange) -> None:
        """Send the informational 100."""
        self._h2.send_headers(exchange.number, [(b":status", b"100")])
        self._flush()

    async def respond(self, exchange: Exchange, head: Head | None, body: bytes, more: bool) -> None:
        """Send a piece of the answer, as the client's window allows."""
        stream_id = exchange.number
        if head is not None:
            headers = [(b":status", b"%d" % head.status), *head.headers, (b"date", self._tcp.context.date)]
            self._h2.send_headers(stream_id, headers, end_stream=not more and not body)
        if body:
            await self._send(exchange, body, more)
        elif head is None and not more and not exchange.disconnected:
            self._h2.end_stream(stream_id)
        self._flush()
        await self._tcp.drain()
        if not more and not exchange.disconnected:
            self._answered(exchange)

    async def _send(self, exchange: Exchange, body: bytes, more: bool) -> None:
        stream_id, sent, burst = exchange.number, 0, BURST
        while sent < len(body):
            size = min(len(body) - sent, self._h2.max_outbound_frame_size, self._h2.local_flow_control_window(stream_id))
            if size <= 0:
                await self._window(stream_id)
            else:
                last = not more and sent + size == len(body)
                self._h2.send_data(stream_id, body[sent : sent + size], end_stream=last)
                sent += size
            if sent >= burst:
                burst = sent + BURST
                self._flush()
                await self._tcp.drain()
            if exchange.disconnected:
                return

    async def _window(self, stream_id: int) -> None:
        """Wait until the client allows more, or the exchange is over."""
        self._flush()
        opened = self._blocked[stream_id] = asyncio.Event()
        try:
            await opened.wait()
        finally:
            del self._blocked[stream_id]

    def _answered(self, exchange: Exchange) -> None:
        if not exchange.request_body.complete:
            # A reset at once costs clients that send all before they read the answer; so the rest is dropped for a while.
            asyncio.get_running_loop().call_later(LINGER, self._stop_upload, exchange.number)
        self._close(exchange.number)

    def _stop_upload(self, stream_id: int) -> None:
        """Tell a client that sends on long after its answer to stop (RFC 9113 §8.1)."""
        stream = self._h2.streams.get(stream_id)
        if stream is not None and stream.open:
            self._h2.reset_stream(stream_id, ErrorCodes.NO_ERROR)
            self._flush()

    def abort(self, exchange: Exchange) -> None:
        """Reset the stream, so that the client can tell (RFC 9113 §8.1)."""
        self._h2.reset_stream(exchange.number, ErrorCodes.INTERNAL_ERROR)
        self._flush()
        self._close(exchange.number)

    def _close(self, stream_id: int) -> None:
        exchange = self._exchanges.pop(stream_id, None)
        if exchange is None:
            return
        exchange.request_body.disconnect()
        self._wake(stream_id)
        if not self._exchanges:
            self._wait_for_request()

    def _wait_for_request(self) -> None:
        if self._shutting_down or self._tcp.context.draining:
            self._shut_down()
        else:
            self._tcp.set_timer(self._tcp.context.config.keep_alive_timeout, self._shut_down)

    def _send_goaway(self) -> None:
        if not self._shutting_down:
            self._shutting_down = True
            self._tcp.write(self._h2.goaway())

    def _shut_down(self) -> None:
        """Close an idle connection; a request that crosses the GOAWAY must not be met by a reset, which could overtake it."""
        self._send_goaway()
        if self._tcp.context.terminated:
            self._tcp.close()
        else:
            self._tcp.linger()

    def disconnect(self) -> None:
        """End all exchanges."""
        self._shutting_down = True
        exchanges, self._exchanges = self._exchanges, {}
        for exchange in exchanges.values():
            exchange.request_body.disconnect()
        self._wake(0)

    def close_when_idle(self) -> None:
        """Send GOAWAY and close, where nothing runs: clients made with h2 lose what still runs when they see it."""
        if self._h2.highest_inbound_stream_id and not self._exchanges:
            self._shut_down()

    def terminate(self) -> None:
        """Refuse further streams; what runs may end."""
        self._send_goaway()
        if not self._exchanges:
            self._shut_down()


REACTIONS: dict[type[events.Event], Callable[[HTTP2Protocol, Any], None]] = {
    events.RequestReceived: HTTP2Protocol._request_received,
    events.DataReceived: HTTP2Protocol._data_received,
    events.StreamEnded: HTTP2Protocol._stream_ended,
    events.StreamReset: lambda self, event: self._close(event.stream_id),
    events.WindowUpdated: lambda self, event: self._wake(event.stream_id),
    events.RemoteSettingsChanged: lambda self, _: self._wake(0),
    events.ConnectionTerminated: HTTP2Protocol._goaway_received,
}
"""PRIORITY is missing on purpose, and so are PING and the acknowledgements, which h2 answers itself."""


def to_request(headers: Headers, limit: int) -> Request | int:
    """Return the request, or the status for one that is larger than `limit` bytes or that ASGI cannot express."""
    pseudo = {name: value for name, value in headers if name[:1] == b":"}
    method, path = pseudo[b":method"], pseudo.get(b":path", b"")
    if method == b"CONNECT" or not method.isascii():
        return 501
    if not path.isascii():
        return 400
    if sum(len(name) + len(value) + FIELD_OVERHEAD for name, value in headers) > limit:
        return 431
    return Request("2", method.decode("ascii").upper(), path, filter_pseudo_headers(headers))
