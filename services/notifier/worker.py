"""The notifier's loops: notices from the stream go out in batches; arq wakes the retries; a sweep finds what was missed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from arq import cron, func
from arq.connections import ArqRedis
from redis.exceptions import RedisError

from services.notifier.deliver import Deliver
from services.process import Desk
from services.timers import open_pool, run_timers
from shared.errors import TemporaryFailure
from shared.ledger import notices

BATCH = 64
IN_HAND = 4
"""Batches under way at once: while one waits for a slow peer the others go on."""
QUEUE = "desk:{notifier}:timers"
MISSED_AFTER = timedelta(seconds=5)

log = structlog.get_logger()


class Notifier:
    """Feeds Deliver from the stream, from arq's timers and from the ledger's sweep."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._pool: ArqRedis | None = None
        self._postponed: list[tuple[str, datetime]] = []

    def later(self, key: str, at: datetime) -> None:
        """Remember to wake up for a retry; arq is told by the timers' loop, the ledger's row stands behind it."""
        self._postponed.append((key, at))

    async def tell(self, deliver: Deliver) -> None:
        """Take batches from the stream until cancelled; what is in hand then is finished first."""
        slots = asyncio.Semaphore(IN_HAND)
        running: set[asyncio.Task[None]] = set()
        try:
            await self._resume(deliver)
            while True:
                await slots.acquire()
                entries = await self._desk.notices.read(BATCH, 1000)
                if not entries:
                    slots.release()
                    continue
                task = asyncio.create_task(self._batch(deliver, [e.key for e in entries], [e.id for e in entries], slots))
                running.add(task)
                task.add_done_callback(running.discard)
        finally:
            await asyncio.gather(*running, return_exceptions=True)

    async def _resume(self, deliver: Deliver) -> None:
        try:
            if found := await deliver.resume():
                log.info("tell.resumes", cut_off=found)
        except TemporaryFailure as error:
            log.warning("tell.waits", error=error.message)  # the leases of what was in hand run out by themselves

    async def _batch(self, deliver: Deliver, keys: list[str], ids: list[str], slots: asyncio.Semaphore) -> None:
        try:
            await deliver.batch(keys)
            await self._desk.notices.settle(ids)
        except TemporaryFailure as error:
            log.warning("tell.waits", error=error.message)
            await asyncio.sleep(1)
            self._desk.notices.release(ids)
        finally:
            slots.release()

    async def sweep(self) -> int:
        """Notices that should be out by now and are not: retries due, attempts cut off, entries that Redis lost."""
        async with self._desk.ledger.read() as tx:
            late = await notices.unfinished(tx, before=datetime.now(UTC) - MISSED_AFTER)
        if late and await self._desk.notices.length() < len(late):
            await self._desk.notices.add(late)
            log.info("sweep.notices", found=len(late))
        return len(late)

    async def timers(self, deliver: Deliver) -> None:
        """Retries with their delays and the sweep, on arq."""

        async def retry(ctx: dict[Any, Any], key: str) -> None:
            del ctx
            await deliver.batch([key])

        async def sweep(ctx: dict[Any, Any]) -> None:
            del ctx
            await self.sweep()

        jobs = [cron(sweep, name="sweep_notices", second=set(range(0, 60, 5)), unique=True, timeout=30)]
        async with asyncio.TaskGroup() as group:
            group.create_task(run_timers(self._desk.settings, QUEUE, cron_jobs=jobs, functions=[func(retry, name="retry", max_tries=1)]))
            group.create_task(self._postpone())

    async def _postpone(self) -> None:
        """Hand the retries to arq; while Redis is away they are forgotten here, and the sweep finds them."""
        while True:
            await asyncio.sleep(0.5)
            postponed, self._postponed = self._postponed, []
            try:
                for key, at in postponed:
                    self._pool = self._pool or await open_pool(self._desk.settings, QUEUE)
                    await self._pool.enqueue_job("retry", key, _job_id=f"retry/{key}/{at.timestamp():.0f}", _defer_until=at)
            except (RedisError, OSError) as error:
                self._pool = None
                log.warning("postpone.left_to_the_sweep", error=type(error).__name__, retries=len(postponed))
