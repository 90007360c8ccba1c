"""`make bench`: measures the service and prints one table; what each figure means is in bench/README.md."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench import costs, growth, rest, trouble
from bench.environments import environment, installed, versions
from bench.measure import Row
from bench.processes import CORES, Load
from bench.table import print_table

RESULTS = Path(__file__).parent / "results.json"
PACKAGES = ("starlette", "hypercorn", "aiohttp", "orjson", "h11", "h2", "uvloop")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the service.")
    parser.add_argument("--all", action="store_true", help="measure what takes longer, too")
    parser.add_argument("--only", help="run the parts whose name has this in it; results.json is left alone")
    options = parser.parse_args()
    began = time.monotonic()
    rows: list[Row] = []
    curves: dict[str, Any] = {}
    with Load() as load:
        parts = _parts(load, curves, everything=options.all or options.only is not None)
        parts = [part for part in parts if options.only is None or options.only in part[0]]
        for number, (name, run) in enumerate(parts, 1):
            _progress(f"{number}/{len(parts)} {name} … {time.monotonic() - began:.0f} s")
            rows += run()
    _progress("")
    print_table(rows)
    facts = _facts()
    print(f"\n{time.monotonic() - began:.0f} s; {_machine(facts)}")
    if not options.only:
        results = {"machine": facts, "rows": [asdict(row) for row in rows], **curves}
        RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")


def _parts(load: Load, curves: dict[str, Any], *, everything: bool) -> list[tuple[str, Callable[[], list[Row]]]]:
    old, theirs = environment("original"), environment("litellm")
    parts: list[tuple[str, Callable[[], list[Row]]]] = [
        ("start and memory", rest.start_and_memory),
        ("fan-out", lambda: costs.fan_out(load, old)),
        ("one model", lambda: costs.one_model(load, theirs)),
        ("streams", lambda: costs.streams(load)),
        ("first token", lambda: costs.first_token(load)),
        ("width", lambda: growth.over_width(load, curves)),
        ("concurrency", lambda: growth.over_concurrency(load, curves)),
        ("slow upstream", lambda: trouble.slow_upstream(load)),
        ("leaving clients", lambda: trouble.leaving(load)),
        ("overload", lambda: trouble.overload(load, http2=False)),
        ("open streams", lambda: rest.open_streams(load, http2=False)),
    ]
    if everything:
        parts += [
            ("overload on HTTP/2", lambda: trouble.overload(load, http2=True)),
            ("open streams on HTTP/2", lambda: rest.open_streams(load, http2=True)),
            ("workers", lambda: growth.over_workers(load)),
        ]
    return parts


def _progress(words: str) -> None:
    """Show on a terminal what is being measured, on one line."""
    if sys.stderr.isatty():
        print(f"\r\033[K{words}", end="", file=sys.stderr, flush=True)
    elif words:
        print(words, file=sys.stderr, flush=True)


def _facts() -> dict[str, Any]:
    """Say on what this was measured, without a name of a machine or a place in it."""
    facts: dict[str, Any] = {"cores": len(CORES), "python": platform.python_version(), "system": platform.system()}
    facts["packages"] = {name: version(name) for name in PACKAGES}
    for name, packages in (("original", ("fastapi", "httpx", "uvicorn")), ("litellm", ("litellm",))):
        if installed(name):
            facts["packages"] |= versions(name, packages)
    return facts


def _machine(facts: dict[str, Any]) -> str:
    packages = ", ".join(f"{name} {number}" for name, number in facts["packages"].items())
    return f"{facts['cores']} cores, Python {facts['python']}; {packages}"


if __name__ == "__main__":
    main()
