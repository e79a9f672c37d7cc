"""Accept, route and claim with many complaints in the ledger, against an empty one: the desk must not slow down as it grows older.

Two desks stand side by side, one with the past and one without, and are measured in turn. The past's file is used where it lies: what the
runs add to it is nothing beside it.
"""

from __future__ import annotations

import secrets
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
NUMBERS = 10**9 - 10**7
"""Forms are numbered from anywhere below: the past's file has seen those of earlier runs."""


def measure(size: Size) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="desk-bench-") as folder:
        model = Path(folder) / "model.sqlite3"
        _make_model(model)
        past = f"sqlite+aiosqlite:///{grown(model, size.grown_to, Path(size.cache)).absolute()}"
    rates: dict[str, dict[str, list[float]]] = {step: {"empty": [], "grown": []} for step in STEPS}
    with World(("intake", "router")) as empty, World(("intake", "router"), ledger=past) as old:
        desks = {"empty": _Desk(empty, size), "grown": _Desk(old, size)}
        for run in range(size.runs):
            for name in sorted(desks, reverse=bool(run % 2)):
                for step, rate in desks[name].rates().items():
                    rates[step][name].append(rate)
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


class _Desk:
    """One of the two: warmed up, and what its queues hold of the past counted."""

    def __init__(self, world: World, size: Size) -> None:
        self._world = world
        self._size = size
        self._forms = requests(PATH, secrets.randbelow(NUMBERS))
        self._key = uvloop.run(operator_key(world))
        _refilled(world)
        _send(world, islice(self._forms, WARM), size)
        _refilled(world)

    def rates(self) -> dict[str, float]:
        """One run of the three steps."""
        world, count = self._world, self._size.complaints
        before = sum(uvloop.run(with_queues(world, stock_of)).values())
        world.signal("router", signal.SIGSTOP)
        load = uvloop.run(closed(world.address("intake"), islice(self._forms, count), clients=self._size.clients)).check(202)
        started = time.time()
        world.signal("router", signal.SIGCONT)
        entered = uvloop.run(until_queued(world, before + count, within=300))
        routed = count / (max(entered.values()) - started)
        pairs = http_pairs(world, self._key, uvloop.run(with_queues(world, stock_of)), self._size)
        return {"accept": load.rate, "route": routed, "claim + settle": pairs}


def _refilled(world: World) -> int:
    """How much lies in the queues once that changes no more: at a start the router puts the past's open work into them."""
    seen = [-1]

    def settled() -> bool:
        seen.append(sum(uvloop.run(with_queues(world, stock_of)).values()))
        return seen[-1] == seen[-2]

    until(settled, "a refilled queue", every=1.5)
    return seen[-1]


def _send(world: World, waiting: Iterator[bytes], size: Size) -> None:
    uvloop.run(closed(world.address("intake"), waiting, clients=size.clients)).check(202)
