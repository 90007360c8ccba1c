"""`make bench-plot`: draws bench/results.json as bench/results.svg; it measures nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl  # type: ignore[import-not-found,unused-ignore]
from matplotlib.figure import Figure  # type: ignore[import-not-found,unused-ignore]

HERE = Path(__file__).parent
GREY = "#808080"
"""Readable on white and on black alike, as are the two colours."""

COLOURS = {"HTTP/1.1": "#2f81f7", "HTTP/2": "#d9822b"}


def main() -> None:
    results = json.loads((HERE / "results.json").read_text())
    # Text stays text, in whatever sans-serif font the reader has; the hash makes equal results equal files.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "bench", "font.family": "sans-serif", "font.size": 9})
    for name in ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"):
        mpl.rcParams[name] = GREY
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    throughput, latency, width = figure.subplots(1, 3)
    _draw_concurrency(throughput, results, "per_second", "requests per second")
    _draw_concurrency(latency, results, "p50", "p50 and p99 (dashed), ms")
    _draw_width(width, results)
    for axes in (throughput, latency, width):
        axes.patch.set_alpha(0)
        axes.grid(color=GREY, alpha=0.25, linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(HERE / "results.svg", transparent=True, metadata={"Date": None, "Creator": None})


def _draw_concurrency(axes: Any, results: Any, value: str, label: str) -> None:
    for http, colour in COLOURS.items():
        points = results[f"concurrency {http}"]
        clients = [point["clients"] for point in points]
        axes.plot(clients, [point[value] for point in points], marker="o", markersize=3, color=colour, label=http)
        if value == "p50":
            axes.plot(clients, [point["p99"] for point in points], linestyle="--", linewidth=1, color=colour)
    axes.set_xscale("log", base=2)
    axes.set_xticks(clients, [str(number) for number in clients])
    axes.set(title="fan-out of 3", xlabel="clients at a time", ylabel=label)
    if value == "p50":
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False)


def _draw_width(axes: Any, results: Any) -> None:
    points = results["width"]
    widths = [point["width"] for point in points]
    axes.plot(widths, [point["milliseconds"] for point in points], marker="o", markersize=3, color=COLOURS["HTTP/1.1"])
    axes.set_xticks(widths)
    axes.set_ylim(bottom=0)
    axes.set(title="width of the panel", xlabel="upstreams asked", ylabel="processor per request, ms")


if __name__ == "__main__":
    main()
