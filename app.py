"""The house on one screen: settings, what lives as long as the process, the routes; `python app.py` serves it."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gate import Gate
from routes.chat import Chat
from routes.health import METHODS, healthz, readyz, root
from routes.http.access_log import AccessLog
from routes.http.auth import read_keys
from routes.http.errors import ApiError
from routes.http.stock_server import UnreadBody
from routes.models import get_model, list_models
from routes.service import Service
from server.run import run
from settings import Settings, SettingsError, read_settings
from upstreams.calling.http import open_session
from upstreams.calling.upstream import Upstream
from upstreams.local import local_rows
from upstreams.roster import ADVICE, Roster, check_ids, configured_rows


def create_app(settings: Settings, gate: Gate) -> Starlette:
    """Return the application, which opens what it needs in its lifespan; raises SettingsError for what must not start."""
    rows = configured_rows(settings)
    keys = read_keys(settings, paid=any(row.token for row in rows))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Service]]:
        async with open_session(settings) as session, local_rows(settings, rows, ADVICE) as local:
            check_ids([*rows, *local])
            roster = Roster([Upstream(row, session, settings) for row in (*rows, *local)])
            yield {"service": Service(settings, roster, keys, gate, created=int(time.time()))}

    middleware = [Middleware(AccessLog)]
    if settings.cors_origins:
        middleware.append(
            Middleware(
                CORSMiddleware,
                allow_origins=settings.cors_origins,
                allow_methods=["GET", "POST"],
                allow_headers=["*"],
                expose_headers=["x-request-id", "retry-after"],
            )
        )
    application = Starlette(
        routes=[
            Route("/v1/chat/completions", Chat(), methods=["POST"]),
            Route("/v1/models", list_models),
            Route("/v1/models/{id:path}", get_model),
            Route("/healthz", healthz, methods=METHODS),
            Route("/readyz", readyz, methods=METHODS),
            Route("/", root, methods=METHODS),
        ],
        middleware=middleware,
        exception_handlers={ApiError: answer_api_error, HTTPException: answer_http_error},
        lifespan=lifespan,
    )
    # A redirect to an absolute http:// address is no answer to a health check.
    application.router.redirect_slashes = False
    return application


async def answer_api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return Response(error.envelope(), error.status, error.headers, media_type="application/json")


async def answer_http_error(request: Request, error: Exception) -> Response:
    """Put Starlette's own errors, an unknown path or a wrong method, into OpenAI's envelope."""
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.scope['path']} is unknown" if error.status_code == 404 else error.detail
    return await answer_api_error(request, ApiError(error.status_code, f"{message}.", headers=error.headers))


class Lazy:
    """The application for `hypercorn app:app`, made at its lifespan: to import this file reads no environment."""

    def __init__(self) -> None:
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._app is None:
            settings = read_settings()
            self._app = UnreadBody(create_app(settings, Gate(settings.max_in_flight)), settings.body_timeout)
        await self._app(scope, receive, send)


app = Lazy()


def main() -> int:
    """Serve until a signal; return the exit code."""
    try:
        return run(create_app, read_settings())
    except SettingsError as error:
        sys.stderr.write(f"rawbot-2api cannot start: {error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
