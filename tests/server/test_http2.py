"""HTTP/2: streams that do not harm each other, flow control, limits, and clients that leave."""

from __future__ import annotations

import asyncio
import socket

import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import GoAwayFrame
from starlette.types import Receive, Scope, Send

from server.http2 import CONTROL_BACKLOG
from server.listen import Listener
from tests.clock import advance
from tests.server.clients import Http2Client, eventually, http2
from tests.server.serving import BODY, answer, read, serving, start, tasks


class Sibling:
    """An application with one path that waits; what happens to other streams must not harm it."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.waiting = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/wait":
            self.waiting.set()
            await self.go.wait()
        await answer(send, scope["path"].encode(), 401 if scope["path"] == "/early" else 200)


async def harmless(client: Http2Client, app: Sibling) -> None:
    """Assert that the stream which waits is still served."""
    app.go.set()
    assert (await client.finish(client.streams[1])).status == 200
    assert not client.goaways


async def with_sibling(client: Http2Client, app: Sibling) -> None:
    client.request(b"/wait")
    await app.waiting.wait()


async def test_data_after_an_early_answer_is_dropped() -> None:
    """A body that goes on after its answer harms no other stream, and its window is given back (hypercorn #329)."""
    app = Sibling()
    async with serving(app) as server, http2(server.port) as client:
        await with_sibling(client, app)
        early = client.request(b"/early", method=b"POST", end=False)
        assert (await client.finish(early)).status == 401
        for _ in range(100):
            await eventually(lambda: client.h2.local_flow_control_window(3) >= 16000)
            client.data(early, b"x" * 16000)
        client.data(early, b"", end=True)
        await harmless(client, app)
        assert early.reset is None


async def test_an_upload_that_never_ends_is_stopped() -> None:
    """A client that sends on for five seconds after its answer is told to stop, without an error."""
    app = Sibling()
    async with serving(app) as server, http2(server.port) as client:
        early = client.request(b"/early", method=b"POST", end=False)
        assert (await client.finish(early)).status == 401
        advance(5.1)
        await eventually(lambda: early.reset is not None)
        assert early.reset == ErrorCodes.NO_ERROR


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [(b"GET", b"/\xff", 400), (b"CONNECT", b"", 501), (b"G\xffT", b"/", 501)],
    ids=["path", "connect", "method"],
)
async def test_a_request_that_cannot_be_expressed_is_refused(method: bytes, path: bytes, status: int) -> None:
    """A path that is not ASCII, and CONNECT, are refused on their own stream."""
    app = Sibling()
    async with serving(app) as server, http2(server.port) as client:
        await with_sibling(client, app)
        assert (await client.finish(client.request(path, method=method))).status == status
        await harmless(client, app)


@pytest.mark.parametrize("headers", [[(b"X-Upper", b"x")], [(b"connection", b"close")]])
async def test_a_malformed_request_is_reset(headers: list[tuple[bytes, bytes]]) -> None:
    """A request that RFC 9113 calls malformed is reset on its own stream."""
    app = Sibling()
    async with serving(app) as server, http2(server.port) as client:
        await with_sibling(client, app)
        client.h2.config.normalize_outbound_headers = False
        assert (await client.finish(client.request(headers=headers))).reset == ErrorCodes.PROTOCOL_ERROR
        client.h2.config.normalize_outbound_headers = True
        await harmless(client, app)


async def test_a_body_of_another_length_is_reset() -> None:
    """A body that is not as long as its content-length says is reset on its own stream."""
    app = Sibling()
    async with serving(app) as server, http2(server.port) as client:
        await with_sibling(client, app)
        wrong = client.request(b"/wait", method=b"POST", headers=[(b"content-length", b"9")], body=b"xx")
        assert (await client.finish(wrong)).reset == ErrorCodes.PROTOCOL_ERROR
        await harmless(client, app)


async def test_priority_is_ignored() -> None:
    """A flood of PRIORITY frames changes nothing."""
    app = Sibling()
    async with serving(app) as server, http2(server.port) as client:
        await with_sibling(client, app)
        for number in range(1100):
            client.h2.prioritize(2 * number + 5, weight=7)
        client.flush()
        assert (await client.finish(client.request())).status == 200
        await harmless(client, app)


async def test_a_large_head_is_refused() -> None:
    """More than 64 KiB of headers are 431 on their own stream."""
    app = Sibling()
    async with serving(app) as server, http2(server.port) as client:
        await with_sibling(client, app)
        large = client.request(headers=[(b"x-%d" % number, b"x" * 1000) for number in range(70)])
        assert (await client.finish(large)).status == 431
        await harmless(client, app)


