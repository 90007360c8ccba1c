"""HTTP/1.1: framing, pipelining, limits, and clients that leave."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

import pytest
from starlette.types import Receive, Scope, Send

from tests.clock import advance, settle
from tests.server.clients import eventually, http1
from tests.server.serving import BODY, answer, descriptors, read, serving, start, tasks


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, scope["path"].encode())


async def test_a_connection_serves_one_request_after_the_other() -> None:
    """The second request on a connection is answered like the first."""
    async with serving(hello) as server, http1(server.port) as client:
        for path in ("/one", "/two"):
            client.get(path)
            assert (await client.answer()).body == path.encode()


async def test_pipelined_requests_are_answered_in_order() -> None:
    """Requests that are sent at once are answered one by one."""
    async with serving(hello) as server, http1(server.port) as client:
        for number in range(20):
            client.get(f"/{number}")
        assert [(await client.answer()).body for _ in range(20)] == [b"/%d" % number for number in range(20)]


async def test_a_complete_answer_is_one_piece() -> None:
    """Head and body of an answer that is complete leave in one write, with a date and without a server's name."""
    async with serving(hello) as server, http1(server.port) as client:
        client.get()
        raw = await client.reader.read(2**16)
    assert raw.startswith(b"HTTP/1.1 200 \r\n")
    assert raw.endswith(b"\r\n\r\n/")
    assert b"\r\ndate: " in raw
    assert b"server" not in raw


async def stream(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send)
    for piece in (b"first", b"", b"x" * 20):
        await send({**BODY, "body": piece, "more_body": True})
    await send(BODY)


async def test_a_body_without_length_is_chunked() -> None:
    """Each piece is a chunk; an empty piece is none, for it would end the body."""
    async with serving(stream) as server, http1(server.port) as client:
        client.get()
        _, headers = await client.head()
        assert headers["transfer-encoding"] == "chunked"
        assert [await client.chunk() for _ in range(3)] == [b"first", b"x" * 20, b""]


async def test_a_body_without_length_ends_with_the_connection_on_http_1_0() -> None:
    """A client that does not know chunks gets the bare body and the end of the connection."""
    async with serving(stream) as server, http1(server.port) as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        raw = await client.rest()
    assert raw.endswith(b"\r\n\r\nfirst" + b"x" * 20)
    assert b"chunked" not in raw


async def test_head_has_no_body() -> None:
    """An answer to HEAD has the headers of the answer to GET and nothing behind them."""
    async with serving(hello) as server, http1(server.port) as client:
        client.send(b"HEAD / HTTP/1.1\r\nhost: test\r\n\r\n")
        client.get("/next")
        assert (await client.head())[1]["content-length"] == "1"
        assert (await client.answer()).body == b"/next"


async def test_a_request_body_arrives_whole() -> None:
    """A body comes to the application in as many pieces as it likes to read, complete, behind a 100-continue."""
    body = bytes(range(256)) * 4000

    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, await read(receive))

    async with serving(echo) as server, http1(server.port) as client:
        client.send(b"POST / HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(body))
        assert await client.head() == (100, {})
        client.send(body)
        assert (await client.answer()).body == body


async def test_a_body_is_asked_for_when_it_is_read() -> None:
    """100 Continue comes with the application's first `receive`, once, and not with the head of the request."""
    reads = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reads.wait()
        await answer(send, await read(receive))

    async with serving(app) as server, http1(server.port) as client:
        client.send(b"POST / HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n")
        asked = asyncio.ensure_future(client.head())
        await settle()
        assert not asked.done()
        reads.set()
        assert await asked == (100, {})
        client.send(b"bo")
        await settle()
        client.send(b"dy")
        assert (await client.answer()).body == b"body"


async def test_a_body_that_comes_unasked_is_not_asked_for() -> None:
    """A client that does not wait for 100 Continue gets none."""
    come = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await come.wait()
        await answer(send, await read(receive))

    async with serving(app) as server, http1(server.port) as client:
        client.send(b"POST / HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\nbody")
        await settle()
        come.set()
        assert (await client.answer()).body == b"body"


async def waits_until_the_client_leaves(receive: Receive) -> None:
    await read(receive)
    assert (await receive())["type"] == "http.disconnect"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\nhost: test\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: test\r\n\r\nGET / HTTP/1.1\r\nhost: test\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: h2c\r\ncontent-length: 2\r\n\r\n{}",
    ],
    ids=["plain", "pipelined", "upgrade"],
)
@pytest.mark.parametrize("way", ["close", "reset"])
async def test_a_client_that_leaves_is_noticed(request_bytes: bytes, way: str) -> None:
    """The application hears at once that its client left, also behind pipelined bytes or an Upgrade header."""
    running, left = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        running.set()
        await waits_until_the_client_leaves(receive)
        assert (await receive())["type"] == "http.disconnect"
        left.set()

    async with serving(app) as server:
        async with http1(server.port) as client:
            client.send(request_bytes)
            await running.wait()
            if way == "reset":
                client.reset()
        async with asyncio.timeout(5):
            await left.wait()


