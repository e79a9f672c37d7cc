"""Complaints a second the whole way: HTTP, ledger, router, department's queue, and the acknowledgement taken by the mail relay.

All services, Valkey, the relay and the clients share this machine. 32 clients send for some seconds; the clock runs until the relay has the
last acknowledgement.
"""

from __future__ import annotations

import time

import uvloop

from bench.accept import PATH
from bench.figure import Figure, Size
from bench.forms import requests
from bench.load import closed
from bench.watch import until_queued
from bench.world import ALL, World, until

TARGET = 300.0
WARM = 200
LONGER = 4
"""Times as long as the other parts' runs: queues between the services must have time to fill."""


def measure(size: Size) -> list[Figure]:
    with World() as world:
        waiting = requests(PATH)
        uvloop.run(closed(world.address("intake"), iter([next(waiting) for _ in range(WARM)]))).check(202)
        until(lambda: world.ask_peer("counts")["mails"] >= WARM, "the first acknowledgements")
        used = {name: world.cpu_seconds(name) for name in (*ALL, "valkey", "peer")}
        started = time.time()
        load = uvloop.run(closed(world.address("intake"), waiting, clients=size.clients, seconds=size.seconds * LONGER)).check(202)
        count = len(load.answers)
        until(lambda: world.ask_peer("counts")["mails"] >= WARM + count, "the acknowledgements", within=300, every=0.05)
        told = time.time() - started
        queued = max(uvloop.run(until_queued(world, WARM + count, within=120)).values()) - started
        each = {name: (world.cpu_seconds(name) - before) / count * 1e6 for name, before in used.items()}
        doubled = world.ask_peer("counts")["repeated_message_ids"]
    spent = ", ".join(f"{name} {value:,.0f}" for name, value in each.items())
    return [
        Figure(part="end_to_end", name="HTTP to acknowledgement", value=count / told, unit="/s", target=TARGET, note=f"us each: {spent}"),
        Figure(part="end_to_end", name="HTTP to department's queue", value=count / queued, unit="/s"),
        Figure(part="end_to_end", name="HTTP to receipt", value=load.rate, unit="/s"),
        Figure(part="end_to_end", name="mails sent twice", value=len(doubled), unit="", target=0, better="less"),
    ]
