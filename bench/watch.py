"""Looks at what the desk has done, from outside: department queues and the ledger."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from redis.asyncio import Redis
from sqlalchemy import text

from bench.world import World
from shared.ledger import Ledger
from shared.policy import load
from shared.queues.contract import Place
from shared.queues.department import DepartmentQueue

PAGE = 1000
T = TypeVar("T")


async def with_queues(world: World, work: Callable[[list[DepartmentQueue]], Awaitable[T]]) -> T:
    """Run something on all department queues of the shipped policy."""
    async with Redis.from_url(world.redis_url) as redis:
        return await work([DepartmentQueue(redis, name) for name in load(None).departments])


async def ready(queues: list[DepartmentQueue]) -> int:
    """How many items can be claimed now."""
    return sum([(await queue.counts()).ready for queue in queues])


async def until_queued(world: World, count: int, *, within: float) -> dict[str, float]:
    """Wait until so many complaints lie in the queues; reference -> epoch seconds when each entered its queue."""

    async def look(queues: list[DepartmentQueue]) -> dict[str, float]:
        give_up_at = time.monotonic() + within
        while (found := await ready(queues)) < count:
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"Only {found:,} of {count:,} complaints reached their queues within {within:.0f} s")
            await asyncio.sleep(0.05)
        entered: dict[str, float] = {}
        for queue in queues:
            at = 0
            while page := await queue.entries(Place.READY, PAGE, at):
                entered |= {entry.reference: entry.enqueued_at for entry in page}
                at += len(page)
        return entered

    return await with_queues(world, look)


async def count(world: World, statement: str) -> int:
    """The number that one SELECT count(*) of the ledger gives."""
    ledger = Ledger.open(world.ledger_url)
    try:
        async with ledger.read() as tx:
            return int((await tx.execute(text(statement))).scalar_one())
    finally:
        await ledger.close()
