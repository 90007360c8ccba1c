"""Processes of a measurement: started on a processor of their own, looked at through /proc, ended; Linux only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

from bench.load import Job, Report

ROOT = Path(__file__).parent.parent
START_SECONDS = 60.0
STOP_SECONDS = 10.0
POLL = 0.002

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")

CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE = {CORES[0]}
"""Where the server that is measured runs, alone."""

LOAD_CORE = {CORES[-1]}
"""Where everything else runs: the load, the upstreams, this process. The same one on a machine that has just one."""


class NotStarted(Exception):
    """A process did not come up."""


class Running:
    """A process that serves."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, output: Path, seconds: float) -> None:
        self.url = url
        self.started_in = seconds
        self._process = process
        self._output = output

    @property
    def pids(self) -> list[int]:
        """The process and all beneath it."""
        found = [self._process.pid]
        for pid in found:
            with suppress(OSError):
                for children in Path(f"/proc/{pid}/task").glob("*/children"):
                    found += [int(child) for child in children.read_text().split()]
        return found

    @property
    def processor(self) -> float:
        """Processor seconds that it has used, user and system."""
        total = 0
        for pid in self.pids:
            with suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += int(fields[11]) + int(fields[12])
        return total / _TICKS

    @property
    def memory(self) -> int:
        """Resident bytes; what processes share counts once for each."""
        total = 0
        for pid in self.pids:
            with suppress(OSError):
                total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
        return total

    @property
    def descriptors(self) -> int:
        return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in self.pids)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def output(self) -> str:
        return self._output.read_text(errors="replace")


@contextmanager
def started(
    command: Sequence[str], cores: set[int], variables: Mapping[str, str] | None = None, url: str | None = None
) -> Iterator[Running]:
    """Run a command until the body ends; it is up when it prints `listening on URL`, or when `url` takes connections."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "output"
        began = time.monotonic()
        with output.open("wb") as file:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": folder, **(variables or {})},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                preexec_fn=lambda: os.sched_setaffinity(0, cores),
            )
        try:
            found = _wait_for(process, output, url)
            yield Running(process, found, output, time.monotonic() - began)
        finally:
            _stop(process)


def _wait_for(process: subprocess.Popen[bytes], output: Path, url: str | None) -> str:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        for line in output.read_text(errors="replace").splitlines():
            if line.startswith("listening on "):
                return line.removeprefix("listening on ")
        if url is not None and accepts(url):
            return url
        time.sleep(POLL)
    raise NotStarted(output.read_text(errors="replace")[-2000:] or "it said nothing")


def accepts(url: str) -> bool:
    """Tell whether somebody answers there."""
    import socket
    from urllib.parse import urlsplit

    place = urlsplit(url)
    try:
        socket.create_connection((place.hostname or "", place.port or 80), timeout=1).close()
    except OSError:
        return False
    return True


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Load:
    """The process that makes the load, asked as if it were a function."""

    def __enter__(self) -> Load:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.load"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, LOAD_CORE),
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.terminate()
        self._process.wait()

    def run(self, job: Job) -> Report:
        """Run one job and return when it has ended."""
        return self.run_all(job)[0]

    def run_all(self, *jobs: Job) -> list[Report]:
        """Run jobs side by side."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([asdict(job) for job in jobs]), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise NotStarted("the load ended")
        return [Report(**report) for report in json.loads(line)]
