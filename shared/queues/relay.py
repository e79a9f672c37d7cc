"""Carries outbox entries from the ledger to Redis: at once after each commit, and by a sweep for whatever a crash left behind.

Handing an entry over twice is harmless (every reader looks at the ledger's row first), losing one is not: an outbox row is deleted only
after Redis took the entry. While Redis is down nothing is refused; the rows wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import structlog
from redis.exceptions import RedisError

from shared.errors import TemporaryFailure
from shared.ledger import Ledger, complaints, outbox
from shared.ledger.outbox import Entry, Topic
from shared.queues.contract import Item
from shared.queues.department import DepartmentQueue
from shared.queues.stream import WorkStream

GRACE = timedelta(seconds=3)
"""An entry this old was not handed over by whoever wrote it."""
HAND_OVER_EVERY = 0.01
"""Under load several commits are handed over together; an entry that comes alone does not wait."""
SETTLE_EVERY = 0.25
SWEEP_EVERY = 2.0
AT_ONCE = 1000
"""Entries a statement or a sweep takes at a time."""
IN_MEMORY = 20_000
"""Fresh entries kept while Redis is down; beyond that they are the sweep's, which reads them from the ledger."""

log = structlog.get_logger()


class Relay:
    """One a process. `forward` after each commit; `run` in the background until cancelled; `flush` before stopping."""

    def __init__(self, ledger: Ledger, streams: Mapping[Topic, WorkStream], departments: Mapping[str, DepartmentQueue]) -> None:
        missing = {Topic.RECEIVED, Topic.NOTICE} - streams.keys()
        if missing:  # their entries would be settled without having gone anywhere
            raise ValueError(f"the relay has no stream for {', '.join(sorted(missing))}")
        self._ledger = ledger
        self._streams = streams
        self._departments = departments
        self._fresh: list[Entry] = []
        self._done: list[str] = []
        self._wake = asyncio.Event()
        self.waiting = 0
        """Entries found by the last sweep: how far Redis is behind the ledger."""

    def forward(self, entries: Sequence[Entry]) -> None:
        """Take over entries whose transaction has just committed. Returns at once."""
        room = max(0, IN_MEMORY - len(self._fresh))
        self._fresh += entries[:room]
        self._wake.set()

    async def run(self) -> None:
        """Hand over, settle and sweep until cancelled. A failing Redis or ledger is waited for, never given up."""
        settle_at = sweep_at = hand_over_at = 0.0
        clock = asyncio.get_running_loop().time
        while True:
            try:
                async with asyncio.timeout(SETTLE_EVERY):
                    await self._wake.wait()
            except TimeoutError:
                pass
            await asyncio.sleep(hand_over_at - clock())
            self._wake.clear()
            try:
                await self._hand_over_fresh()
                hand_over_at = clock() + HAND_OVER_EVERY
                if self._done and clock() >= settle_at:
                    await self._settle()
                    settle_at = clock() + SETTLE_EVERY
                if clock() >= sweep_at:
                    await self.sweep()
                    sweep_at = clock() + SWEEP_EVERY
            except (RedisError, TemporaryFailure, OSError) as error:
                log.warning("relay.waits", error=type(error).__name__)
                await asyncio.sleep(0.5)

    async def flush(self) -> None:
        """Before stopping: hand over what is fresh and settle it, as far as Redis and the ledger allow."""
        try:
            await self._hand_over_fresh()
            await self._settle()
        except (RedisError, TemporaryFailure, OSError) as error:
            log.warning("relay.left_for_the_sweep", error=type(error).__name__, entries=len(self._fresh) + len(self._done))

    async def sweep(self, now: datetime | None = None) -> int:
        """Hand over what nobody handed over in time, until none is left. The number found."""
        found = 0
        while True:
            await self._settle()  # what Redis has is not late, only not yet deleted
            async with self._ledger.read() as tx:
                late = await outbox.waiting(tx, before=(now or datetime.now(UTC)) - GRACE, limit=AT_ONCE)
            found += len(late)
            self.waiting = found
            await self._hand_over(late)
            if len(late) < AT_ONCE:
                await self._settle()
                return found

    async def _hand_over_fresh(self) -> None:
        entries, self._fresh = self._fresh, []
        try:
            await self._hand_over(entries)
        except BaseException:
            self._fresh = entries + self._fresh
            raise

    async def _hand_over(self, entries: Sequence[Entry]) -> None:
        for topic, stream in self._streams.items():
            references = [entry.reference for entry in entries if entry.topic is topic]
            if references:
                await stream.add(references)
        await self._fill_queues([e.reference for e in entries if e.topic is Topic.ASSIGNED])
        await self._empty_queues([e.reference for e in entries if e.topic is Topic.WITHDRAWN])
        self._done += [entry.key for entry in entries]

    async def _fill_queues(self, references: Sequence[str]) -> None:
        if not references:
            return
        async with self._ledger.read() as tx:
            work = await complaints.work_of(tx, references)
        by_department: dict[str, list[Item]] = {}
        for w in work.values():
            if w.state == "open":
                item = Item(reference=w.reference, priority=w.priority, due_at=w.due_by.timestamp())
                by_department.setdefault(w.department, []).append(item)
        for department, items in by_department.items():
            queue = self._departments.get(department)
            if queue is None:  # the policy no longer has it: `desk doctor` tells, `desk queue rebuild` fills it once it is back
                log.error("relay.no_such_department", department=department, complaints=len(items))
                continue
            await queue.put(items)

    async def _empty_queues(self, references: Sequence[str]) -> None:
        """Work that is no longer a department's leaves whichever queue still holds it."""
        for reference in references:
            async with self._ledger.read() as tx:
                work = (await complaints.work_of(tx, [reference])).get(reference)
            for name, queue in self._departments.items():
                if work is None or work.state != "open" or work.department != name:
                    await queue.withdraw(reference)

    async def _settle(self) -> None:
        while keys := self._done[:AT_ONCE]:
            async with self._ledger.write() as tx:
                await outbox.settle(tx, keys)
            del self._done[: len(keys)]
