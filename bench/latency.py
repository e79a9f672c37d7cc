"""How long a customer and a department wait at 100 complaints a second, all three services on this machine.

Open loop: a request is due at its instant whatever the desk does, and each wait is counted from that instant: to the receipt (HTTP 202),
to the department's queue (the queue's time stamp), to the acknowledgement (the mail relay's time stamp).
"""

from __future__ import annotations

import json

import uvloop

from bench.accept import PATH
from bench.figure import Figure, Size, percentile
from bench.forms import requests
from bench.load import closed, opened
from bench.watch import until_queued
from bench.world import World, until

QUEUED_TARGET = 300.0
TOLD_TARGET = 2000.0
WARM = 200


def measure(size: Size) -> list[Figure]:
    with World() as world:
        waiting = requests(PATH)
        uvloop.run(closed(world.address("intake"), iter([next(waiting) for _ in range(WARM)]))).check(202)
        until(lambda: len(world.ask_peer("taken")) >= WARM, "the first acknowledgements")
        load = uvloop.run(opened(world.address("intake"), waiting, rate=size.steady_rate, seconds=size.steady_seconds)).check(202)
        total = WARM + len(load.answers)
        queued = uvloop.run(until_queued(world, total, within=60))
        until(lambda: len(world.ask_peer("taken")) >= total, "the acknowledgements")
        told = {reference_in(message_id): at for message_id, at in world.ask_peer("taken")}
    due = {json.loads(answer.body)["reference"]: answer.due for answer in load.answers}
    return [
        *rows("receipt", [answer.seconds for answer in load.answers], None, size),
        *rows("in the department's queue", [queued[reference] - at for reference, at in due.items()], QUEUED_TARGET, size),
        *rows("acknowledgement taken by the relay", [told[reference] - at for reference, at in due.items()], TOLD_TARGET, size),
    ]


def reference_in(message_id: str) -> str:
    """The complaint that a letter of ours speaks of."""
    return message_id.partition(".")[0].upper()


def rows(name: str, waits: list[float], target: float | None, size: Size) -> list[Figure]:
    note = f"at {size.steady_rate:,.0f}/s"
    p50, p99 = percentile(waits, 0.50) * 1000, percentile(waits, 0.99) * 1000
    return [
        Figure(part="latency", name=f"{name}, p50", value=p50, unit="ms", note=note),
        Figure(part="latency", name=f"{name}, p99", value=p99, unit="ms", target=target, better="less", note=note),
    ]
