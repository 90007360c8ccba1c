"""The product over rows of any dialect, each with a loopback provider as strict as the real one; no server in front."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import openai
import pytest
from starlette.types import Receive, Scope, Send

from app import create_app
from gate import Gate
from settings import read_settings
from tests.gateway import KEY, Gateway
from tests.providers import ai21_wire, cohere_wire, mistral_wire, openai_wire
from tests.providers.loopback import Loopback, Turn
from tests.providers.turns import Wire
from upstreams.roster import DIALECTS

EACH_DIALECT = pytest.mark.parametrize("dialect", DIALECTS)
"""By name; what the tests know of each stands in tables, and tests/dialects/test_lineup.py says which of them lacks one."""

WIRES: Mapping[str, Wire] = {"openai": openai_wire, "cohere": cohere_wire, "mistral": mistral_wire, "ai21": ai21_wire}
MODELS = {
    "openai": "any-model",
    "cohere": "command-a-plus-05-2026",
    "mistral": "mistral-small-latest",
    "ai21": "jamba-mini",
}
"""Per dialect a model that the strict provider knows, with all that it can: at Cohere, tools to choose and images."""


def row_of(dialect: str, url: str, more: str = "", *, model: str = "", id: str = "") -> str:
    """Return a row of the file; where nothing else is said it is asked for by the name of its dialect."""
    return (
        f'[[upstream]]\nid = "{id or dialect}"\nprovider = "{dialect.title()}"\nmodel = "{model or MODELS[dialect]}"\n'
        f'dialect = "{dialect}"\nbase_url = "{url}"\ntoken = "ROW_TOKEN"\n{more}\n'
    )


@asynccontextmanager
async def over(rows: str, **variables: str) -> AsyncIterator[Gateway]:
    """Run the product over these rows."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "upstreams.toml"
        path.write_text(rows)
        own = {"API_MASTER_KEY": KEY, "ROW_TOKEN": "test-token", "UPSTREAMS_FILE": str(path), "LOCAL_MODEL": "off"}
        settings = read_settings({**own, **variables})
        gate = Gate(settings.max_in_flight)
        app = create_app(settings, gate)
        async with app.router.lifespan_context(app) as state:
            assert state is not None
            yield Gateway(app, state, gate, [])


@asynccontextmanager
async def speaking(dialect: str, turn: Turn, *, model: str = "") -> AsyncIterator[tuple[Loopback, Gateway]]:
    """Run the product over one provider of this dialect, which plays the turn."""
    async with Loopback(WIRES[dialect], turn) as provider, over(row_of(dialect, provider.url, model=model), RETRIES="0") as g:
        yield provider, g


@asynccontextmanager
async def client_of(g: Gateway) -> AsyncIterator[openai.AsyncOpenAI]:
    """The official client, at the edge of the application: what it sends and reads is HTTP without a socket."""

    async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
        await g.app({**scope, "state": dict(g.state)}, receive, send)

    async with (
        httpx2.AsyncClient(transport=httpx2.ASGITransport(with_state)) as http,
        openai.AsyncOpenAI(base_url="http://gateway/v1", api_key=KEY, http_client=http, max_retries=0, timeout=10) as api,
    ):
        yield api
