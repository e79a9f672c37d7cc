"""Refills Redis from the ledger when it comes back empty, by itself: streams, department queues and, through the sweeps, timers.

A marker key says that this Redis has been filled. Whoever finds it missing fills everything again; two at once do no harm.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.errors import TemporaryFailure
from shared.ledger import Ledger, complaints, notices
from shared.queues.contract import Item
from shared.queues.department import DepartmentQueue
from shared.queues.stream import WorkStream

MARKER = "desk:filled"
FILLING = "desk:filling:"
FILL_WITHIN = 3600
LOOK_EVERY = 1.0
PAGE = 1000

log = structlog.get_logger()


class Rebuild:
    """`watch` runs in every router; `now` is what `desk queue rebuild` calls."""

    def __init__(
        self, ledger: Ledger, redis: Redis, received: WorkStream, notified: WorkStream, departments: Mapping[str, DepartmentQueue]
    ) -> None:
        self._ledger = ledger
        self._redis = redis
        self._received = received
        self._notices = notified
        self._departments = departments

    async def watch(self) -> None:
        """Look for the marker every second, for ever; refill when it is gone."""
        while True:
            try:
                if not await self._redis.exists(MARKER):
                    counts = await self.now()
                    log.info("redis.refilled", **counts)
            except (RedisError, TemporaryFailure, OSError) as error:
                log.warning("rebuild.waits", error=type(error).__name__)
            await asyncio.sleep(LOOK_EVERY)

    async def now(self) -> dict[str, int]:
        """Put everything the ledger still wants done into Redis; how many of each. What is there already is not doubled."""
        token = secrets.token_hex(8)
        await self._redis.set(FILLING + token, "1", ex=FILL_WITHIN)
        counts = {"received": await self._refill_received(), "notices": await self._refill_notices(), "work": await self._refill_work()}
        # the token is gone when Redis was emptied meanwhile: then the marker stays away, and we start again
        if await self._redis.getdel(FILLING + token):
            await self._redis.set(MARKER, datetime.now(UTC).isoformat())
        return counts

    async def _refill_received(self) -> int:
        async with self._ledger.read() as tx:
            references = await complaints.undecided(tx, before=datetime.now(UTC), limit=1_000_000)
        await self._received.add(references)
        return len(references)

    async def _refill_notices(self) -> int:
        async with self._ledger.read() as tx:
            keys = await notices.unfinished(tx, before=datetime.now(UTC), limit=1_000_000)
        await self._notices.add(keys)
        return len(keys)

    async def _refill_work(self) -> int:
        total, after = 0, ""
        while True:
            async with self._ledger.read() as tx:
                page = await complaints.open_work(tx, after=after, limit=PAGE)
            if not page:
                return total
            by_department: dict[str, list[Item]] = {}
            for work in page:
                item = Item(reference=work.reference, priority=work.priority, due_at=work.due_by.timestamp())
                by_department.setdefault(work.department, []).append(item)
            for name, items in by_department.items():
                if name in self._departments:
                    await self._departments[name].put(items)
            total, after = total + len(page), page[-1].reference
