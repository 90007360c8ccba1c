"""GET /, /healthz and /readyz: for people, process supervisors and load balancers; they never ask a provider."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from routes.http.answers import to_response
from routes.service import service_of

VERSION = "1.0.0"

# HAProxy's own check is `OPTIONS / HTTP/1.0`.
METHODS = ["GET", "HEAD", "OPTIONS"]


async def root(request: Request) -> Response:
    service = service_of(request.scope)
    return to_response(
        {
            "name": "rawbot-2api",
            "version": VERSION,
            "models": service.roster.models,
            "endpoints": ["/v1/chat/completions", "/v1/models", "/healthz", "/readyz"],
            "documentation": "README.md",
        }
    )


async def healthz(request: Request) -> Response:
    """Answer as long as the process serves."""
    return to_response({"status": "ok"})


async def readyz(request: Request) -> Response:
    """Answer 200 when a chat request would be taken, else 503 with the reason."""
    service = service_of(request.scope)
    ready, reason = service.readiness()
    upstreams = {upstream.id: upstream.state.value for upstream in service.roster.upstreams}
    return to_response({"status": reason, "upstreams": upstreams}, 200 if ready else 503)
