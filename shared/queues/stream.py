"""The streams that carry references between the services: `received` (intake to router) and `notices` (to the notifier).

At least once, never for certain once: whoever reads an entry asks the ledger whether the work is still to be done. Losing the whole
stream loses no complaint, since the ledger's sweep adds it again. This module must not read the ledger and must not decide anything.

    while not stopping:
        batch = await stream.read(64, 1000)     # empty while nothing comes or Redis is away
        ...                                     # one transaction for the whole batch
        await stream.settle([entry.id for entry in batch])
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import msgspec
import structlog
from redis import exceptions
from redis.asyncio import Redis

from shared.errors import TemporaryFailure
from shared.queues.calls import as_text, call, load_script, run

APPEND = load_script("append")
FINISH = load_script("finish")
GROUP = "desk"
ADD_AT_ONCE = 1000
SETTLE_AT_ONCE = 1000
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0
GRACE = 5.0
"""Seconds beyond the block after which a silent connection counts as cut (a peer that vanished sends no word)."""

log: Any = structlog.get_logger("desk.queues")


class StreamEntry(msgspec.Struct, frozen=True):
    """What one entry carries. again: it was handed out before, to us or to a consumer that died, and may be half or wholly done."""

    id: str
    key: str
    again: bool = False


class WorkStream:
    """One stream and its one consumer group. A writer needs no consumer name; a reader's is unique among the live ones and kept over
    restarts (router-1), so that it finds what it left undone.

    limit: about how many entries the stream may hold; the oldest go when a dead consumer lets it grow beyond, and the ledger adds them
    again. idle_seconds: after that long without being settled, an entry is handed to another consumer; longer than any batch takes.
    """

    def __init__(self, redis: Redis, name: str, consumer: str = "", *, limit: int = 200_000, idle_seconds: float = 60.0) -> None:
        self.name = name
        self._redis = redis
        self._key = f"desk:s:{{{name}}}"
        self._consumer = consumer
        self._limit = limit
        self._idle_ms = max(1, round(idle_seconds * 1000))
        self._own_after: str | None = "0-0"  # where in our own unsettled entries to go on, None once they are all in hand
        self._orphans_after = "0-0"
        self._next_search = 0.0
        self._in_hand: dict[str, float] = {}
        self._unsettled: list[str] = []
        self._pause = 0.0

    async def add(self, entries: Sequence[str]) -> None:
        """Append the entries in order, ADD_AT_ONCE a round trip. Raises TemporaryFailure; some may then have been added already."""
        for start in range(0, len(entries), ADD_AT_ONCE):
            await run(self._redis, APPEND, 1, self._key, self._limit, *entries[start : start + ADD_AT_ONCE])

    async def read(self, count: int = 64, block_ms: int = 1000) -> list[StreamEntry]:
        """Up to `count` entries: first what this consumer left unsettled, then what others left too long, then new ones.

        Waits up to block_ms for new ones; empty when none came. Never raises for a Redis that is away, restarted or wiped: it pauses a
        moment (growing to 2 s), comes back empty, and goes on when Redis is back. A socket_timeout of the client must exceed block_ms.
        """
        if not self._consumer:
            raise ValueError(f"Reading the stream {self.name} needs a consumer name, such as router-1.")
        try:
            await self._settle_left_over()
            batch = await self._next(count, block_ms)
        except (TemporaryFailure, TimeoutError) as error:
            await self._rest(error)
            return []
        except exceptions.ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
            await self._make_group()
            return []
        if self._pause:
            log.info("stream_back", stream=self.name)
            self._pause = 0.0
        return batch

    async def settle(self, ids: Sequence[str]) -> None:
        """These entries are done and leave the stream. Where Redis is away they are kept and settled with the next call that reaches it."""
        self._unsettled.extend(ids)
        try:
            await self._settle_left_over()
        except TemporaryFailure as error:
            log.warning("settle_postponed", stream=self.name, entries=len(self._unsettled), reason=error.message)

    def release(self, ids: Sequence[str]) -> None:
        """These entries could not be done now: the next reads hand them out again. The caller has waited a moment before."""
        for entry_id in ids:
            self._in_hand.pop(entry_id, None)
        self._own_after = "0-0"

    async def length(self) -> int:
        """How many entries are not settled, whether read or not. Raises TemporaryFailure."""
        return await call(self._redis, "XLEN", self._key)

    async def _next(self, count: int, block_ms: int) -> list[StreamEntry]:
        if self._own_after is not None:
            batch = await self._own(count)
            if batch:
                return batch
        now = asyncio.get_running_loop().time()
        if now >= self._next_search:
            batch = await self._orphans(count, now)
            if batch:
                return batch
        until_search = max(1, round((self._next_search - now) * 1000))
        return await self._new(count, max(1, min(block_ms, until_search)))

    async def _own(self, count: int) -> list[StreamEntry]:
        """What this consumer was given and did not settle: after a restart everything, after a cut what was lost on the way."""
        while self._own_after is not None:
            rows = await self._read_group(count, self._own_after)
            self._own_after = as_text(rows[-1][0]) if rows else None
            batch = self._entries([row for row in rows if as_text(row[0]) not in self._in_hand], again=True)
            if batch:
                return batch
        return []

    async def _orphans(self, count: int, now: float) -> list[StreamEntry]:
        """What any consumer, ourselves included, has not settled for idle_seconds."""
        answer = await call(self._redis, "XAUTOCLAIM", self._key, GROUP, self._consumer, self._idle_ms, self._orphans_after, "COUNT", count)
        self._orphans_after = as_text(answer[0])
        if self._orphans_after == "0-0":
            self._next_search = now + self._idle_ms / 2000
            forgotten = now - self._idle_ms / 1000
            self._in_hand = {key: since for key, since in self._in_hand.items() if since > forgotten}
        return self._entries(answer[1], again=True)

    async def _new(self, count: int, block_ms: int) -> list[StreamEntry]:
        rows = await asyncio.wait_for(self._read_group(count, ">", block_ms), block_ms / 1000 + GRACE)
        return self._entries(rows, again=False)

    async def _read_group(self, count: int, after: str, block_ms: int | None = None) -> list[Any]:
        block = () if block_ms is None else ("BLOCK", block_ms)
        command = ("XREADGROUP", "GROUP", GROUP, self._consumer, "COUNT", count, *block, "STREAMS", self._key, after)
        answer = cast("dict[Any, list[Any]] | list[list[Any]]", await call(self._redis, *command))
        if not answer:
            return []
        return next(iter(answer.values()))[0] if isinstance(answer, dict) else answer[0][1]  # RESP3 or RESP2

    def _entries(self, rows: Sequence[Any], *, again: bool) -> list[StreamEntry]:
        """Rows as entries, taken in hand. A row without fields was trimmed from the stream while somebody held it: it is settled."""
        now = asyncio.get_running_loop().time()
        batch: list[StreamEntry] = []
        for row_id, fields in rows:
            if fields:
                entry = StreamEntry(as_text(row_id), as_text(next(iter(fields.values()))), again)
                self._in_hand[entry.id] = now
                batch.append(entry)
            elif row_id is not None:
                self._unsettled.append(as_text(row_id))
        return batch

    async def _settle_left_over(self) -> None:
        while self._unsettled:
            ids = self._unsettled[:SETTLE_AT_ONCE]
            del self._unsettled[:SETTLE_AT_ONCE]  # taken out first: two tasks may be here at once
            try:
                await run(self._redis, FINISH, 1, self._key, GROUP, *ids)
            except BaseException:
                self._unsettled += ids
                raise
            for entry_id in ids:
                self._in_hand.pop(entry_id, None)

    async def _make_group(self) -> None:
        """The group, from the beginning of the stream: whatever was added before it existed is read too."""
        try:
            await call(self._redis, "XGROUP", "CREATE", self._key, GROUP, "0", "MKSTREAM")
        except exceptions.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
        except TemporaryFailure as error:
            await self._rest(error)

    async def _rest(self, error: Exception) -> None:
        """A pause while Redis is away. What was handed out just as the connection broke is asked for again afterwards."""
        self._own_after = "0-0"
        if not self._pause:
            log.warning("stream_away", stream=self.name, reason=str(error) or type(error).__name__)
        self._pause = min(LONGEST_PAUSE, self._pause * 2) or FIRST_PAUSE
        await asyncio.sleep(self._pause)
