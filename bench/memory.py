"""Memory of each service process: at rest, and after many complaints went through. It must not grow with them."""

from __future__ import annotations

from itertools import islice

import uvloop

from bench.accept import PATH
from bench.figure import Figure, Size
from bench.forms import requests
from bench.load import closed
from bench.watch import until_queued
from bench.world import ALL, World, until

AT_REST_TARGET = 120.0
FLAT = 1.15
STEPS = 2


def measure(size: Size) -> list[Figure]:
    """After half of the complaints caches and pools are filled; from there on to the end it must stay flat."""
    with World() as world:
        at_rest = {name: world.resident_mb(name) for name in ALL}
        waiting = requests(PATH)
        seen: list[dict[str, float]] = []
        for step in range(1, STEPS + 1):
            uvloop.run(closed(world.address("intake"), islice(waiting, size.flat_after // STEPS), clients=size.clients)).check(202)
            sent = step * (size.flat_after // STEPS)
            until(lambda sent=sent: world.ask_peer("counts")["mails"] >= sent, "the acknowledgements", within=3600, every=0.2)  # type: ignore[misc]
            uvloop.run(until_queued(world, sent, within=600))
            seen.append({name: world.resident_mb(name) for name in ALL})
    figures = [
        Figure(part="memory", name=f"{name} at rest", value=mb, unit="MB", target=AT_REST_TARGET, better="less")
        for name, mb in at_rest.items()
    ]
    half, whole = seen
    for name in ALL:
        grown = whole[name] / half[name]
        note = f"{half[name]:,.0f} MB after the first half"
        figures.append(
            Figure(
                part="memory",
                name=f"{name} after {size.flat_after:,} complaints",
                value=whole[name],
                unit="MB",
                beside="the first half",
                ratio=grown,
                target=FLAT,
                better="less",
                note=note,
            )
        )
    return figures