async def test_a_bomb_of_headers_ends_the_connection() -> None:
    """What is beyond all measure is not even unpacked."""
    app = Sibling()
    async with serving(app) as server, http2(server.port) as client:
        client.request(headers=[(b"x", b"x" * 3000)] * 200)
        await eventually(lambda: client.closed)
        assert client.goaways[0].error_code == ErrorCodes.ENHANCE_YOUR_CALM


async def test_streams_over_the_limit_are_refused() -> None:
    """The 101st stream at a time is refused, so that the client may repeat it; the others run."""
    app = Sibling()
    async with serving(app) as server, http2(server.port) as client:
        client.h2.remote_settings.max_concurrent_streams = 1000
        client.h2.remote_settings.acknowledge()
        streams = [client.request(b"/wait") for _ in range(103)]
        for late in streams[100:]:
            assert (await client.finish(late)).reset == ErrorCodes.REFUSED_STREAM
        app.go.set()
        assert {(await client.finish(stream)).status for stream in streams[:100]} == {200}


async def test_a_connection_serves_more_than_a_thousand_requests() -> None:
    """Request 1,001 of a connection is like the others (hypercorn #241)."""
    app = Sibling()
    async with serving(app) as server, http2(server.port) as client:
        for _ in range(21):
            batch = [client.request() for _ in range(50)]
            assert {(await client.finish(stream)).status for stream in batch} == {200}
        assert not client.goaways


async def test_open_and_reset_in_one_piece_starts_nothing() -> None:
    """Streams whose reset comes with their request start no handler, and harm no other stream (CVE-2023-44487)."""
    app = Sibling()
    async with serving(app) as server, http2(server.port) as client:
        await with_sibling(client, app)
        for number in range(500):
            client.cancel(client.request(b"/\xff" if number % 2 else b"/"))
        assert (await client.finish(client.request())).status == 200
        await harmless(client, app)


async def test_open_and_reset_starts_no_more_than_the_limit() -> None:
    """Handlers hear at once that their stream was reset, and count until they end: a connection has never more than 100."""
    running = told = 0
    go = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal running, told
        running += 1
        await read(receive)
        assert (await receive())["type"] == "http.disconnect"
        told += 1
        await go.wait()

    async with serving(app) as server, http2(server.port) as client:
        streams = [client.request() for _ in range(90)]
        await eventually(lambda: running == 90)
        for stream in streams:
            client.cancel(stream)
        await eventually(lambda: told == 90)
        streams = [client.request() for _ in range(20)]
        for refused in streams[10:]:
            assert (await client.finish(refused)).reset == ErrorCodes.REFUSED_STREAM
        assert running == 100
        go.set()


async def test_the_frame_size_option_has_an_effect() -> None:
    """The client is told the largest frame that the configuration allows, and may send it."""

    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"%d" % len(await read(receive)))

    async with serving(echo, h2_max_inbound_frame_size=2**15) as server, http2(server.port) as client:
        await eventually(lambda: client.h2.max_outbound_frame_size == 2**15)
        stream = await client.finish(client.request(method=b"POST", body=b"x" * 2**15))
        assert stream.body == b"32768"


async def test_a_request_body_arrives_whole() -> None:
    """A body larger than the window arrives complete."""

    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, await read(receive))

    body = bytes(range(256)) * 4000
    async with serving(echo) as server, http2(server.port) as client:
        stream = client.request(method=b"POST", end=False)
        for place in range(0, len(body), 16000):
            await eventually(lambda: client.h2.local_flow_control_window(1) >= 16000)
            client.h2.send_data(1, body[place : place + 16000])
            client.flush()
        client.data(stream, b"", end=True)
        assert (await client.finish(stream)).body == body


