"""What goes wrong around the service: a slow upstream, clients that leave, twice the load that it can take."""

from __future__ import annotations

import json
import time
import urllib.request
from contextlib import ExitStack

from bench.load import Report
from bench.measure import Row, ask, figure, sample, short, watched
from bench.processes import Load, Running
from bench.servers import gateway, upstream

SLOW = 3.0
"""Seconds that the slow upstream takes before its first byte."""

LEAVERS = 40
OVERLOAD_SECONDS = 4.0
STREAM_TOKENS = 500


def slow_upstream(load: Load) -> list[Row]:
    """One of three is slow: when each section begins, by place of the slow one and by order."""
    cases = [("m1,m2,m3", "configured"), ("m1,m2,m3", "strict"), ("m1,m2,m3", "arrival"), ("m2,m1,m3", "configured")]
    marks = {name: f"[Bench ({name})]" for name in ("m1", "m2", "m3")}
    with ExitStack() as stack:
        slow, quick = stack.enter_context(upstream(delay=SLOW)), stack.enter_context(upstream())
        ours = stack.enter_context(gateway([slow.url, quick.url, quick.url]))
        jobs = [
            ask(ours, model=model, stream=True, requests=1, marks=tuple(marks.values()), body={"x_rawbot": {"order": order}})
            for model, order in cases
        ]
        reports = load.run_all(*jobs)
    rows = []
    for (model, order), report in zip(cases, reports, strict=True):
        place = "first" if model.startswith("m1") else "second"
        begins = ", ".join(f"{report.marks[mark]:.2f}" for mark in sorted(marks.values(), key=report.marks.__getitem__))
        words = {"configured": "grace of 1 s", "strict": "no grace", "arrival": "by arrival"}[order]
        first = min(report.marks.values())
        rows.append(
            Row(f"the {place} of three 3 s late, {words}: first byte", f"{first:.3f} s", f"sections begin at {begins} s")
        )
    return rows


def leaving(load: Load) -> list[Row]:
    """From the moment at which a client closes or resets until the last of three upstream sockets is closed."""
    rows = []
    with ExitStack() as stack:
        provider = stack.enter_context(upstream(tokens=STREAM_TOKENS, rate=50))
        ours = stack.enter_context(gateway([provider.url] * 3))
        for http2, http in ((False, "HTTP/1.1"), (True, "HTTP/2")):
            report = load.run(ask(ours, stream=True, requests=LEAVERS, leave=True, http2=http2))
            closed = _closed(provider, len(report.left) * 3)
            last = [max(closed[3 * n : 3 * n + 3]) for n in range(len(closed) // 3)]
            times = figure([1000 * (end - left) for end, left in zip(last, sorted(report.left), strict=True)])
            rows.append(
                Row(f"a client leaves: upstream sockets closed after, {http}", f"{times} ms", f"{len(last)} of {LEAVERS}")
            )
    return rows


def _closed(provider: Running, expected: int) -> list[float]:
    """Return when the upstream saw its streams' sockets close; waits a second for the last of them."""
    closed: list[float] = []
    for _ in range(20):
        with urllib.request.urlopen(f"{provider.url}/left", timeout=5) as answer:
            closed += json.load(answer)
        if len(closed) >= expected:
            break
        time.sleep(0.05)
    return sorted(closed)


def overload(load: Load, *, http2: bool) -> list[Row]:
    """Requests arrive at twice the rate that one core was just seen to answer."""
    with ExitStack() as stack:
        provider = stack.enter_context(upstream())
        ours = stack.enter_context(gateway([provider.url] * 3))
        capacity = sample(load, ours, ask(ours, concurrency=64, seconds=1.5, http2=http2)).per_second
        before = ours.memory
        samples: list[int] = []
        job = ask(ours, rate=2 * capacity, seconds=OVERLOAD_SECONDS, http2=http2)
        report = watched(lambda: load.run(job), lambda: samples.append(ours.memory))
        time.sleep(1.0)  # Thousands of connections are closing.
        after = load.run(ask(ours, concurrency=64, seconds=1.0, http2=http2))
    return _overload_rows(report, capacity, max(samples) - before, after, "HTTP/2" if http2 else "HTTP/1.1")


def _overload_rows(report: Report, capacity: float, grown: int, after: Report, http: str) -> list[Row]:
    goodput = report.whole / report.seconds
    statuses = ", ".join(f"{count} × {status}" for status, count in sorted(report.statuses.items()))
    return [
        Row(
            f"twice the load ({short(2 * capacity)} req/s for {OVERLOAD_SECONDS:.0f} s), {http}: goodput",
            f"{short(goodput)} req/s",
            f"{short(goodput / capacity)} × the capacity; {short(after.whole / after.seconds)} req/s a second later",
        ),
        Row("… p50, p99 of what was answered", f"{report.p50 or 0:.2f} s, {report.p99 or 0:.2f} s", statuses),
        Row("… lost; memory", f"{report.lost}; + {grown / 2**20:.0f} MiB", "", "none lost", report.lost == 0),
    ]
