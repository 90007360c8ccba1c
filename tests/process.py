"""The service as it is deployed: `python app.py` in a process of its own, on a port of its choice."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.clock import within

ROOT = Path(__file__).parent.parent
START_SECONDS = 60.0
"""Real seconds; loading the local model takes one or two of them."""

OWN = {"PYTHONPATH": str(ROOT), "LOCAL_MODEL": "off", "HOST": "127.0.0.1", "PORT": "0"}
"""The variables of a service under test; a port that is free, for 8000 may be taken by a service that is used meanwhile."""


def run_to_end(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `python app.py` in `folder`, where it is expected not to start."""
    program = [sys.executable, str(ROOT / "app.py")]
    environment = {**clean_environment(), **OWN, **variables}
    return subprocess.run(program, env=environment, cwd=folder, capture_output=True, text=True, timeout=30)


class Service:
    """A running service."""

    def __init__(self, url: str, process: asyncio.subprocess.Process) -> None:
        self.url = url
        self.process = process
        self.lines: list[str] = []

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])


def clean_environment() -> dict[str, str]:
    """Return what a process needs of this one's variables: to be found, and to be measured while the tests are."""
    return {name: value for name, value in os.environ.items() if name == "PATH" or name.startswith("COVERAGE_")}


@asynccontextmanager
async def served(folder: Path, **variables: str) -> AsyncIterator[Service]:
    """Run the service in `folder` with nothing but these variables; it is stopped as a platform stops it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "app.py"),
        cwd=folder,
        env={**clean_environment(), **OWN, **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    service = Service("", process)
    try:
        with within(START_SECONDS):
            async for line in process.stdout:
                service.lines.append(line.decode().rstrip())
                if service.lines[-1].startswith("listening on "):
                    break
        assert service.lines, "the service printed nothing"
        assert service.lines[-1].startswith("listening on "), service.lines
        service.url = service.lines[-1].removeprefix("listening on ")
        yield service
    finally:
        if process.returncode is None:
            process.terminate()
        service.lines += (await process.stdout.read()).decode().splitlines()
        await process.wait()
    assert process.returncode == 0, service.lines
