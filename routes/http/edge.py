"""What holds for every request, whoever handles it: an id, a line of log, a body that is read; no handler's logic."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from secrets import token_hex

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from routes.http.errors import internal_error
from routes.http.presence import Departure
from routes.http.responses import send_error
from upstreams.values import Failure, Result

log = logging.getLogger("rawbot.access")
faults = logging.getLogger("rawbot")

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")

# For the browser behind which this API may stand: an answer is what its type says, and nobody's to keep.
_NOSNIFF = (b"x-content-type-options", b"nosniff")
_NO_STORE = (b"cache-control", b"no-store")


class Edge:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, body_timeout: float) -> None:
        self._app = app
        self._body_timeout = body_timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            exchange = _Exchange(scope, receive, send, self._body_timeout)
            try:
                await self._app(scope, exchange.receive, exchange.send)
            except Exception:
                if exchange.answered:
                    raise
                faults.exception("a request failed by a fault of ours")
                await send_error(exchange.send, internal_error())
            finally:
                exchange.log()
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        else:
            await self._app(scope, receive, send)


def note_for_log(scope: Scope, model: str, outcome: Sequence[Result] | Departure | None) -> None:
    """Leave for the request's line of log whom it asked, and how they fared or why nobody waited for them."""
    if isinstance(outcome, Departure):
        told = f"ended={outcome.value!r}"
    else:
        ends = [(result.model, result.end) for result in outcome or ()]
        fates = (f"{model}:{end.kind.name.lower() if isinstance(end, Failure) else 'ok'}" for model, end in ends)
        told = f"upstreams={','.join(fates)}"
    scope["rawbot.log"] = f" model={model!r} {told}"


class _Exchange:
    """One request and its answer, watched."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, body_timeout: float) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._body_timeout = body_timeout
        self._body_read = False
        self._began = asyncio.get_running_loop().time()
        self._status: int | None = None
        self._id = _request_id(scope)

    @property
    def answered(self) -> bool:
        return self._status is not None

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            self._body_read = True
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if not self._body_read:
                await self._read_rest()
            self._status = message["status"]
            headers = message.setdefault("headers", [])
            cached = any(name == b"cache-control" for name, _ in headers)
            message["headers"] = [*headers, (b"x-request-id", self._id), _NOSNIFF, *(() if cached else (_NO_STORE,))]
        await self._send(message)

    def log(self) -> None:
        milliseconds = (asyncio.get_running_loop().time() - self._began) * 1000
        log.info(
            "%s %s %s %.0fms id=%s%s",
            self._scope["method"],
            self._scope["path"].encode("unicode_escape").decode(),
            self._status or "-",
            milliseconds,
            self._id.decode(),
            self._scope.get("rawbot.log", ""),
        )

    async def _read_rest(self) -> None:
        """Read a body that no handler wanted: hypercorn's connection hangs when one stays unread."""
        try:
            async with asyncio.timeout_at(self._began + self._body_timeout):
                while not self._body_read:
                    await self.receive()
        except TimeoutError:
            self._body_read = True


def _request_id(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and REQUEST_ID.fullmatch(value):
            return bytes(value)
    return token_hex(16).encode()
