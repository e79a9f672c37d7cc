"""Claim and settle: what a department's worker does all day, over HTTP, with the Python client, and on the bare queue.

A pair is a claim of one complaint (with its text) and its settlement as done with a resolution, each its own request and its own commit.
Its yardstick is the queue alone, which knows nothing of the ledger.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice

import uvloop

from bench.accept import PATH
from bench.figure import Figure, Size
from bench.forms import requests
from bench.load import Script, closed, scripted
from bench.watch import ready, until_queued, with_queues
from bench.world import World
from shared.client import DeskClient
from shared.ledger import Ledger, accounts
from shared.queues.contract import Done, Settlement
from shared.queues.department import DepartmentQueue

WORKERS = 16
BATCH = 16
LEASE = 300.0
RESOLUTION = {
    "cause": "拣货时漏放一件。",
    "measure": "已补发，顺丰 SF1234567890。",
    "improvement": "同款改为双人复核。",
    "tell_customer": False,
}


def measure(size: Size) -> list[Figure]:
    with World(("intake", "router")) as world:
        key = uvloop.run(operator_key(world))
        sent = 0

        def stock() -> dict[str, int]:
            """Fresh complaints in the queues; how many each department has."""
            nonlocal sent
            before = uvloop.run(with_queues(world, ready))
            uvloop.run(closed(world.address("intake"), islice(requests(PATH, sent), size.complaints))).check(202)
            sent += size.complaints
            uvloop.run(until_queued(world, before + size.complaints, within=300))
            return uvloop.run(with_queues(world, stock_of))

        queue = uvloop.run(with_queues(world, lambda queues: bare(queues, size.complaints // 2)))
        over_http = http_pairs(world, key, stock(), size)
        with_client = uvloop.run(client_pairs(world, key, busiest(stock()), size))
        many = uvloop.run(client_batches(world, key, busiest(stock()), size))
    return [
        Figure(part="departments", name="claim + settle on the bare queue", value=queue, unit="/s"),
        row(f"claim + settle over HTTP, {WORKERS} workers", over_http, queue),
        row(f"claim + settle with DeskClient, {WORKERS} tasks", with_client, queue),
        row(f"claim {BATCH} + settle_many with DeskClient", many, queue),
    ]


def row(name: str, value: float, queue: float) -> Figure:
    return Figure(part="departments", name=name, value=value, unit="/s", beside="bare queue", ratio=value / queue)


async def operator_key(world: World) -> str:
    ledger = Ledger.open(world.ledger_url)
    key_id, key, digest = accounts.new_key()
    made = accounts.ApiKey(id=key_id, name="bench", scope="operator", department="", created_at=datetime.now(UTC))
    async with ledger.write() as tx:
        await accounts.add(tx, made, digest)
    await ledger.close()
    return key


async def stock_of(queues: Sequence[DepartmentQueue]) -> dict[str, int]:
    return {queue.department: (await queue.counts()).ready for queue in queues}


def busiest(stock: dict[str, int]) -> str:
    return max(stock, key=lambda name: stock[name])


async def bare(queues: Sequence[DepartmentQueue], count: int) -> float:
    """Pairs a second of the queue itself, one after the other in as many tasks as there are workers. Uses a queue of its own."""
    from shared.complaint import Priority
    from shared.queues.contract import Item

    queue = DepartmentQueue(queues[0]._redis, "bench-only")  # the same connection
    await queue.put([Item(reference=f"C261122-{n:06d}", priority=Priority.NORMAL, due_at=1_800_000_000.0) for n in range(count)])
    done = 0

    async def work() -> None:
        nonlocal done
        while leases := await queue.claim(1, LEASE, "bench"):
            await queue.settle_many([Settlement(reference=leases[0].reference, token=leases[0].token, outcome=Done())])
            done += 1

    started = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(WORKERS)))
    return done / (time.perf_counter() - started)


def http_pairs(world: World, key: str, stock: dict[str, int], size: Size) -> float:
    """Pairs a second by bare HTTP, the workers spread over the departments as the work is."""
    names = sorted((name for name in stock if stock[name]), key=lambda name: -stock[name])
    pairs = 0

    def worker(department: str) -> Script:
        nonlocal pairs
        while True:
            claim = {"n": 1, "lease_seconds": LEASE, "worker": "bench"}
            status, body = yield posted(f"/api/v1/departments/{department}/claim", key, claim)
            leases = json.loads(body)["leases"] if status == 200 else []
            if not leases:
                return
            lease = leases[0]
            settle = {"token": lease["token"], "outcome": "done", "resolution": RESOLUTION}
            yield posted(f"/api/v1/leases/{lease['reference']}/settle", key, settle)
            pairs += 1

    scripts = [worker(names[n % min(len(names), 4)]) for n in range(WORKERS)]
    load = uvloop.run(scripted(world.address("router"), scripts, seconds=size.seconds)).check(200)
    return pairs / load.seconds


def posted(path: str, key: str, body: object) -> bytes:
    content = json.dumps(body, ensure_ascii=False).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: desk\r\nAuthorization: Bearer {key}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(content)}"
    return head.encode() + b"\r\n\r\n" + content


async def client_pairs(world: World, key: str, department: str, size: Size) -> float:
    done = 0
    host, port = world.address("router")
    async with DeskClient(f"http://{host}:{port}", key, department) as desk:
        until = time.perf_counter() + size.seconds

        async def work() -> None:
            nonlocal done
            while time.perf_counter() < until and (claimed := await desk.claim(1, lease_seconds=LEASE)):
                await claimed[0].done(RESOLUTION["cause"], RESOLUTION["measure"], tell_customer=False)  # type: ignore[arg-type] # texts
                done += 1

        started = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(WORKERS)))
        return done / (time.perf_counter() - started)


async def client_batches(world: World, key: str, department: str, size: Size) -> float:
    from shared.dialogue import Resolve, SettleOne

    done = 0
    host, port = world.address("router")
    async with DeskClient(f"http://{host}:{port}", key, department) as desk:
        until = time.perf_counter() + size.seconds
        resolution = Resolve(cause="拣货时漏放一件。", measure="已补发。", tell_customer=False)
        started = time.perf_counter()
        while time.perf_counter() < until and (claimed := await desk.claim(BATCH, lease_seconds=LEASE)):
            ended = [SettleOne(reference=w.reference, token=w.lease.token, outcome="done", resolution=resolution) for w in claimed]
            done += len((await desk.settle_many(ended)).settled)
        return done / (time.perf_counter() - started)
