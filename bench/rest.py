"""What the service takes before it does anything, and what it takes for streams that are merely open."""

from __future__ import annotations

import time

from bench.measure import Row, ask, figure, short, watched
from bench.processes import Load
from bench.servers import gateway, upstream

STARTS = 5
STREAMS = 1000
SLOW = 0.4
"""Tokens per second: the streams are to be open, not busy."""

SLOW_TOKENS = 4

RAMP = 4.0
"""Seconds over which they are opened."""


def start_and_memory() -> list[Row]:
    """From the start of the process until it listens; then what it holds."""
    times, memory = [], []
    for _ in range(STARTS):
        with gateway(["http://127.0.0.1:9"] * 3) as ours:
            times.append(ours.started_in)
            time.sleep(0.1)
            memory.append(ours.memory / 2**20)
    ready, idle = figure(times), figure(memory)
    return [
        Row("start to ready", f"{ready} s", "", "≤ 0.7 s", ready.value <= 0.7),
        Row("idle memory, all processes", f"{idle} MiB", "", "≤ 60 MB", idle.value <= 60e6 / 2**20),
    ]


def open_streams(load: Load, *, http2: bool) -> list[Row]:
    """A thousand omnibus streams at a time on one worker."""
    held: list[int] = []
    with upstream(tokens=SLOW_TOKENS, rate=SLOW) as provider, gateway([provider.url] * 3) as ours:
        # Some answers first: what is made once is not the streams'.
        load.run(ask(ours, requests=10))
        before = ours.memory
        job = ask(ours, stream=True, concurrency=STREAMS, requests=STREAMS, ramp=RAMP, http2=http2)
        report = watched(lambda: load.run(job), lambda: held.append(ours.memory - before))
    each = max(held) / STREAMS / 1024
    errors = report.lost + report.refused
    what = f"memory per open stream, 1,000 open, {'HTTP/2' if http2 else 'HTTP/1.1'}"
    told = f"{report.whole} whole, {errors} lost or refused"
    return [Row(what, f"{short(each)} KiB", told, "≤ 60 KB, no error", each * 1024 <= 60_000 and errors == 0)]
