"""Prints rows as a table for people; the numbers are made elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from bench.measure import Row


def print_table(rows: Sequence[Row]) -> None:
    """Print two columns, and what a figure is compared with beneath it where there is something."""
    width = max(len(row.what) for row in rows)
    for row in rows:
        verdict = "" if row.met is None else f"{'met' if row.met else 'MISSED':>8}: {row.goal}"
        goal = f"   goal {row.goal}" if row.met is None and row.goal else verdict
        print(f"{row.what.ljust(width)}  {row.figure}{goal}")
        if row.compared:
            print(f"{'':{width}}    {row.compared}")
