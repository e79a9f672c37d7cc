"""All benchmarks of the desk: `make bench`, `desk bench`, `python -m bench.run [--json] [--only accept,routed] [--long]`.

Each part starts its own processes on loopback and prints each figure with its ratio to a yardstick of the same run. Figures of two
machines, or of a busy and an idle hour, do not compare; ratios do.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module

import msgspec
from rich.console import Console
from rich.table import Table

from bench.figure import LONG, Figure, Size

PARTS = ("accept", "routed", "latency", "end_to_end", "departments", "mailbox", "memory", "growth")

out, err = Console(), Console(stderr=True, soft_wrap=True)


def main(as_json: bool = False, only: Sequence[str] = (), long: bool = False, size: Size | None = None) -> int:
    """Measure and print; the exit status is 1 when a part failed. A missed target is shown, not an error: machines differ."""
    unknown = sorted(set(only) - set(PARTS))
    if unknown:
        err.print(f"desk: There is no part {', '.join(unknown)}. The parts are: {', '.join(PARTS)}.")
        return 2
    chosen = size or (LONG if long else Size())
    figures: list[Figure] = []
    failed: list[str] = []
    for part in (p for p in PARTS if not only or p in only):
        started = time.monotonic()
        measure: Callable[[Size], list[Figure]] = import_module(f"bench.{part}").measure
        try:
            with err.status(f"Measuring {part} ..."):
                figures += measure(chosen)
        except Exception as error:
            failed.append(part)
            err.print(f"[red]{part} failed[/red]: {type(error).__name__}: {error}", markup=True, highlight=False)
        else:
            err.print(f"{part}: {time.monotonic() - started:.0f} s, load {os.getloadavg()[0]:.1f}", highlight=False)
    if as_json:
        sys.stdout.buffer.write(
            msgspec.json.format(msgspec.json.encode({"machine": machine(), "figures": figures, "failed": failed})) + b"\n"
        )
    else:
        out.print(shown(figures))
    return 1 if failed else 0


def machine() -> dict[str, str | int | float]:
    """What the figures were measured on."""
    return {
        "processors": os.cpu_count() or 0,
        "system": platform.platform(),
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
    }


def shown(figures: Sequence[Figure]) -> Table:
    """The table for people."""
    table = Table(title=f"{os.cpu_count()} processors, Python {platform.python_version()}", title_justify="left")
    for name, justify in (("", "left"), ("", "left"), ("figure", "right"), ("ratio", "right"), ("target", "right"), ("", "left")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type] # the two words that rich takes
    part = ""
    for figure in figures:
        if part and figure.part != part:
            table.add_section()
        sign = {True: "[green]met[/green]", False: "[red]missed[/red]", None: ""}[figure.met]
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f} of {figure.beside}"
        target = "" if figure.target is None else f"{'≥' if figure.better == 'more' else '≤'} {figure.target:,g} {sign}"
        table.add_row(
            "" if figure.part == part else figure.part, figure.name, f"{number(figure.value)} {figure.unit}", ratio, target, figure.note
        )
        part = figure.part
    return table


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure the desk on this machine.")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--only", default="", help=f"comma-separated parts: {', '.join(PARTS)}")
    parser.add_argument("--long", action="store_true", help="100,000 complaints for memory, 1,000,000 for growth")
    given = parser.parse_args()
    raise SystemExit(main(as_json=given.json, only=[part for part in given.only.split(",") if part], long=given.long))
