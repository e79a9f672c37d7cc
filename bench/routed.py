"""Complaints a second from the stream `received` to the departments' queues: one router process with nothing else to do.

The router is stopped (SIGSTOP) while intake fills the stream, then let go. The clock runs until the last complaint lies in its queue, by
the time stamps of the queues themselves.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from itertools import islice

import uvloop

from bench.accept import PATH
from bench.figure import Figure, Size, median
from bench.forms import requests
from bench.load import closed
from bench.watch import until_queued
from bench.world import World

TARGET = 1500.0
WARM = 300


def measure(size: Size) -> list[Figure]:
    with World(("intake", "router")) as world:
        waiting = requests(PATH)
        send(world, islice(waiting, WARM), size)
        sent = len(uvloop.run(until_queued(world, WARM, within=60)))
        rates: list[float] = []
        cpu = 0.0
        for _ in range(size.runs):
            world.signal("router", signal.SIGSTOP)
            send(world, islice(waiting, size.complaints), size)
            sent += size.complaints
            used, started = world.cpu_seconds("router"), time.time()
            world.signal("router", signal.SIGCONT)
            entered = uvloop.run(until_queued(world, sent, within=300))
            rates.append(size.complaints / (max(entered.values()) - started))
            cpu += world.cpu_seconds("router") - used
    each = cpu / (size.runs * size.complaints)
    note = f"{each * 1e6:,.0f} us of processor each"
    return [Figure(part="routed", name="decided and queued", value=median(rates), unit="/s", target=TARGET, note=note)]


def send(world: World, waiting: Iterator[bytes], size: Size) -> None:
    uvloop.run(closed(world.address("intake"), waiting, clients=size.clients)).check(202)