async def test_writing_to_a_client_that_left_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    """Thousands of pieces for a client that is gone are dropped without a word in the log."""
    left = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await waits_until_the_client_leaves(receive)
        for _ in range(3000):
            await send({**BODY, "body": b"x" * 1000, "more_body": True})
        await send(BODY)
        left.set()

    async def ignorant(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await send({**BODY, "body": b"x", "more_body": True})
        for _ in range(3000):
            await send({**BODY, "body": b"x" * 1000, "more_body": True})
            await asyncio.sleep(0)
        await send(BODY)
        left.set()

    for each in (app, ignorant):
        left.clear()
        async with serving(each) as server, http1(server.port) as client:
            client.get()
            await eventually(lambda: tasks() > 2)
            client.reset()
            async with asyncio.timeout(5):
                await left.wait()
    assert caplog.records == []


async def test_what_is_read_ahead_is_bounded() -> None:
    """A client that pipelines more than 64 KiB behind a running request is closed after its answer, not buffered."""
    go = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await go.wait()
        await answer(send)

    async with serving(app) as server, http1(server.port) as client:
        client.get()
        for _ in range(200):
            client.send(b"GET / HTTP/1.1\r\nhost: test\r\nx: %b\r\n\r\n" % (b"x" * 2000))
            await client.writer.drain()
        await eventually(lambda: client.writer.transport.get_write_buffer_size() == 0)
        await asyncio.sleep(0.05)
        go.set()
        assert (await client.answer()).status == 200
        assert await client.rest() == b""


async def test_a_head_that_is_too_large_is_refused() -> None:
    """A head of 20 KiB is 431, also when it comes in one piece."""
    async with serving(hello) as server, http1(server.port) as client:
        client.get("/", "x: " + "x" * 20_000)
        assert (await client.answer()).status == 431
        assert await client.rest() == b""


@pytest.mark.parametrize(
    "nonsense", [b"nonsense\r\n\r\n", b"GET /\xff HTTP/1.1\r\nhost: test\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\n"]
)
async def test_nonsense_is_refused(nonsense: bytes) -> None:
    """What is not HTTP is 400, and the connection ends; so is the preface of HTTP/2 behind a request."""
    async with serving(hello) as server, http1(server.port) as client:
        client.get()
        client.send(nonsense)
        assert (await client.answer()).status == 200
        assert (await client.answer()).status == 400
        assert await client.rest() == b""


async def test_a_broken_body_ends_the_request() -> None:
    """A chunk that is none is 400, and the application hears that its client is gone."""
    heard = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] == "http.request":
            pass
        heard.set()
        await answer(send)

    async with serving(app) as server, http1(server.port) as client:
        client.send(b"POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n")
        assert (await client.answer()).status == 400
        async with asyncio.timeout(5):
            await heard.wait()


async def test_a_slow_head_is_cut_off() -> None:
    """A head that is not complete 15 s after its first byte is 408."""
    async with serving(hello) as server, http1(server.port) as client:
        client.send(b"GET / HTTP/1.1\r\n")
        await asyncio.sleep(0.05)
        advance(14)
        client.send(b"host: test\r\n")
        await asyncio.sleep(0.05)
        assert not client.reader.at_eof()
        advance(1)
        assert (await client.answer()).status == 408
        assert await client.rest() == b""


