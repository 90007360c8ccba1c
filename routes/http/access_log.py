"""What holds for every request, whoever handles it: an id, safe headers, one line of log; no handler's logic."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from secrets import token_hex

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from routes.http.answers import send_error
from routes.http.client import CancelReason
from routes.http.errors import internal_error
from upstreams.values import Failure, Result

log = logging.getLogger("rawbot.access")
faults = logging.getLogger("rawbot")

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")

# For the browser behind which this API may stand: an answer is what its type says, and nobody's to keep.
_NOSNIFF = (b"x-content-type-options", b"nosniff")
_NO_STORE = (b"cache-control", b"no-store")

_OUTCOME = "rawbot.outcome"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a chat request: how each call of its panel went, or why nobody waited for them."""

    model: str
    end: Sequence[Result] | CancelReason

    def __str__(self) -> str:
        if isinstance(self.end, CancelReason):
            return f"model={self.model!r} ended={self.end.value!r}"
        ends = [(result.model, result.end) for result in self.end]
        kinds = (f"{model}:{end.kind.name.lower() if isinstance(end, Failure) else 'ok'}" for model, end in ends)
        return f"model={self.model!r} upstreams={','.join(kinds)}"


def note_outcome(scope: Scope, model: str, end: Sequence[Result] | CancelReason) -> None:
    """Leave the outcome of a chat request for its line of log."""
    scope[_OUTCOME] = Outcome(model, end)


class AccessLog:
    """ASGI middleware around the whole application: request id, safe headers, access log, and 500 for a fault of ours."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._answer(_LoggedRequest(scope, send), receive)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        else:
            await self._app(scope, receive, send)

    async def _answer(self, request: _LoggedRequest, receive: Receive) -> None:
        try:
            await self._app(request.scope, receive, request.send)
        except Exception:
            if request.status is not None:
                raise
            faults.exception("a request failed by a fault of ours")
            await send_error(request.send, internal_error())
        finally:
            request.log()


class _LoggedRequest:
    """One request, and what its line of log tells."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.scope = scope
        self.status: int | None = None
        self._send = send
        self._began = asyncio.get_running_loop().time()
        self._id = _request_id(scope)

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = message.setdefault("headers", [])
            cached = any(name == b"cache-control" for name, _ in headers)
            message["headers"] = [*headers, (b"x-request-id", self._id), _NOSNIFF, *(() if cached else (_NO_STORE,))]
        await self._send(message)

    def log(self) -> None:
        milliseconds = (asyncio.get_running_loop().time() - self._began) * 1000
        outcome = self.scope.get(_OUTCOME)
        log.info(
            "%s %s %s %.0fms id=%s%s",
            self.scope["method"],
            self.scope["path"].encode("unicode_escape").decode(),
            self.status or "-",
            milliseconds,
            self._id.decode(),
            "" if outcome is None else f" {outcome}",
        )


def _request_id(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and REQUEST_ID.fullmatch(value):
            return bytes(value)
    return token_hex(16).encode()
