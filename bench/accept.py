"""Durable complaints a second over HTTP: one intake process, SQLite and PostgreSQL, beside a no-op endpoint in the same server.

The runs alternate (no-op, accept, no-op, ...), so that whatever else the machine does touches both alike. A complaint counts when its 202
is here, which is after its commit.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import uvloop

from bench.figure import Figure, Size, median
from bench.forms import requests
from bench.load import Load, closed
from bench.world import World, free_port, module, postgres

PATH = "/api/v1/complaints"
TARGET = 0.40
WARM = 200


def measure(size: Size) -> list[Figure]:
    """Rows for both databases; PostgreSQL's are missing where it is not installed."""
    figures = beside_noop("SQLite", "", size)
    with postgres() as url:
        if url:
            figures += beside_noop("PostgreSQL", url, size)
    return figures


def beside_noop(name: str, ledger: str, size: Size) -> list[Figure]:
    port = free_port()
    with World(("intake",), ledger=ledger) as world, module("bench.noop", port):
        complaints, nothings = requests(PATH), requests("/noop")
        send(world.address("intake"), islice(complaints, WARM), size)
        send(("127.0.0.1", port), islice(nothings, WARM), size)
        accepted: list[float] = []
        noop: list[float] = []
        cpu = world.cpu_seconds("intake")
        for _ in range(size.runs):
            noop.append(send(("127.0.0.1", port), nothings, size).rate)
            accepted.append(send(world.address("intake"), complaints, size).rate)
        each = (world.cpu_seconds("intake") - cpu) / (sum(accepted) * size.seconds)
    ratio = median([a / n for a, n in zip(accepted, noop, strict=True)])
    note = f"{each * 1e6:,.0f} us of processor each, fsync before each receipt"
    return [
        Figure(part="accept", name=f"no-op endpoint, beside {name}", value=median(noop), unit="/s"),
        Figure(
            part="accept",
            name=f"accepted, {name}",
            value=median(accepted),
            unit="/s",
            beside="no-op",
            ratio=ratio,
            target=TARGET,
            note=note,
        ),
    ]


def send(address: tuple[str, int], waiting: Iterator[bytes], size: Size) -> Load:
    return uvloop.run(closed(address, waiting, clients=size.clients, seconds=size.seconds)).check(202)
