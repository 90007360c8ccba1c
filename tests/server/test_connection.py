"""Connections below the protocols: TLS, closing, descriptors, and the end of the process."""

from __future__ import annotations

import asyncio
import logging
import socket
from importlib.metadata import version

import pytest
from starlette.types import Receive, Scope, Send

from server.configuration import configuration
from server.listen import StartError, open_listeners
from server.run import HYPERCORN, warn_of_hypercorn
from server.worker import CLOSE_GRACE, LAST_CALL
from settings import Settings
from tests.clock import advance
from tests.server.clients import eventually, http1, http2
from tests.server.conftest import Certificates
from tests.server.serving import BODY, answer, descriptors, serving, start, tasks


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, f"{scope['scheme']} {scope['http_version']}".encode())


async def test_alpn_chooses_the_protocol(certificates: Certificates) -> None:
    """Over TLS a client gets HTTP/2 when it offers it, and else HTTP/1.1."""
    async with serving(hello, certfile=certificates.certfile, keyfile=certificates.keyfile) as server:
        async with http2(server.port, certificates.client("h2", "http/1.1")) as client:
            assert (await client.finish(client.request())).body == b"https 2"
        for protocols in ((), ("http/1.1",)):
            async with http1(server.port, certificates.client(*protocols)) as old:
                old.get()
                assert (await old.answer()).body == b"https 1.1"


async def test_a_tls_peer_that_says_no_farewell_holds_nothing(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that does not answer close_notify is cut two seconds into the end of the process, silently (hypercorn #202)."""
    async with (
        serving(hello, certfile=certificates.certfile, keyfile=certificates.keyfile) as server,
        http1(server.port, certificates.client()) as client,
        asyncio.TaskGroup() as group,
    ):
        client.get()
        await client.answer()
        before = descriptors()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport of asyncio has it
        stopping = group.create_task(server.stop())
        await asyncio.sleep(0.05)
        advance(LAST_CALL)
        await asyncio.sleep(0.05)
        assert not stopping.done()
        advance(CLOSE_GRACE)
        await stopping
        # Two less: the listener and this connection.
        assert descriptors() == before - 2
        client.writer.transport.abort()
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_closed_connection_keeps_nothing() -> None:
    """Connections that their clients close, before a request or after it, keep no descriptor and no task."""
    async with serving(hello) as server:
        tasks_before, descriptors_before = tasks(), descriptors()
        for _ in range(20):
            async with http1(server.port) as probe, http1(server.port) as client:
                client.get()
                await client.answer()
                assert probe.reader is not client.reader
        await eventually(lambda: (tasks(), descriptors()) == (tasks_before, descriptors_before))


async def test_a_handler_that_goes_on_keeps_no_descriptor() -> None:
    """A client's descriptor is closed when it leaves, although its handler still works."""
    go, begun = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        await go.wait()
        await answer(send)

    async with serving(app) as server:
        before = descriptors()
        async with http1(server.port) as client:
            client.get()
            await begun.wait()
        await eventually(lambda: descriptors() == before)
        go.set()


async def test_the_next_answer_of_a_draining_process_is_the_last() -> None:
    """While the process drains, answers on HTTP/1.1 carry `connection: close`, and an idle connection stays until it asks."""
    async with serving(hello) as server, http1(server.port) as client:
        client.get()
        assert "connection" not in (await client.answer()).headers
        server.worker.drain()
        client.get()
        assert (await client.answer()).headers["connection"] == "close"
        assert await client.rest() == b""


async def test_a_request_that_meets_the_end_is_answered() -> None:
    """When the listener has closed, a request that was under way is still answered, on a new connection and on a used one."""
    async with serving(hello) as server, http1(server.port) as fresh, http1(server.port) as used:
        used.get()
        await used.answer()
        await eventually(lambda: len(server.worker.connections) == 2)
        async with asyncio.TaskGroup() as group:
            group.create_task(server.stop())
            await eventually(lambda: server.worker.context.draining)
            for client in (fresh, used):
                client.get()
                assert (await client.answer()).headers["connection"] == "close"


async def test_the_end_of_the_process_lets_running_answers_end() -> None:
    """When the process ends, idle connections close at once, and running ones after their answer; new ones are refused."""
    go, begun = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, 200, (b"content-length", b"4"))
        await send({**BODY, "body": b"xx", "more_body": True})
        begun.set()
        await go.wait()
        await send({**BODY, "body": b"xx"})

    async with serving(app) as server, http1(server.port) as idle, http1(server.port) as busy:
        busy.get()
        await begun.wait()
        async with asyncio.TaskGroup() as group:
            group.create_task(server.stop())
            assert await idle.rest() == b""
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", server.port)
            go.set()
            assert (await busy.answer()).body == b"xxxx"
        assert await busy.rest() == b""


async def test_what_does_not_end_is_cut() -> None:
    """A handler that goes on at the end of the process is cancelled."""
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with serving(app) as server, http1(server.port) as client, asyncio.TaskGroup() as group:
        client.get()
        await begun.wait()
        group.create_task(server.stop())
        await asyncio.sleep(0.05)
        advance(LAST_CALL)
        await asyncio.sleep(0.05)
        advance(CLOSE_GRACE)
        async with asyncio.timeout(5):
            await cancelled.wait()


async def test_small_pieces_are_not_held_back() -> None:
    """Nagle's algorithm is off on the connections that are accepted."""
    settings = Settings(port=0, host="127.0.0.1")
    listeners = open_listeners(settings, configuration(settings), 2)
    assert all(one.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for one in listeners)
    assert listeners[0].url == listeners[1].url
    listeners[0].socket.listen()
    with pytest.raises(StartError, match="cannot listen on"):
        open_listeners(Settings(port=listeners[0].socket.getsockname()[1], host="127.0.0.1"), configuration(settings), 2)
    for one in listeners:
        one.socket.close()


def test_a_hypercorn_that_nobody_checked_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """With another hypercorn than the one that was checked the start is one line longer."""
    warn_of_hypercorn(version("hypercorn"))
    assert not caplog.records
    warn_of_hypercorn("0.19.0")
    assert caplog.messages == [f"hypercorn 0.19.0 is installed, but server/ was checked with {HYPERCORN}: run its tests"]
