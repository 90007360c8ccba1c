"""What a request and a token cost: fan-out, one model and streams, against the floor, the original's design and LiteLLM."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from bench.measure import Row, Sample, ask, figure, in_turns, ratio, sample, take
from bench.processes import Load, NotStarted, Running
from bench.servers import floor, gateway, litellm, original, upstream

ROUNDS = 3
SECONDS = 1.2
STREAMS = 20
TOKENS = 80
RATE = 50.0
PANEL = 3

HTTP = {False: "HTTP/1.1", True: "HTTP/2"}


def fan_out(load: Load, programs: Path | None) -> list[Row]:
    """Three upstreams, not streamed, 16 clients."""
    with ExitStack() as stack:
        provider = stack.enter_context(upstream())
        urls = [provider.url] * PANEL
        ours = stack.enter_context(gateway(urls))
        bare = stack.enter_context(floor(urls))
        contenders = {
            "ours": (ours, ask(ours, concurrency=16, seconds=SECONDS)),
            "floor": (bare, ask(bare, concurrency=16, seconds=SECONDS)),
            "ours h2": (ours, ask(ours, concurrency=16, seconds=SECONDS, http2=True)),
            "floor h2": (bare, ask(bare, concurrency=16, seconds=SECONDS, http2=True)),
        }
        if programs is not None:
            for name, pooled in (("original", False), ("pooled", True)):
                old = stack.enter_context(original(programs, urls, pooled=pooled))
                contenders[name] = (old, ask(old, concurrency=16, seconds=SECONDS))
        samples = in_turns(load, contenders, ROUNDS)
    return _fan_out_rows(samples)


def _fan_out_rows(samples: dict[str, list[Sample]]) -> list[Row]:
    rates = {name: take(some, lambda one: one.per_second) for name, some in samples.items()}
    costs = {name: take(some, lambda one: one.cost) for name, some in samples.items()}
    rows = []
    for name, http in (("", "HTTP/1.1"), (" h2", "HTTP/2")):
        rows.append(Row(f"fan-out of 3, c=16, {http}", f"{figure(rates['ours' + name])} req/s"))
        part = ratio(costs["floor" + name], costs["ours" + name])
        rows.append(
            Row(
                f"… processor per request, {http}",
                f"{figure(costs['ours' + name])} ms",
                f"{part} × the floor ({figure(costs['floor' + name])} ms)",
                "≥ 0.9 × the floor",
                part.value >= 0.9,
            )
        )
    part = ratio(rates["ours h2"], rates["ours"])
    rows.append(Row("… HTTP/2 against HTTP/1.1", f"{part} ×", "req/s", "≥ 0.75 ×", part.value >= 0.75))
    for name, words in (("original", "the original's design"), ("pooled", "the same with one shared client")):
        if name in rates:
            part = ratio(rates["ours"], rates[name])
            told = f"{figure(rates[name])} req/s, {figure(costs[name])} ms"
            met = part.value >= 12 if name == "original" else None
            rows.append(Row(f"… against {words}", f"{part} ×", told, "≥ 12 ×" if name == "original" else "", met))
    busiest = max(one.load_share for some in samples.values() for one in some)
    rows.append(Row("… the load itself took at most", f"{100 * busiest:.0f} %", "of its core"))
    return rows


def one_model(load: Load, programs: Path | None) -> list[Row]:
    """One upstream, not streamed, 16 clients and one; streamed, 20 clients."""
    with ExitStack() as stack:
        provider, paced = stack.enter_context(upstream()), stack.enter_context(upstream(tokens=TOKENS, rate=RATE))
        ours = stack.enter_context(gateway([provider.url, paced.url]))
        contenders = {
            "ours": (ours, ask(ours, model="m1", concurrency=16, seconds=SECONDS)),
            "ours alone": (ours, ask(ours, model="m1", seconds=SECONDS / 2)),
        }
        streamed = {"ours": (ours, ask(ours, model="m2", stream=True, concurrency=STREAMS, requests=STREAMS))}
        try:
            if programs is not None:
                theirs = stack.enter_context(litellm(programs, [provider.url, paced.url]))
                contenders["LiteLLM"] = (theirs, ask(theirs, model="m1", concurrency=16, seconds=SECONDS))
                contenders["LiteLLM alone"] = (theirs, ask(theirs, model="m1", seconds=SECONDS / 2))
                streamed["LiteLLM"] = (theirs, ask(theirs, model="m2", stream=True, concurrency=STREAMS, requests=STREAMS))
        except NotStarted as error:
            print(f"LiteLLM does not start, so the comparison with it is left out: {error}")
        samples = in_turns(load, contenders, ROUNDS)
        tokens = {name: [sample(load, *one)] for name, one in streamed.items()}
        started_in = theirs.started_in if "LiteLLM" in contenders else None
        memory = theirs.memory if "LiteLLM" in contenders else None
    return _one_model_rows(samples, tokens) + _litellm_rows(started_in, memory)


def _one_model_rows(samples: dict[str, list[Sample]], tokens: dict[str, list[Sample]]) -> list[Row]:
    rates = {name: take(some, lambda one: one.per_second) for name, some in samples.items()}
    alone = take(samples["ours alone"], lambda one: 1000 * (one.report.p50 or 0.0))
    cost = figure(take(samples["ours"], lambda one: one.cost))
    rows = [
        Row("one model, c=16, HTTP/1.1", f"{figure(rates['ours'])} req/s", f"{cost} ms of processor"),
        Row("one model, p50 at c=1", f"{figure(alone)} ms"),
        Row("one model streamed, processor per token", f"{figure(take(tokens['ours'], _cost_of_token))} µs"),
    ]
    if "LiteLLM" in samples:
        part = ratio(rates["ours"], rates["LiteLLM"])
        theirs = take(samples["LiteLLM alone"], lambda one: 1000 * (one.report.p50 or 0.0))
        rows += [
            Row("… against LiteLLM, c=16", f"{part} ×", f"{figure(rates['LiteLLM'])} req/s", "≥ 10 ×", part.value >= 10),
            Row("… LiteLLM, p50 at c=1", f"{figure(theirs)} ms"),
            Row("… LiteLLM streamed, processor per token", f"{figure(take(tokens['LiteLLM'], _cost_of_token))} µs"),
        ]
    return rows


def _litellm_rows(started_in: float | None, memory: int | None) -> list[Row]:
    if started_in is None or memory is None:
        return []
    return [Row("… LiteLLM, start to ready; memory", f"{started_in:.1f} s; {memory / 2**20:.0f} MiB")]


def streams(load: Load) -> list[Row]:
    """Twenty omnibus streams of 50 tokens per second and upstream."""
    with ExitStack() as stack:
        provider = stack.enter_context(upstream(tokens=TOKENS, rate=RATE))
        urls = [provider.url] * PANEL
        ours, bare = stack.enter_context(gateway(urls)), stack.enter_context(floor(urls))
        contenders = {
            name + http: (server, ask(server, stream=True, concurrency=STREAMS, requests=STREAMS, http2=http2))
            for name, server in (("ours", ours), ("floor", bare))
            for http2, http in HTTP.items()
        }
        samples = in_turns(load, contenders, ROUNDS)
    rows = []
    for http, goal in (("HTTP/1.1", 35), ("HTTP/2", 45)):
        told, relay = (take(samples[name + http], _cost_of_token) for name in ("ours", "floor"))
        cost = figure(told)
        rows.append(
            Row(
                f"omnibus stream, processor per upstream token, {http}",
                f"{cost} µs",
                f"{ratio(told, relay)} × a bare relay ({figure(relay)} µs)",
                f"≤ {goal} µs",
                cost.value <= goal,
            )
        )
    return rows


def _cost_of_token(one: Sample) -> float:
    return 1e6 * one.processor / max(1, one.report.tokens)


def first_token(load: Load) -> list[Row]:
    """How much later the first token comes than straight from an upstream; one client, so that nothing queues."""
    with ExitStack() as stack:
        provider: Running = stack.enter_context(upstream(tokens=3, rate=2000))
        ours = stack.enter_context(gateway([provider.url] * PANEL))
        contenders = {
            "straight": (provider, ask(provider, stream=True, requests=100)),
            "HTTP/1.1": (ours, ask(ours, stream=True, requests=100)),
            "HTTP/2": (ours, ask(ours, stream=True, requests=100, http2=True)),
            "merged": (ours, ask(ours, stream=True, requests=100, body={"x_rawbot": {"order": "arrival"}})),
        }
        samples = in_turns(load, contenders, ROUNDS)
    times = {name: take(some, lambda one: 1000 * (one.report.first_p50 or 0.0)) for name, some in samples.items()}
    rows = []
    for name, words in (("HTTP/1.1", "HTTP/1.1"), ("HTTP/2", "HTTP/2"), ("merged", "order by arrival")):
        added = figure([one - base for one, base in zip(times[name], times["straight"], strict=True)])
        goal = "< 1.5 ms"
        rows.append(Row(f"added until the first token, p50, {words}", f"{added} ms", "", goal, added.value < 1.5))
    return rows
