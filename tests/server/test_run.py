"""The process: how it starts, drains and ends, with both event loops."""

from __future__ import annotations

import signal
import socket
from time import monotonic

import pytest

from tests.server.clients import eventually, http1, http2
from tests.server.processes import program


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
async def test_an_idle_process_goes_at_once(loop: str, number: signal.Signals) -> None:
    """Where nothing runs, a signal ends the process within a second, with code 0, after the application's shutdown."""
    async with program(loop) as service:
        await service.listening()
        assert (await service.get()).status == 200
        begun = monotonic()
        service.send_signal(number)
        assert await service.rest() == (0, ["shut down"])
        assert monotonic() - begun < 2


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
async def test_what_runs_may_finish(loop: str) -> None:
    """After the signal, repeated and to the whole group, running answers go on, and new chats are told 503.

    The listener stays open, and an idle HTTP/2 client is sent away.
    """
    async with program(loop) as service:
        await service.listening()
        async with http1(service.port) as old, http2(service.port) as client, http2(service.port) as idle:
            assert (await idle.finish(idle.request())).status == 200
            old.get("/stream")
            await old.head()
            assert await old.chunk() == b"hello"
            stream = client.request(b"/stream")
            while not stream.body:
                await client.finish(client.request())
            for _ in range(3):
                service.send_signal_group()
            await eventually(lambda: idle.closed)
            while (await service.get("/chat")).status != 503:
                pass
            assert (await service.get("/release")).status == 200
            assert [await old.chunk(), await old.chunk()] == [b"goodbye", b""]
            assert (await client.finish(stream)).body == b"hellogoodbye"
            service.send_signal_group()
            assert await service.rest() == (0, ["shut down"])


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
async def test_what_does_not_finish_in_time_is_asked_to_end(loop: str) -> None:
    """When the drain time is over, streams end in good order, and the process with them."""
    async with program(loop, DRAIN_SECONDS="0.2") as service:
        await service.listening()
        async with http1(service.port) as client:
            client.get("/stream")
            await client.head()
            service.send_signal()
            assert [await client.chunk() for _ in range(3)] == [b"hello", b"sorry", b""]
        assert await service.rest() == (0, ["shut down"])


@pytest.mark.parametrize("path", ["/deaf", "/block"])
async def test_nothing_holds_the_process(path: str) -> None:
    """A handler that ignores everything, and one that blocks the loop, cannot hold the process; the code is still 0."""
    async with program(DRAIN_SECONDS="0.1") as service:
        await service.listening()
        async with http1(service.port) as client:
            client.get(path)
            await client.head()
            begun = monotonic()
            service.send_signal()
            code, _ = await service.rest()
        assert code == 0
        assert monotonic() - begun < 6


async def test_a_shutdown_that_hangs_is_left() -> None:
    """An application that never finishes its own shutdown does not hold the process."""
    async with program(FAILURE="shutdown") as service:
        await service.listening()
        begun = monotonic()
        service.send_signal()
        code, said = await service.rest()
        assert (code, len(said)) == (0, 1)
        assert monotonic() - begun < 3


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"HOST": "192.0.2.1"}, "cannot listen on 192.0.2.1 port 0: "),
        ({"HOST": "no.such.host.invalid"}, "cannot listen on no.such.host.invalid port 0: "),
        ({"TLS_CERTFILE": "setup.cfg", "TLS_KEYFILE": "setup.cfg"}, "TLS_CERTFILE or TLS_KEYFILE cannot be used: "),
        ({"TLS_CERTFILE": "/none", "TLS_KEYFILE": "/none"}, "TLS_CERTFILE or TLS_KEYFILE cannot be used: No such file"),
        ({"FAILURE": "lifespan"}, "the application does not start: RuntimeError: no luck"),
        ({"FAILURE": "build"}, "FAILURE is set"),
    ],
)
async def test_a_start_that_fails_says_why(variables: dict[str, str], line: str) -> None:
    """A start that fails is one line and code 1."""
    async with program(**variables) as service:
        code, said = await service.rest()
        assert code == 1
        assert len(said) == 1
        assert said[0].startswith(line)


async def test_a_port_in_use_is_not_shared() -> None:
    """A second service does not start on the port of the first, with one worker or with several."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for workers in ("1", "2"):
            async with program(PORT=str(taken.getsockname()[1]), WEB_CONCURRENCY=workers) as service:
                code, said = await service.rest()
                assert code == 1
                assert said[0].endswith("Address already in use")


async def test_ipv6_serves_ipv4_too() -> None:
    """HOST may be an IPv6 address; `::` serves both families."""
    async with program(HOST="::") as service:
        assert (await service.listening()).startswith("http://[::]:")
        assert (await service.get()).status == 200