async def test_a_body_is_asked_for_when_it_is_read() -> None:
    """A client that waits for 100 is asked for its body when the application reads it, and never when it refuses it."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"" if scope["path"] == "/early" else await read(receive))

    expect = [(b"expect", b"100-continue")]
    async with serving(app) as server, http2(server.port) as client:
        refused = await client.finish(client.request(b"/early", method=b"POST", headers=expect, end=False))
        assert (refused.status, refused.asked) == (200, 0)
        stream = client.request(method=b"POST", headers=expect, end=False)
        await eventually(lambda: stream.asked == 1)
        client.data(stream, b"bo")
        client.data(stream, b"dy", end=True)
        assert (await client.finish(stream)).body == b"body"
        assert stream.asked == 1


async def test_padding_uses_up_no_window() -> None:
    """The room that padding takes is given back, so that a body of padded pieces may be as long as any."""

    async def count(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"%d" % len(await read(receive)))

    async with serving(count) as server, http2(server.port) as client:
        stream = client.request(method=b"POST", end=False)
        for _ in range(1200):
            await eventually(lambda: client.h2.local_flow_control_window(1) >= 257)
            client.h2.send_data(1, b"x", pad_length=255)
            client.flush()
        client.data(stream, b"", end=True)
        assert (await client.finish(stream)).body == b"1200"


async def test_many_unread_pieces_do_not_block() -> None:
    """An application that answers without reading ends, and other streams are served while it does not read."""
    app = Sibling()
    async with serving(app) as server:
        before = tasks()
        async with http2(server.port) as client:
            unread = client.request(b"/wait", method=b"POST", end=False)
            for _ in range(30):
                client.data(unread, b"x")
            assert (await client.finish(client.request())).status == 200
            await harmless(client, app)
        await eventually(lambda: tasks() == before)


class Pusher:
    """An application that sends 100 pieces of 16,000 bytes and counts those that it could send."""

    def __init__(self) -> None:
        self.pieces = 0
        self.ended = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        try:
            for _ in range(100):
                await send({**BODY, "body": b"x" * 16_000, "more_body": True})
                self.pieces += 1
            await send(BODY)
        finally:
            self.ended.set()


async def test_send_waits_for_the_window() -> None:
    """`send` takes no more than the client's window allows, and goes on when it opens."""
    app = Pusher()
    async with serving(app) as server, http2(server.port) as client:
        client.generous = False
        stream = client.request()
        await eventually(lambda: len(stream.body) == 65535)
        assert app.pieces == 4
        client.generous = True
        client.h2.acknowledge_received_data(65535, 1)
        client.flush()
        assert len((await client.finish(stream)).body) == 1_600_000


async def test_a_wider_initial_window_opens_all_streams() -> None:
    """A stream that waits for its window hears of a change of the settings."""
    app = Pusher()
    async with serving(app) as server, http2(server.port) as client:
        client.generous = False
        client.h2.increment_flow_control_window(2**24)
        stream = client.request()
        await eventually(lambda: len(stream.body) == 65535)
        client.h2.update_settings({4: 2**22})
        client.flush()
        assert len((await client.finish(stream)).body) == 1_600_000


@pytest.mark.parametrize("way", ["close", "reset", "cancel"])
async def test_a_client_that_leaves_while_send_waits_is_noticed(way: str) -> None:
    """`send` returns when a client leaves that never opened its window, and no task or connection is left."""
    app = Pusher()
    async with serving(app) as server:
        before = tasks()
        async with http2(server.port) as client:
            client.generous = False
            stream = client.request()
            await eventually(lambda: len(stream.body) == 65535)
            if way == "cancel":
                client.cancel(stream)
            elif way == "reset":
                client.reset()
            else:
                client.writer.close()
            async with asyncio.timeout(5):
                await app.ended.wait()
        await eventually(lambda: tasks() == before)
        assert not server.worker.connections


async def test_an_answer_to_a_client_that_left_returns() -> None:
    """The last `send` of a handler whose client closed the connection returns; nothing leaks."""
    go, done = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await go.wait()
        await answer(send)
        done.set()

    async with serving(app) as server:
        before = tasks()
        async with http2(server.port) as client:
            client.request()
            await eventually(lambda: len(server.worker.connections) == 1)
        await eventually(lambda: not server.worker.connections)
        go.set()
        async with asyncio.timeout(5):
            await done.wait()
        await eventually(lambda: tasks() == before)


async def test_a_connection_whose_last_stream_was_reset_is_idle() -> None:
    """A connection is closed, with GOAWAY, the keep-alive time after its last stream was reset."""
    begun, left = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        await read(receive)
        assert (await receive())["type"] == "http.disconnect"
        left.set()

    async with serving(app) as server, http2(server.port) as client:
        stream = client.request()
        await begun.wait()
        client.cancel(stream)
        async with asyncio.timeout(5):
            await left.wait()
        advance(74)
        await asyncio.sleep(0.05)
        assert not client.closed
        advance(1.1)
        await eventually(lambda: client.closed)
        assert client.goaways[0].error_code == ErrorCodes.NO_ERROR


async def test_a_bare_preface_is_idle() -> None:
    """A connection that never asks anything is closed after the keep-alive time."""
    async with serving(Sibling()) as server, http2(server.port) as client:
        await eventually(lambda: len(server.worker.connections) == 1)
        await asyncio.sleep(0.05)
        advance(75.1)
        await eventually(lambda: client.closed)


