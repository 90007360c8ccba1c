"""HTTP/1.1 on one connection, on top of h11; it opens no sockets and runs no application.

Takes the place of hypercorn's H11Protocol, whose defects it repairs: pipelined bytes or an `Upgrade` header behind a
request stop the reader, which then does not notice that the client leaves; a head of any size passes when it comes in one
piece; a slow head has as much time as an idle connection; an early answer is lost in the reset that follows it; an
`Upgrade: h2c` is honoured, with which a client behind a proxy gets past the proxy's rules (RFC 9113 has dropped it).
WebSockets are not served: a client that asks for one is answered like any other, as RFC 9110 §7.8 allows. A piece of a
chunked body is framed here, without h11.
"""

from __future__ import annotations

import h11
from hypercorn.protocol.h11 import H2ProtocolAssumedError

from server.body import RequestBody
from server.connection import LINGER, Connection
from server.exchange import Exchange, Head, Request

HEAD_TIMEOUT = 15.0
"""Seconds from the first byte of a head to its last; nothing but malice and broken lines take longer."""

READ_AHEAD = 2**16
"""Bytes of further requests that are kept while an answer runs; a client that pipelines more is closed after it."""

CLOSE = (b"connection", b"close")


class HTTP11Protocol:
    """Reads requests one after the other and writes their answers."""

    def __init__(self, tcp: Connection) -> None:
        self._tcp = tcp
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=tcp.context.config.h11_max_incomplete_size)
        self._exchange: Exchange | None = None
        self._chunked = False
        self._fresh = True
        self._head_begun = False
        self._overrun = False

    def start(self) -> None:
        """Wait for a request; HTTP/1.1 has no preface."""
        self._tcp.set_timer(self._tcp.context.config.keep_alive_timeout, self._tcp.close)

    async def receive(self, data: bytes) -> None:
        """Parse what the client sent; returns when the application has room for more of the body."""
        if self._overrun:
            return
        self._h11.receive_data(data)
        self._parse()
        if self._h11.their_state is h11.IDLE and not self._head_begun:
            self._head_begun = True
            self._tcp.set_timer(HEAD_TIMEOUT, self._head_too_slow)
        if self._exchange is not None:
            await self._exchange.request_body.room()

    def _parse(self) -> None:
        try:
            while self._take(self._h11.next_event()):
                pass
        except h11.RemoteProtocolError as error:
            self._refuse(error.error_status_hint)

    def _take(self, event: object) -> bool:
        """Act on one event; False when there is nothing more to read for now."""
        if isinstance(event, h11.Request):
            return self._open(event)
        if isinstance(event, h11.Data):
            if self._exchange is not None:
                self._exchange.request_body.feed(event.data)
            return True
        if isinstance(event, h11.EndOfMessage):
            if self._exchange is not None:
                self._exchange.request_body.finish()
            else:
                self._next()
            return True
        if event is h11.PAUSED:
            # Never wait here: whoever does not read does not notice that the client leaves.
            self._overrun = len(self._h11.trailing_data[0]) > READ_AHEAD
        return False

    def _open(self, request: h11.Request) -> bool:
        fresh, self._fresh = self._fresh, False
        if request.method == b"PRI":
            # The preface of HTTP/2 (RFC 9113 §3.4) is the first thing that a connection says, or an error.
            if fresh and request.http_version == b"2.0":
                raise H2ProtocolAssumedError(b"PRI * HTTP/2.0\r\n\r\n" + self._h11.trailing_data[0])
            self._refuse(400)
            return False
        headers = list(request.headers)
        size = len(request.target) + sum(len(name) + len(value) for name, value in headers)
        if size > self._tcp.context.config.h11_max_incomplete_size:
            self._refuse(431)
            return False
        self._tcp.cancel_timer()
        self._head_begun = False
        self._exchange = Exchange(self, 1, RequestBody())
        self._exchange.expects_continue = self._h11.they_are_waiting_for_100_continue
        version, method = request.http_version.decode(), request.method.decode().upper()
        self._tcp.start_handler(self._exchange, Request(version, method, request.target, headers))
        return True

    def _head_too_slow(self) -> None:
        self._refuse(408)

    def _refuse(self, status: int) -> None:
        """Answer what cannot be read, if nothing has been answered yet, and close."""
        self.disconnect()
        if self._h11.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            self._tcp.write(self._head(Head(status, [(b"content-length", b"0"), CLOSE])))
        self._tcp.linger()

    def send_continue(self, exchange: Exchange) -> None:
        """Send 100 Continue, unless the body has begun without it."""
        if self._h11.they_are_waiting_for_100_continue:
            self._tcp.write(self._h11.send(h11.InformationalResponse(status_code=100, headers=[])))

    async def respond(self, exchange: Exchange, head: Head | None, body: bytes, more: bool) -> None:
        """Send a piece of the answer, all that is given in one write."""
        parts = [] if head is None else [self._head(head)]
        if body:
            parts.append(b"%x\r\n%b\r\n" % (len(body), body) if self._chunked else self._h11.send(h11.Data(data=body)))
        if not more:
            parts.append(self._h11.send(h11.EndOfMessage()))
        self._tcp.write(b"".join(parts))
        await self._tcp.drain()
        if not more and not exchange.disconnected:
            exchange.request_body.disconnect()
            self._exchange = None
            self._next()

    def _head(self, head: Head) -> bytes:
        headers = [*head.headers, (b"date", self._tcp.context.date)]
        # Whether a client that was never asked for its body sends it nevertheless cannot be known (RFC 9110 §10.1.1).
        if self._tcp.context.draining or self._h11.they_are_waiting_for_100_continue:
            headers.append(CLOSE)
        # h11's own rule (RFC 9112 §6): it adds `transfer-encoding: chunked` unless a length is known or the client is too old.
        names = {name.lower() for name, _ in headers}
        self._chunked = self._h11.their_http_version == b"1.1" and (
            b"content-length" not in names or b"transfer-encoding" in names
        )
        return self._h11.send(h11.Response(status_code=head.status, headers=headers))

    def _next(self) -> None:
        """Go on after a complete answer: with the next request, with the rest of this one, or not at all."""
        ours, theirs = self._h11.our_state, self._h11.their_state
        if self._overrun:
            self._tcp.linger()
        elif self._tcp.context.terminated:
            self._tcp.close()
        elif theirs is h11.SEND_BODY and ours is h11.DONE:
            self._tcp.set_timer(LINGER, self._tcp.close)
        elif theirs is h11.SEND_BODY:
            self._tcp.linger()
        elif ours is h11.DONE and theirs is h11.DONE:
            self._h11.start_next_cycle()
            self._tcp.set_timer(self._tcp.context.config.keep_alive_timeout, self._tcp.close)
            self._parse()
        else:
            self._tcp.close()

    def abort(self, exchange: Exchange) -> None:
        """Close without the last chunk, so that the client can tell (RFC 9112 §8)."""
        if exchange is self._exchange:
            self.disconnect()
            self._tcp.close()

    def disconnect(self) -> None:
        """End the running exchange."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.request_body.disconnect()

    def close_when_idle(self) -> None:
        """Do nothing yet: the next answer carries `Connection: close`."""

    def terminate(self) -> None:
        """Close, or let the running answer be the last one."""
        if self._exchange is None:
            self._tcp.close()
