"""The lifespan protocol: applications that do not start, do not end, or know nothing of it."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from server.configuration import configuration
from server.listen import StartError, open_listeners
from server.worker import Worker
from settings import Settings
from tests.server.clients import http1
from tests.server.serving import answer, without_lifespan

SETTINGS = Settings(host="127.0.0.1", port=0)


def worker_of(app: ASGIApp) -> tuple[Worker, int]:
    """Return a worker that has not started, and its port."""
    config = configuration(SETTINGS)
    config.startup_timeout = 0.01
    [listener] = open_listeners(SETTINGS, config)
    return Worker(app, config, listener), listener.socket.getsockname()[1]


async def test_an_application_that_does_not_start_in_time_is_an_error() -> None:
    """An application that never says that it has started is a start that failed."""

    async def hangs(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    worker, _ = worker_of(hangs)
    with pytest.raises(StartError, match="startup"):
        await worker.start()


async def test_a_start_may_fail_without_a_reason() -> None:
    """An application that refuses to start, and goes on, is a start that failed."""

    async def refuses(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "lifespan.startup.failed"})

    worker, _ = worker_of(refuses)
    with pytest.raises(StartError, match="no reason given"):
        await worker.start()


async def test_each_request_gets_the_state_of_the_lifespan() -> None:
    """What the application leaves in the state at its start is there for every request, in a copy of its own."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            scope["state"]["word"] = b"hello"
            await without_lifespan(app)(scope, receive, send)
        else:
            await answer(send, scope["state"].pop("word"))

    worker, port = worker_of(app)
    await worker.start()
    async with http1(port) as client:
        for _ in range(2):
            client.get()
            assert (await client.answer()).body == b"hello"
    await worker.stop()


async def test_an_application_without_lifespan_is_served(caplog: pytest.LogCaptureFixture) -> None:
    """An application that knows nothing of the lifespan protocol is served all the same, with a warning."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        await answer(send)

    worker, port = worker_of(app)
    await worker.start()
    async with http1(port) as client:
        client.get()
        assert (await client.answer()).status == 200
    await worker.stop()
    assert "without Lifespan support" in caplog.text


async def test_a_shutdown_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """An application whose own shutdown fails is one line in the log."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.failed", "message": "on purpose"})

    worker, _ = worker_of(app)
    await worker.start()
    await worker.stop()
    assert [record.message for record in caplog.records] == ["Lifespan failure in shutdown. 'on purpose'"]
