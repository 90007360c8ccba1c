"""Starts `tests.server.program` as a process, and speaks with it from outside."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from tests.process import ROOT, clean_environment
from tests.server.clients import PATIENCE, Answer, http1


@dataclass
class Program:
    """A process, in a group of its own."""

    process: asyncio.subprocess.Process
    port: int = 0

    async def line(self) -> str:
        """Read one line of its output; empty at the end."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            return (await self.process.stdout.readline()).decode().rstrip()

    async def listening(self) -> str:
        """Wait until it listens; return the address."""
        line = await self.line()
        assert line.startswith("listening on "), line
        self.port = int(line.rpartition(":")[2])
        return line.removeprefix("listening on ")

    async def rest(self) -> tuple[int, list[str]]:
        """Wait for the end; return the exit code and what was said on both outputs until then."""
        async with asyncio.timeout(PATIENCE):
            said, _ = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, said.decode().splitlines()

    def send_signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def send_signal_group(self, number: signal.Signals = signal.SIGTERM) -> None:
        os.killpg(self.process.pid, number)

    async def get(self, path: str = "/") -> Answer:
        """Ask once, on a connection of its own."""
        async with http1(self.port) as client:
            client.get(path, "connection: close")
            return await client.answer()


@asynccontextmanager
async def program(*arguments: str, **variables: str) -> AsyncIterator[Program]:
    """Start the program with these variables; it is killed at the end, if it still runs."""
    environment = {**clean_environment(), "PORT": "0", "HOST": "127.0.0.1", **variables}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.server.program", *arguments),
        cwd=ROOT,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield Program(process)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.communicate()
