"""GET /v1/models and /v1/models/{id}: the models a client may ask for, as OpenAI lists them."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from routes.http.answers import to_response
from routes.http.errors import not_found
from routes.service import Service, service_of
from upstreams.roster import OMNIBUS, UnknownModel


async def list_models(request: Request) -> Response:
    service = service_of(request.scope)
    service.keys.check(request.scope["headers"])
    return to_response({"object": "list", "data": [_model(service, name) for name in service.roster.models]})


async def get_model(request: Request) -> Response:
    service = service_of(request.scope)
    service.keys.check(request.scope["headers"])
    name = request.path_params["id"]
    if name not in service.roster.models:
        raise not_found(str(UnknownModel(name, service.roster.models)))
    return to_response(_model(service, name))


def _model(service: Service, name: str) -> dict[str, Any]:
    owner = "rawbot" if name == OMNIBUS else service.roster.panel(name)[0].provider
    return {"id": name, "object": "model", "created": service.created, "owned_by": owner}
