"""Claims and settlements per second of the department queue, beside what a bare PING costs on the same connection.

    python -m bench.queue [--url redis://...] [--seconds 2]

Without --url a private server is started. Each claim and each settle is one round trip, so a pair can reach at best half the PINGs.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from statistics import median

import uvloop
from redis.asyncio import Redis

from shared.complaint import Priority
from shared.queues.contract import Done, Item, Settlement
from shared.queues.department import DepartmentQueue
from shared.queues.stream import WorkStream
from tests.valkey import private_valkey

BATCH = 16
STOCK = 60_000
TASKS = 16
SLICES = 6


async def rate(step: Callable[[], Awaitable[int]], seconds: float, tasks: int = 1) -> float:
    """Things a second: step returns how many it did."""
    end = time.perf_counter() + seconds
    done = 0

    async def work() -> None:
        nonlocal done
        while time.perf_counter() < end:
            did = await step()  # not in one line with the sum: others add meanwhile
            done += did

    start = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(tasks)))
    return done / (time.perf_counter() - start)


async def figures(redis: Redis, seconds: float) -> list[tuple[str, float, float]]:
    """Rows of (what, things a second, ratio to PING round trips measured in turn with it, since a machine's speed wanders)."""
    queue = DepartmentQueue(redis, "bench")
    stream = WorkStream(redis, "bench", "bench-1")
    ranks = tuple(Priority)
    number = 0

    def items(count: int) -> list[Item]:
        nonlocal number
        number += count
        return [
            Item(reference=f"C261122-{n:06d}", priority=ranks[n % 4], due_at=1_800_000_000.0 + n % 977)
            for n in range(number - count, number)
        ]

    async def ping() -> int:
        await redis.execute_command("PING")
        return 1

    async def put() -> int:
        return await queue.put(items(64))

    async def pair() -> int:
        (lease,) = await queue.claim(1, 30.0, "bench")
        await queue.settle(lease.reference, lease.token, Done())
        return 1

    async def batch() -> int:
        leases = await queue.claim(BATCH, 30.0, "bench")
        await queue.settle_many([Settlement(reference=lease.reference, token=lease.token, outcome=Done()) for lease in leases])
        return len(leases)

    async def cycle() -> int:
        batch_of_64 = [f"C261122-{n:06d}" for n in range(64)]
        await stream.add(batch_of_64)
        entries = await stream.read(64, 1)
        await stream.settle([entry.id for entry in entries])
        return len(entries)

    async def refill() -> None:
        await redis.flushall()
        while (await queue.counts()).ready < STOCK * max(1, round(seconds)):
            await queue.put(items(500))

    rows = [("PING, one task", await rate(ping, seconds), 1.0), (f"PING, {TASKS} tasks", await rate(ping, seconds, TASKS), 1.0)]
    steps = (
        ("put in batches of 64", put, 1),
        ("claim(1) + settle, one task", pair, 1),
        (f"claim(1) + settle, {TASKS} tasks", pair, TASKS),
        (f"claim({BATCH}) + settle_many, one task", batch, 1),
        ("stream: add 64, read, settle", cycle, 1),
    )
    for what, step, tasks in steps:
        await refill()
        slices = [(await rate(step, seconds / SLICES, tasks), await rate(ping, seconds / SLICES, tasks)) for _ in range(SLICES)]
        rows.append((what, median(figure for figure, _ in slices), median(figure / beside for figure, beside in slices)))
    await redis.flushall()
    await queue.aclose()
    return rows


@contextlib.contextmanager
def server(url: str) -> Iterator[str]:
    """The given server, or a private one."""
    if url:
        yield url
        return
    with private_valkey() as valkey:
        yield valkey.url


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Claims and settlements per second, beside bare PINGs. Empties the server it is given.")
    parser.add_argument("--url", default="")
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    with server(options.url) as url:
        async with Redis.from_url(url) as redis:
            for what, figure, ratio in await figures(redis, options.seconds):
                print(f"{what:36} {figure:10,.0f}/s   {ratio:5.2f} of PING")


if __name__ == "__main__":
    uvloop.run(main())
