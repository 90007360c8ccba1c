"""A soak: 500 omnibus streams at a time, then minutes of mixed load over faulty upstreams; no answer may be lost.

`python -m bench.soak --seconds 120` ends by itself, prints one table, and exits with 1 where something did not hold: an
answer without an end, an error that is not explained by the upstreams, memory or descriptors that grow.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from statistics import median

from bench.load import Job, Report
from bench.measure import Row, ask, watched
from bench.processes import CORES, Load, Running
from bench.servers import gateway, upstream
from bench.table import print_table

STREAMS = 500
FAULTS = 0.05
TOKENS = 20
RATE = 25.0
PANEL = 3

MAX_GROWTH = 1.10
"""How much more memory the last quarter of the time may need than the second."""

MAX_REFUSED = 0.002
"""Part of the answers that may be errors: all three upstreams fail one in 8,000 requests by chance, their retries aside;
the rest is a breaker that opened by bad luck."""

POOL_SECONDS = 65.0
"""After which the service's idle connections to the upstreams are closed, and with them their descriptors: aiohttp looks
every 30 s for those that have been idle for 30 s."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the service held at one moment."""

    memory: int
    descriptors: int


def main() -> int:
    parser = argparse.ArgumentParser(description="Soak the service.")
    parser.add_argument("--seconds", type=float, default=120.0, help="duration of the mixed load")
    seconds = parser.parse_args().seconds
    rows: list[Row] = []
    with (
        Load() as load,
        upstream(tokens=TOKENS, rate=RATE) as sound,
        upstream(tokens=TOKENS, rate=RATE, faults=FAULTS) as faulty,
    ):
        print(f"{STREAMS} streams at a time …", file=sys.stderr, flush=True)
        with gateway([sound.url] * PANEL, set(CORES)) as service:
            rows += _many_streams(load, service)
        print(f"{seconds:.0f} s of mixed load, then up to {POOL_SECONDS:.0f} s of rest …", file=sys.stderr, flush=True)
        with gateway([faulty.url] * PANEL, set(CORES)) as service:
            rows += _mixed_load(load, service, seconds)
            rows += _complaints(service)
    print_table(rows)
    return 0 if all(row.met is not False for row in rows) else 1


def _many_streams(load: Load, service: Running) -> list[Row]:
    """Half on each protocol, all at a time, each whole to the last token."""
    half = STREAMS // 2
    jobs = [ask(service, stream=True, concurrency=half, requests=half, http2=http2) for http2 in (False, True)]
    reports = load.run_all(*jobs)
    whole, tokens = sum(report.whole for report in reports), sum(report.tokens for report in reports)
    expected = STREAMS * TOKENS * PANEL
    return [
        Row(f"{STREAMS} omnibus streams at a time", f"{whole} whole", "", "all", whole == STREAMS),
        Row("… tokens", f"{tokens:,} of {expected:,}", "", "all", tokens == expected),
    ]


def _mixed_load(load: Load, service: Running, seconds: float) -> list[Row]:
    jobs: list[Job] = []
    for http2 in (False, True):
        jobs += [
            ask(service, stream=True, concurrency=20, seconds=seconds, http2=http2),
            ask(service, concurrency=4, seconds=seconds, http2=http2),
            ask(service, model="m2", stream=True, concurrency=10, seconds=seconds, http2=http2),
            ask(service, stream=True, concurrency=5, seconds=seconds, http2=http2, leave=True),
        ]
    idle = service.descriptors
    looks: list[Look] = []
    reports: list[Report] = []

    def run() -> Report:
        reports.extend(load.run_all(*jobs))
        return reports[0]

    watched(run, lambda: looks.append(Look(service.memory, service.descriptors)), every=1.0)
    return [*_answer_rows(reports), *_growth_rows(looks), _rest_row(service, idle)]


def _answer_rows(reports: list[Report]) -> list[Row]:
    whole, refused, lost, left = (
        sum(counted) for counted in zip(*((r.whole, r.refused, r.lost, len(r.left)) for r in reports), strict=True)
    )
    panels = [report for place, report in enumerate(reports) if place % 4 != 2]
    refused_panels = sum(report.refused for report in panels)
    asked = sum(report.whole + report.refused + len(report.left) for report in panels)
    return [
        Row("answers that came whole", f"{whole:,}"),
        Row("clients that left", f"{left:,}"),
        Row("answers lost", f"{lost}", "", "none", lost == 0),
        Row(
            "panels that failed as a whole",
            f"{refused_panels} of {asked:,}",
            f"each upstream fails {100 * FAULTS:.0f} % of its calls",
            f"≤ {100 * MAX_REFUSED} %",
            refused_panels <= MAX_REFUSED * asked,
        ),
        Row("single models that failed, after a retry", f"{refused - refused_panels}"),
    ]


def _growth_rows(looks: list[Look]) -> list[Row]:
    quarter = max(1, len(looks) // 4)
    second, last = looks[quarter : 2 * quarter] or looks, looks[-quarter:]
    rows = []
    for name, unit, size in (("memory", "MiB", 2**20), ("descriptors", "", 1)):
        before = median(getattr(look, name) for look in second) / size
        after = median(getattr(look, name) for look in last) / size
        flat = after <= before * MAX_GROWTH
        rows.append(Row(f"{name}, second quarter → last", f"{before:.0f} → {after:.0f} {unit}".strip(), "", "flat", flat))
    return rows


def _rest_row(service: Running, idle: int) -> Row:
    """Wait until the pool has closed its idle connections: what is open then was leaked."""
    end = time.monotonic() + POOL_SECONDS
    while service.descriptors > idle and time.monotonic() < end:
        time.sleep(0.5)
    left = service.descriptors
    return Row("descriptors at rest, before → after", f"{idle} → {left}", "", "no more", left <= idle)


def _complaints(service: Running) -> list[Row]:
    """Look for what must never be in the log: a traceback, or a word of asyncio's about a task or a connection."""
    lines = service.output().splitlines()
    bad = [line for line in lines if "Traceback" in line or "never retrieved" in line or "was destroyed" in line]
    return [Row("tracebacks in the log", f"{len(bad)}", bad[0][:80] if bad else "", "none", not bad)]


if __name__ == "__main__":
    sys.exit(main())