async def test_an_idle_connection_is_closed() -> None:
    """A connection without a request is closed after the keep-alive time, before its first request and after it."""
    async with serving(hello) as server, http1(server.port) as fresh, http1(server.port) as used:
        used.get()
        await used.answer()
        await eventually(lambda: len(server.worker.connections) == 2)
        advance(74)
        await asyncio.sleep(0.05)
        assert len(server.worker.connections) == 2
        advance(1.1)
        assert await fresh.rest() == await used.rest() == b""


async def test_websockets_are_answered_as_http() -> None:
    """A request to upgrade to a WebSocket reaches the application as plain HTTP."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, scope["type"].encode(), 404)

    async with serving(app) as server, http1(server.port) as client:
        client.get("/", "connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13", "sec-websocket-key: eA==")
        reply = await client.answer()
        assert (reply.status, reply.body) == (404, b"http")
        client.get()
        assert (await client.answer()).status == 404


async def test_h2c_upgrade_is_ignored() -> None:
    """A request that offers to switch to HTTP/2 is answered on HTTP/1.1, so that no proxy's rules are passed by."""
    async with serving(hello) as server, http1(server.port) as client:
        client.get("/", "connection: upgrade, http2-settings", "upgrade: h2c", "http2-settings: AAMAAABkAAQAAP__")
        assert (await client.answer()).status == 200


async def unread(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, b"too large", 413)


async def test_an_answer_survives_the_body_that_it_refuses() -> None:
    """A client that sends all before it reads gets its early answer, and its connection goes on."""
    async with serving(unread) as server, http1(server.port) as client:
        client.send(b"POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 8000000\r\n\r\n")
        for _ in range(80):
            client.send(b"x" * 100_000)
            await client.writer.drain()
        assert (await client.answer()).status == 413
        client.get()
        assert (await client.answer()).status == 413


async def test_the_last_answer_survives_the_body_that_it_refuses() -> None:
    """A client that wants its connection closed, and sends all before it reads, gets its early answer and then the end."""
    async with serving(unread) as server, http1(server.port) as client:
        client.send(b"POST / HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: 8000000\r\n\r\n")
        client.send(b"x" * 8_000_000)
        await client.writer.drain()
        assert (await client.answer()).status == 413
        assert await client.rest() == b""


async def test_a_refused_body_has_its_time() -> None:
    """A client that never finishes its refused body is closed after five seconds."""
    async with serving(unread) as server, http1(server.port) as client:
        client.send(b"POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 8000000\r\n\r\nxx")
        assert (await client.answer()).status == 413
        advance(5.1)
        assert await client.rest() == b""


async def test_a_refused_body_is_never_asked_for() -> None:
    """A client that waits for 100 Continue gets its refusal in its place, and the connection ends: its body may come or not."""
    async with serving(unread) as server, http1(server.port) as client:
        client.send(b"POST / HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\ncontent-length: 8000000\r\n\r\n")
        reply = await client.answer()
        assert (reply.status, reply.headers["connection"]) == (413, "close")
        assert await client.rest() == b""


@pytest.mark.parametrize("framing", ["content-length: 8000000000", "transfer-encoding: chunked"])
@pytest.mark.parametrize("connection", ["close", "keep-alive"])
async def test_an_upload_that_never_ends_is_stopped(framing: str, connection: str) -> None:
    """A client that goes on with its refused body has its answer at once, and is closed after five seconds of it."""
    async with serving(unread) as server, http1(server.port) as client:
        client.send(f"POST / HTTP/1.1\r\nhost: test\r\nconnection: {connection}\r\n{framing}\r\n\r\n".encode())

        async def upload() -> None:
            with suppress(OSError):
                while True:
                    client.send(b"10000\r\n" + b"x" * 2**16 + b"\r\n")
                    await client.writer.drain()
                    await asyncio.sleep(0)

        uploading = asyncio.ensure_future(upload())
        assert (await client.answer()).status == 413
        await settle()
        assert not uploading.done()
        advance(5.1)
        async with asyncio.timeout(5):
            await uploading
        assert not server.worker.connections


