"""How the cost grows: over the width of the panel, over concurrency, and over workers."""

from __future__ import annotations

from contextlib import ExitStack
from statistics import median
from typing import Any

from bench.measure import Row, Sample, ask, figure, in_turns, ratio, short, take
from bench.processes import CORES, Load
from bench.servers import gateway, upstream

WIDTHS = (1, 2, 4, 8, 16)
CONCURRENCY = (1, 4, 16, 64, 256)
ROUNDS = 2
SECONDS = 0.7

STRAIGHT = 1.25
"""How much dearer one more upstream may be in the wide half of the curve than in the narrow one."""


def over_width(load: Load, curves: dict[str, Any]) -> list[Row]:
    """Panels of 1 to 16, not streamed, 16 clients."""
    with ExitStack() as stack:
        provider = stack.enter_context(upstream())
        ours = stack.enter_context(gateway([provider.url] * max(WIDTHS)))
        contenders = {
            str(width): (ours, ask(ours, model=",".join(f"m{n + 1}" for n in range(width)), concurrency=16, seconds=SECONDS))
            for width in WIDTHS
        }
        samples = in_turns(load, contenders, ROUNDS)
    costs = {int(width): median(take(some, lambda one: one.cost)) for width, some in samples.items()}
    curves["width"] = [{"width": width, "milliseconds": cost} for width, cost in costs.items()]
    # From 2 on: a single call needs no task of its own.
    narrow, wide = (costs[8] - costs[2]) / 6, (costs[16] - costs[8]) / 8
    told = ", ".join(f"{width}: {short(cost)}" for width, cost in costs.items())
    each = f"one more costs {short(narrow)} ms up to 8, {short(wide)} ms up to 16"
    return [Row("processor per request over width, ms", told, each, "a straight line", wide <= STRAIGHT * narrow)]


def over_concurrency(load: Load, curves: dict[str, Any]) -> list[Row]:
    """Omnibus of three, not streamed, 1 to 256 clients, both protocols."""
    with ExitStack() as stack:
        provider = stack.enter_context(upstream())
        ours = stack.enter_context(gateway([provider.url] * 3))
        contenders = {
            f"{http} {clients}": (ours, ask(ours, concurrency=clients, seconds=SECONDS, http2=http == "HTTP/2"))
            for http in ("HTTP/1.1", "HTTP/2")
            for clients in CONCURRENCY
        }
        samples = in_turns(load, contenders, ROUNDS)
    rows = []
    for http in ("HTTP/1.1", "HTTP/2"):
        curve = [_point(clients, samples[f"{http} {clients}"]) for clients in CONCURRENCY]
        curves[f"concurrency {http}"] = curve
        told = ", ".join(f"{point['clients']}: {short(point['per_second'])}" for point in curve)
        rows.append(Row(f"fan-out of 3 over clients, req/s, {http}", told))
        told = ", ".join(f"{point['clients']}: {short(point['p50'])}/{short(point['p99'])}" for point in curve)
        rows.append(Row("… p50/p99, ms", told))
    return rows


def _point(clients: int, samples: list[Sample]) -> dict[str, float]:
    return {
        "clients": clients,
        "per_second": median(take(samples, lambda one: one.per_second)),
        "p50": 1000 * median(take(samples, lambda one: one.report.p50 or 0.0)),
        "p99": 1000 * median(take(samples, lambda one: one.report.p99 or 0.0)),
        "milliseconds": median(take(samples, lambda one: one.cost)),
    }


def over_workers(load: Load) -> list[Row]:
    """WEB_CONCURRENCY 1 and 2, both on all cores, which the load and the upstream share with them."""
    with ExitStack() as stack:
        provider = stack.enter_context(upstream())
        contenders = {}
        for workers in (1, 2):
            ours = stack.enter_context(gateway([provider.url] * 3, set(CORES), WEB_CONCURRENCY=str(workers)))
            contenders[str(workers)] = (ours, ask(ours, concurrency=64, seconds=3 * SECONDS))
        samples = in_turns(load, contenders, ROUNDS + 1)
    rates = {name: take(some, lambda one: one.per_second) for name, some in samples.items()}
    costs = {name: take(some, lambda one: one.cost) for name, some in samples.items()}
    part, dearer = ratio(rates["2"], rates["1"]), ratio(costs["1"], costs["2"])
    told = f"{figure(rates['1'])} → {figure(rates['2'])} req/s; per processor second {dearer} ×"
    return [Row("two workers against one, same cores as the load", f"{part} ×", told, "≥ 1.7 × on free cores")]
