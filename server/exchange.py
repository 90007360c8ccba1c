"""One request and its answer as ASGI sees them, for both protocols; it knows no sockets and no framing.

Takes the place of hypercorn's HTTPStream. The head of an answer waits for the first piece of the body, as ASGI asks, so
that a complete answer leaves in one write; an answer that its application does not finish is cut, so that the client can
tell.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote

from hypercorn.protocol.http_stream import ASGIHTTPState
from hypercorn.utils import UnexpectedMessageError, build_and_validate_headers, suppress_body
from starlette.types import ASGIApp

from server.body import RequestBody

log = logging.getLogger("rawbot.server")

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Head:
    """The status and the headers of an answer."""

    status: int
    headers: Headers


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asked for, before its body."""

    http_version: str
    method: str
    target: bytes
    headers: Iterable[tuple[bytes, bytes]]


class ResponseWriter(Protocol):
    """What an exchange needs of the protocol that carries it."""

    async def respond(self, exchange: Exchange, head: Head | None, body: bytes, more: bool) -> None:
        """Send what is given, and return when more may be sent; does nothing once the exchange is over."""

    def send_continue(self, exchange: Exchange) -> None:
        """Ask the client for the body that it holds back."""

    def abort(self, exchange: Exchange) -> None:
        """End an answer that will not be finished, so that the client can tell."""


class Exchange:
    """Runs the application for one request."""

    def __init__(self, writer: ResponseWriter, number: int, request_body: RequestBody) -> None:
        self.number = number
        """The stream identifier; 1 on HTTP/1.1."""
        self.request_body = request_body
        self.expects_continue = False
        """The client waits to be asked before it sends the body (RFC 9110 §10.1.1)."""
        self._writer = writer
        self._head: Head | None = None
        self._bodiless = False
        self._method = ""
        self._state = ASGIHTTPState.REQUEST

    @property
    def disconnected(self) -> bool:
        """Whether the exchange is over, by an answer or because the client left."""
        return self.request_body.disconnected

    async def run(self, app: ASGIApp, scope: dict[str, Any]) -> None:
        """Call the application; its errors end in the log, and for the client in a 500 or in a cut answer."""
        self._method = scope["method"]
        try:
            await app(scope, self.receive, self.send)
        except Exception:
            log.exception("error in the application")
        finally:
            await self._settle()

    async def receive(self) -> Any:
        """The ASGI `receive`; only a body that the application wants is asked for, so no refusal follows a 100."""
        if self.expects_continue:
            self.expects_continue = False
            if self._unanswered and not self.disconnected:
                self._writer.send_continue(self)
        return await self.request_body.receive()

    @property
    def _unanswered(self) -> bool:
        """Whether nothing of the answer was sent."""
        return self._state is ASGIHTTPState.REQUEST or self._head is not None

    async def send(self, message: Any) -> None:
        """The ASGI `send`; without effect once the client is gone."""
        kind = message["type"]
        if kind == "http.response.body" and self._state is ASGIHTTPState.RESPONSE:
            more = message.get("more_body", False)
            if not more:
                self._state = ASGIHTTPState.CLOSED
                self.request_body.discard()
            if self.disconnected:
                return
            head, self._head = self._head, None
            body = b"" if self._bodiless else bytes(message.get("body", b""))
            await self._writer.respond(self, head, body, more)
        elif kind == "http.response.start" and self._state is ASGIHTTPState.REQUEST:
            self._head = Head(int(message["status"]), build_and_validate_headers(message.get("headers", [])))
            self._bodiless = suppress_body(self._method, self._head.status)
            self._state = ASGIHTTPState.RESPONSE
        else:
            raise UnexpectedMessageError(self._state, kind)

    async def _settle(self) -> None:
        if self.disconnected:
            return
        unanswered = self._unanswered
        self._state, self._head = ASGIHTTPState.CLOSED, None
        self.request_body.discard()
        if unanswered:
            await self._writer.respond(self, Head(500, [(b"content-length", b"0")]), b"", False)
        else:
            # hypercorn leaves an HTTP/2 client waiting here, until the whole connection is idle.
            self._writer.abort(self)


def http_scope(request: Request, scheme: str, client: Any, server: Any, state: Any) -> dict[str, Any]:
    """Return the ASGI scope of a request whose target is ASCII."""
    path, _, query = request.target.partition(b"?")
    return {
        "type": "http",
        "asgi": {"spec_version": "2.1", "version": "3.0"},
        "http_version": request.http_version,
        "method": request.method,
        "scheme": scheme,
        "path": unquote(path.decode("ascii")),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": request.headers,
        "client": client,
        "server": server,
        "state": state.copy(),
        "extensions": {},
    }