async def test_an_answer_that_is_not_finished_is_reset() -> None:
    """An application that fails in mid-answer resets its stream; one that fails before is 500."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/middle":
            await start(send)
            await send({**BODY, "body": b"xxx", "more_body": True})
        raise RuntimeError("on purpose")

    async with serving(app) as server, http2(server.port) as client:
        assert (await client.finish(client.request())).status == 500
        middle = await client.finish(client.request(b"/middle"))
        assert (middle.status, bytes(middle.body), middle.reset) == (200, b"xxx", int(ErrorCodes.INTERNAL_ERROR))
        assert not client.closed


async def test_a_client_that_says_goaway_keeps_its_answers() -> None:
    """GOAWAY from the client ends no answer; the connection closes after the last one."""
    app = Sibling()
    async with serving(app) as server, http2(server.port) as client:
        await with_sibling(client, app)
        client.writer.write(GoAwayFrame(0).serialize())
        assert (await client.finish(client.request())).reset == ErrorCodes.REFUSED_STREAM
        app.go.set()
        assert (await client.finish(client.streams[1])).body == b"/wait"
        await eventually(lambda: client.closed)


async def test_an_idle_client_that_says_goaway_is_closed() -> None:
    """GOAWAY on a connection where nothing runs closes it."""
    async with serving(Sibling()) as server, http2(server.port) as client:
        client.writer.write(GoAwayFrame(0).serialize())
        await eventually(lambda: client.closed)


async def test_the_end_of_the_process_is_announced() -> None:
    """GOAWAY names the last stream that is answered; that one ends, and a later one may be repeated elsewhere."""
    app = Sibling()
    async with serving(app) as server, http2(server.port) as client, http2(server.port) as idle:
        await with_sibling(client, app)
        await eventually(lambda: len(server.worker.connections) == 2)
        async with asyncio.TaskGroup() as group:
            group.create_task(server.stop())
            await eventually(lambda: bool(client.goaways))
            assert (client.goaways[0].last_stream_id, client.goaways[0].error_code) == (1, ErrorCodes.NO_ERROR)
            assert (await client.finish(client.request())).reset == ErrorCodes.REFUSED_STREAM
            app.go.set()
            assert (await client.finish(client.streams[1])).body == b"/wait"
        await eventually(lambda: client.closed and idle.closed)
        assert idle.goaways


async def test_draining_moves_clients_when_nothing_runs() -> None:
    """While the process drains, an idle client is sent away, and a busy one is answered first."""
    app = Sibling()
    async with serving(app) as server, http2(server.port) as busy, http2(server.port) as idle:
        await with_sibling(busy, app)
        await idle.finish(idle.request())
        server.worker.drain()
        await eventually(lambda: idle.closed)
        assert idle.goaways
        assert (await busy.finish(busy.request())).status == 200
        assert not busy.goaways
        app.go.set()
        assert (await busy.finish(busy.streams[1])).status == 200
        await eventually(lambda: busy.closed)
        assert busy.goaways[0].last_stream_id == 3


async def test_a_draining_process_answers_the_first_request_of_a_connection() -> None:
    """While the process drains, a connection that has asked nothing yet, new or old, is answered before it is sent away."""
    async with serving(Sibling()) as server, http2(server.port) as old:
        await eventually(lambda: len(server.worker.connections) == 1)
        server.worker.drain()
        async with http2(server.port) as new:
            for client in (old, new):
                assert (await client.finish(client.request())).status == 200
                await eventually(lambda: client.closed)  # noqa: B023  # it is awaited before the next turn
                assert client.goaways[0].last_stream_id == 1


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x00\x00\x01\x06\x00\x00\x00\x00\x00x", ErrorCodes.FRAME_SIZE_ERROR),
        (b"\x00\x00\x01\x01\x05\x00\x00\x00\x01\xff", ErrorCodes.PROTOCOL_ERROR),
    ],
    ids=["ping", "headers"],
)
async def test_a_protocol_error_ends_the_connection(frame: bytes, code: ErrorCodes) -> None:
    """What is not HTTP/2, and a header block that cannot be unpacked, are answered with GOAWAY."""
    app = Sibling()
    async with serving(app) as server, http2(server.port) as client:
        await with_sibling(client, app)
        client.writer.write(frame)
        await eventually(lambda: client.closed)
        assert client.goaways[0].error_code == code
        app.go.set()


async def test_a_client_that_only_talks_is_not_read() -> None:
    """A client that asks for acknowledgements and does not read them is not served without bound."""
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    small.bind(("127.0.0.1", 0))
    small.setblocking(False)
    async with serving(Sibling(), listener=Listener(small, None)) as server, http2(server.port) as client:
        await eventually(lambda: len(server.worker.connections) == 1)
        [connection] = server.worker.connections
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport of asyncio has it
        client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        ping = b"\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678"
        client.writer.write(ping * 200_000)
        await eventually(lambda: connection.write_buffer_size > 2**16)
        await asyncio.sleep(0.7)
        assert 2**16 < connection.write_buffer_size < 2 * CONTROL_BACKLOG
        client.reset()
