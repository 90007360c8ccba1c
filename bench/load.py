"""The load, in a process of its own: runs jobs that it is told line by line on stdin, and reports each on stdout.

A job is a closed loop (so many clients, each asking again when it has its answer) or an open one (so many requests per
second, whatever becomes of them). Jobs of one line run side by side. It measures times; processor time and memory of the
servers are looked up by who started them.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from bench.clients import Client, Heard, Http2, Http11, Request

PATIENCE = 60.0
"""Seconds after which an answer counts as lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to ask of whom; it ends after `seconds`, or after `requests`, whichever is first."""

    url: str
    body: dict[str, Any]
    http2: bool = False
    concurrency: int = 1
    seconds: float = 60.0
    requests: int | None = None
    rate: float | None = None
    """Requests per second of an open loop; None = a closed one."""
    ramp: float = 0.0
    """Seconds over which the clients of a closed loop begin."""
    leave: bool = False
    marks: Sequence[str] = ()
    headers: Sequence[tuple[str, str]] = (("authorization", "Bearer bench-key"),)


@dataclass(slots=True, kw_only=True)
class Report:
    """What became of one job; latencies are in seconds."""

    seconds: float = 0.0
    whole: int = 0
    """Answers with status 200 that came to their end."""
    refused: int = 0
    """Answers with another status that came to their end."""
    lost: int = 0
    """Answers that broke off, or never came."""
    left: list[float] = field(default_factory=list)
    """When clients went away, on the monotonic clock."""
    statuses: dict[str, int] = field(default_factory=dict)
    tokens: int = 0
    p50: float | None = None
    p99: float | None = None
    first_p50: float | None = None
    first_p99: float | None = None
    marks: dict[str, float] = field(default_factory=dict)
    """Text → median time after which it was first seen."""
    processor: float = 0.0
    """Processor seconds of this process."""


class _Run:
    """One job while it runs."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._client: Client = Http2() if job.http2 else Http11()
        body = json.dumps(job.body, separators=(",", ":")).encode() if job.body else b""
        headers = [(name, value) for name, value in job.headers]
        self._request = Request(job.url, body, headers, job.marks, job.leave)
        self._to_ask = job.requests
        self._heard: list[Heard] = []
        self._unconnected = 0
        self._loop = asyncio.get_running_loop()

    async def run(self) -> Report:
        began, processor = time.monotonic(), time.process_time()
        async with asyncio.TaskGroup() as tasks:
            if self._job.rate is None:
                for number in range(self._job.concurrency):
                    tasks.create_task(self._ask_again_and_again(number * self._job.ramp / self._job.concurrency))
            else:
                await self._ask_at_a_rate(tasks, self._job.rate)
        self._client.close()
        return self._report(time.monotonic() - began, time.process_time() - processor)

    async def _ask_again_and_again(self, wait: float) -> None:
        end = self._loop.time() + self._job.seconds
        if wait:
            await asyncio.sleep(wait)
        while self._loop.time() < end and self._take_one():
            await self._ask()

    def _take_one(self) -> bool:
        if self._to_ask is None:
            return True
        self._to_ask -= 1
        return self._to_ask >= 0

    async def _ask_at_a_rate(self, tasks: asyncio.TaskGroup, rate: float) -> None:
        began = self._loop.time()
        asked = 0
        while asked < rate * self._job.seconds:
            due = int((self._loop.time() - began) * rate) + 1
            for _ in range(due - asked):
                tasks.create_task(self._ask())
            asked = max(asked, due)
            await asyncio.sleep(0.002)

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                self._heard.append(await self._client.ask(self._request))
        except (OSError, TimeoutError):
            self._unconnected += 1

    def _report(self, seconds: float, processor: float) -> Report:
        whole = [heard for heard in self._heard if heard.complete and heard.status == 200]
        lost = [heard for heard in self._heard if not heard.complete and heard.left is None]
        report = Report(seconds=seconds, whole=len(whole), lost=len(lost) + self._unconnected, processor=processor)
        report.left = [heard.left for heard in self._heard if heard.left is not None]
        report.refused = len(self._heard) - report.whole - len(lost) - len(report.left)
        for heard in self._heard:
            report.statuses[str(heard.status)] = report.statuses.get(str(heard.status), 0) + 1
        report.tokens = sum(heard.tokens for heard in self._heard)
        report.p50, report.p99 = _percentiles([heard.ended - heard.began for heard in whole if heard.ended is not None])
        firsts = [heard.first - heard.began for heard in self._heard if heard.first is not None]
        report.first_p50, report.first_p99 = _percentiles(firsts)
        for mark in self._job.marks:
            seen = [heard.marks[mark] - heard.began for heard in self._heard if mark in heard.marks]
            if seen:
                report.marks[mark] = median(seen)
        return report


def _percentiles(times: list[float]) -> tuple[float | None, float | None]:
    if not times:
        return None, None
    times.sort()
    return times[len(times) // 2], times[len(times) * 99 // 100]


async def run_jobs(line: str) -> str:
    async with asyncio.TaskGroup() as tasks:
        runs = [tasks.create_task(_Run(Job(**job)).run()) for job in json.loads(line)]
    return json.dumps([asdict(run.result()) for run in runs])


async def main() -> None:
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(await run_jobs(line), flush=True)


if __name__ == "__main__":
    try:
        import uvloop
    except ImportError:
        asyncio.run(main())
    else:
        uvloop.run(main())
