"""Several processes: one port, signals to all, and workers that crash."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress

from tests.server.clients import eventually, http1
from tests.server.processes import Program, program


async def two_workers(service: Program) -> set[int]:
    """Wait for two workers; return their process ids."""
    assert await service.listening() == await service.listening()
    found: set[int] = set()
    async with asyncio.timeout(10):
        while len(found) < 2:
            found.add(int((await service.get()).body))
    return found


def runs(pid: int) -> bool:
    """Whether a process runs; one that waits to be reaped does not."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_workers_share_a_port_and_drain() -> None:
    """Two workers answer on one port, finish what runs after a signal to the whole group, and end with code 0."""
    async with program(WEB_CONCURRENCY="2", DRAIN_SECONDS="0.5") as service:
        await two_workers(service)
        async with http1(service.port) as client:
            client.get("/stream")
            await client.head()
            service.send_signal_group()
            service.send_signal()
            assert [await client.chunk() for _ in range(3)] == [b"hello", b"sorry", b""]
        assert await service.rest() == (0, ["shut down", "shut down"])


async def test_a_draining_worker_gets_every_connection() -> None:
    """When one of two draining workers is gone, the other gets all connections; when it crashes, its code is the parent's."""
    async with program(WEB_CONCURRENCY="2") as service:
        await two_workers(service)
        async with http1(service.port) as client:
            client.get("/stream")
            await client.head()
            service.send_signal()
            assert await service.line() == "shut down"
            left = {(await service.get()).body for _ in range(20)}
            assert len(left) == 1
            os.kill(int(left.pop()), signal.SIGKILL)
            assert (await service.rest())[0] == 9


async def test_a_crashed_worker_is_replaced() -> None:
    """A worker that is killed is replaced; what waited for it is served by its successor."""
    async with program(WEB_CONCURRENCY="2") as service:
        before = await two_workers(service)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await service.get("/crash")
        assert await service.line() == "a worker ended with code -9 and is replaced"
        await service.listening()
        for _ in range(20):
            assert (await service.get()).status == 200
        assert len(before & {pid for pid in before if runs(pid)}) == 1
        service.send_signal()
        assert (await service.rest())[0] == 0


async def test_crashes_without_end_end_the_service() -> None:
    """After five replacements in a minute the service gives up with code 1."""
    async with program(WEB_CONCURRENCY="2") as service:
        await two_workers(service)
        for _ in range(6):
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                await service.get("/crash")
            if not (await service.line()).endswith("stopping"):
                await service.listening()
        assert (await service.rest())[0] == 1


async def test_workers_that_do_not_start_end_the_service() -> None:
    """When the application does not start, the parent ends with its code, so that the platform sees it."""
    async with program(WEB_CONCURRENCY="2", FAILURE="lifespan") as service:
        code, said = await service.rest()
        assert code == 1
        assert said.count("the application does not start: RuntimeError: no luck") in {1, 2}


async def test_workers_notice_that_their_parent_died() -> None:
    """Workers without a parent drain and end."""
    async with program(WEB_CONCURRENCY="2") as service:
        workers = await two_workers(service)
        os.kill(service.process.pid, signal.SIGKILL)
        await eventually(lambda: not any(runs(pid) for pid in workers))