async def test_many_unread_pieces_do_not_block() -> None:
    """An application that answers without reading ends, however many pieces of a body have arrived."""
    arrived = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await arrived.wait()
        await answer(send)

    async with serving(app) as server:
        before = tasks()
        async with http1(server.port) as client:
            client.send(b"POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n")
            for _ in range(20):
                client.send(b"1\r\nx\r\n")
                await asyncio.sleep(0.001)
            arrived.set()
            assert (await client.answer()).status == 200
        await eventually(lambda: tasks() == before)


async def test_a_body_that_nobody_reads_stops_the_client() -> None:
    """A body that the application does not read is not taken from the network without bound."""
    go = asyncio.Event()
    received = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal received
        await go.wait()
        received = len(await read(receive))
        await answer(send)

    async with serving(app) as server, http1(server.port) as client:
        size = 30_000_000
        client.send(b"POST / HTTP/1.1\r\nhost: test\r\ncontent-length: %d\r\n\r\n" % size)
        client.send(b"x" * size)
        await eventually(lambda: client.writer.transport.get_write_buffer_size() < size)
        await asyncio.sleep(0.1)
        assert client.writer.transport.get_write_buffer_size() > size / 2
        go.set()
        assert (await client.answer()).status == 200
        assert received == size


async def test_an_application_that_fails_is_500() -> None:
    """An application that raises before its answer, or says nothing, is 500 to its client."""

    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/head":
            await start(send)
        if scope["path"] != "/silent":
            raise RuntimeError("on purpose")

    async with serving(fails) as server, http1(server.port) as client:
        for path in ("/", "/head", "/silent"):
            client.get(path)
            assert (await client.answer()).status == 500


@pytest.mark.parametrize("length", [None, 2, 9])
async def test_an_answer_that_is_not_finished_is_cut(length: int | None, caplog: pytest.LogCaptureFixture) -> None:
    """An application that fails in mid-answer, or sends another length than announced, ends the connection."""

    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, 200, *([] if length is None else [(b"content-length", b"%d" % length)]))
        await send({**BODY, "body": b"xxx", "more_body": True})
        if length is None:
            raise RuntimeError("on purpose")
        await send(BODY)

    async with serving(fails) as server, http1(server.port) as client:
        client.get()
        raw = await client.rest()
        assert not raw.endswith(b"0\r\n\r\n")
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == ["error in the application"]


async def test_a_message_out_of_order_is_an_error() -> None:
    """A body before its head is the application's error."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(BODY)

    async with serving(app) as server, http1(server.port) as client:
        client.get()
        assert (await client.answer()).status == 500


async def test_a_client_that_never_reads_is_cut() -> None:
    """What a client does not take within 30 s after its connection was closed is dropped, with the connection."""
    gave_up = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        try:
            async with asyncio.timeout(0.2):
                while True:
                    await send({**BODY, "body": b"x" * 1_000_000, "more_body": True})
        except TimeoutError:
            gave_up.set()

    async with serving(app) as server:
        before = descriptors()
        async with http1(server.port) as client:
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport of asyncio has it
            client.get()
            await gave_up.wait()
            await asyncio.sleep(0.05)
            assert descriptors() == before + 2
            advance(30)
            await eventually(lambda: descriptors() == before + 1)


async def test_a_client_that_does_not_read_stops_the_application() -> None:
    """`send` waits for a client that does not read, and goes on when it does."""
    pieces = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal pieces
        await start(send)
        for _ in range(200):
            await send({**BODY, "body": b"x" * 100_000, "more_body": True})
            pieces += 1
        await send(BODY)

    async with serving(app) as server, http1(server.port) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport of asyncio has it
        client.get()
        await eventually(lambda: pieces > 0)
        await asyncio.sleep(0.1)
        assert pieces < 150
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert len((await client.answer()).body) == 20_000_000
