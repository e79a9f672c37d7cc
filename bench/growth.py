"""Accept, route and claim with many complaints in the ledger, against an empty one: the desk must not slow down as it grows older.

Both ledgers are measured in turn, each with processes of its own; the ratio of each figure is that of the medians.
"""

from __future__ import annotations

import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import uvloop

from bench.accept import PATH, WARM
from bench.departments import http_pairs, operator_key, stock_of
from bench.figure import Figure, Size, median
from bench.forms import requests
from bench.grown import grown
from bench.load import closed
from bench.watch import until_queued, with_queues
from bench.world import World, until

TARGET = 0.8
MODEL = 64
STEPS = ("accept", "route", "claim + settle")


def measure(size: Size) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="desk-bench-") as folder:
        model = Path(folder) / "model.sqlite3"
        _make_model(model)
        past = grown(model, size.grown_to)
        rates: dict[str, dict[str, list[float]]] = {step: {"empty": [], "grown": []} for step in STEPS}
        for run in range(size.runs):
            for name in ("empty", "grown") if run % 2 else ("grown", "empty"):
                ledger = Path(folder) / "ledger.sqlite3"
                if name == "grown":
                    shutil.copy(past, ledger)
                for step, rate in _rates(ledger, size).items():
                    rates[step][name].append(rate)
                for file in Path(folder).glob("ledger.sqlite3*"):
                    file.unlink()
    return [_figure(step, rates[step], size) for step in STEPS]


def _figure(step: str, rates: dict[str, list[float]], size: Size) -> Figure:
    ratio = median([g / e for g, e in zip(rates["grown"], rates["empty"], strict=True)])
    name = f"{step} with {size.grown_to:,} complaints in the ledger"
    return Figure(part="growth", name=name, value=median(rates["grown"]), unit="/s", beside="empty", ratio=ratio, target=TARGET)


def _make_model(model: Path) -> None:
    with World(("intake", "router"), ledger=f"sqlite+aiosqlite:///{model}") as world:
        uvloop.run(closed(world.address("intake"), islice(requests(PATH), MODEL))).check(202)
        uvloop.run(until_queued(world, MODEL, within=60))
    for log in (f"{model}-wal", f"{model}-shm"):
        Path(log).unlink(missing_ok=True)


def _rates(ledger: Path, size: Size) -> dict[str, float]:
    """One run of all three steps on one ledger. The queues hold the past's open work as well; only what is new is counted."""
    with World(("intake", "router"), ledger=f"sqlite+aiosqlite:///{ledger}") as world:
        waiting = requests(PATH)
        key = uvloop.run(operator_key(world))
        settled = _settled_stock(world)
        _send(world, islice(waiting, WARM), size)
        uvloop.run(until_queued(world, settled + WARM, within=60))
        world.signal("router", signal.SIGSTOP)
        load = uvloop.run(closed(world.address("intake"), islice(waiting, size.complaints), clients=size.clients)).check(202)
        started = time.time()
        world.signal("router", signal.SIGCONT)
        entered = uvloop.run(until_queued(world, settled + WARM + size.complaints, within=300))
        routed = size.complaints / (max(entered.values()) - started)
        pairs = http_pairs(world, key, uvloop.run(with_queues(world, stock_of)), size)
    return {"accept": load.rate, "route": routed, "claim + settle": pairs}


def _settled_stock(world: World) -> int:
    """How much open work of the past the router has refilled the queues with."""
    seen = [-1]

    def settled() -> bool:
        seen.append(sum(uvloop.run(with_queues(world, stock_of)).values()))
        return seen[-1] == seen[-2]

    until(settled, "a refilled queue", every=1.5)
    return seen[-1]


def _send(world: World, waiting: Iterator[bytes], size: Size) -> None:
    uvloop.run(closed(world.address("intake"), waiting, clients=size.clients)).check(202)
