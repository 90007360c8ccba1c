"""How a figure comes about: a load on a server, rounds that take turns, the median and how far the rounds lie apart."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from bench.load import Job, Report
from bench.processes import Load, Running
from bench.servers import CHAT

QUESTION = [
    {"role": "system", "content": "You are a helpful assistant that answers briefly."},
    {"role": "user", "content": "Explain in a few sentences why the sky is blue, and why it is red in the evening."},
]

WARM_UP = 0.3
"""Seconds of load before a server is measured for the first time."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One job on one server."""

    report: Report
    processor: float
    """Processor seconds that the server used meanwhile."""

    @property
    def per_second(self) -> float:
        return self.report.whole / self.report.seconds

    @property
    def cost(self) -> float:
        """Processor milliseconds of the server per answer."""
        return 1000 * self.processor / max(1, self.report.whole)

    @property
    def load_share(self) -> float:
        """Part of its own core that the load took."""
        return self.report.processor / self.report.seconds


@dataclass(frozen=True, slots=True)
class Figure:
    """The median of some rounds, and the least and the most of them."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{short(self.value)} ({short(self.low)}–{short(self.high)})"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    what: str
    figure: str
    compared: str = ""
    goal: str = ""
    met: bool | None = None


def figure(values: Sequence[float]) -> Figure:
    return Figure(median(values), min(values), max(values))


def short(value: float) -> str:
    """Write a number with three digits or so."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def ratio(above: Sequence[float], below: Sequence[float]) -> Figure:
    """Return the median ratio of rounds that ran next to each other."""
    return figure([one / other for one, other in zip(above, below, strict=True)])


def ask(server: Running, *, model: str = "rawbot-omnibus", stream: bool = False, **job: Any) -> Job:
    """Return a job that asks a server the usual question."""
    more = job.pop("body", {})
    return Job(url=server.url + CHAT, body={"model": model, "messages": QUESTION, "stream": stream, **more}, **job)


def sample(load: Load, server: Running, job: Job) -> Sample:
    before = server.processor
    report = load.run(job)
    return Sample(report, server.processor - before)


def in_turns(load: Load, contenders: Mapping[str, tuple[Running, Job]], rounds: int) -> dict[str, list[Sample]]:
    """Measure every contender once per round, so that what the machine does meanwhile meets all of them."""
    for _, job in contenders.values():
        load.run(_brief(job))
    samples: dict[str, list[Sample]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, (server, job) in contenders.items():
            samples[name].append(sample(load, server, job))
    return samples


def take(samples: Sequence[Sample], read: Callable[[Sample], float]) -> list[float]:
    return [read(one) for one in samples]


def _brief(job: Job) -> Job:
    return replace(job, seconds=WARM_UP, requests=None)


def watched(run: Callable[[], Report], look: Callable[[], None], every: float = 0.2) -> Report:
    """Run a job and call `look` again and again meanwhile, at least once."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(every):
            look()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        return run()
    finally:
        done.set()
        watcher.join()
        look()
