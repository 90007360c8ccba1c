"""The product, whole, over loopback providers: configured as a user would, by variables and a file of rows."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from starlette.applications import Starlette

from app import create_app
from gate import Gate
from settings import Settings, read_settings
from tests.asgi import DEADLINE, Exchange
from tests.clock import within
from tests.providers import openai_wire
from tests.providers.loopback import Fault, Loopback, Turn

KEY = "test-master-key"
QUESTION: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}]}


class Gateway:
    """A running application without a server in front: requests are ASGI exchanges."""

    def __init__(self, app: Starlette, state: Mapping[str, Any], gate: Gate, providers: Sequence[Loopback]) -> None:
        self.app = app
        self.state = state
        self.gate = gate
        self.providers = providers

    def exchange(self, body: Any = None, **options: Any) -> Exchange:
        """Return a request that is not yet sent; a body that is no bytes goes as JSON, `chunks` go as they are."""
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        chunks = options.pop("chunks", [b"" if body is None else raw])
        headers = {"authorization": f"Bearer {KEY}", **options.pop("headers", {})}
        return Exchange(self.app, self.state, headers=headers, chunks=chunks, **options)

    async def ask(self, **fields: Any) -> Exchange:
        """Ask and wait for the whole answer."""
        return await self.exchange({**QUESTION, **fields}).run()

    async def get(self, path: str, **options: Any) -> Exchange:
        return await self.exchange(path=path, **{"method": "GET", **options}).run()

    @asynccontextmanager
    async def asking(self, **fields: Any) -> AsyncIterator[Exchange]:
        """Ask, and run the body meanwhile."""
        async with self.running(self.exchange({**QUESTION, **fields})) as exchange:
            yield exchange

    @asynccontextmanager
    async def running(self, exchange: Exchange) -> AsyncIterator[Exchange]:
        """Send a request, and let the body run while the answer comes; its end is awaited."""
        with within(DEADLINE):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(exchange.run())
                yield exchange


def rows_file(urls: Mapping[str, str], more: Mapping[str, str] | None = None) -> str:
    """Return a file of rows, one per model id, that speak OpenAI's dialect; `more` is a line for the row of an id."""
    return "\n".join(
        f'[[upstream]]\nprovider = "Provider {name.upper()}"\nmodel = "{name}"\nbase_url = "{url}"\ntoken = "ROW_TOKEN"\n'
        + (more or {}).get(name, "")
        for name, url in urls.items()
    )


def settings_for(rows: str, folder: str, **variables: str) -> Settings:
    """Return settings whose panel is a file of rows."""
    path = Path(folder) / "upstreams.toml"
    path.write_text(rows)
    return read_settings(
        {"API_MASTER_KEY": KEY, "ROW_TOKEN": "test-token", "UPSTREAMS_FILE": str(path), "LOCAL_MODEL": "off", **variables}
    )


@asynccontextmanager
async def gateway(
    *played: Turn | Fault | str, more: Mapping[str, str] | None = None, **variables: str
) -> AsyncIterator[Gateway]:
    """Run the product over upstreams called a, b, c, …: a provider that plays a turn or a fault, or any other address."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        urls: dict[str, str] = {}
        providers = []
        for name, what in zip("abcdefgh", played, strict=False):
            if isinstance(what, str):
                urls[name] = what
                continue
            provider = await stack.enter_async_context(Loopback(openai_wire, Turn(text=("Hello", " world"))))
            provider.play(what)
            providers.append(provider)
            urls[name] = provider.url
        settings = settings_for(rows_file(urls, more), folder, **variables)
        gate = Gate(settings.max_in_flight)
        app = create_app(settings, gate)
        state = await stack.enter_async_context(app.router.lifespan_context(app))
        assert state is not None
        yield Gateway(app, state, gate, providers)
