"""The department queue on Redis: a thin client over Lua scripts, each call one round trip and one atomic step.

Redis only carries: whatever is here can be put again from the ledger, and a put never doubles. The order is priority, then deadline,
then reference. The server's clock decides when a lease ends, so the clocks of the workers' machines need not agree. This module must
not read the ledger and must not know what a complaint says.
"""

from __future__ import annotations

import re
import secrets
from asyncio import get_running_loop
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from redis.asyncio import Redis

from shared.complaint import Priority
from shared.errors import LeaseLost, UnknownReference
from shared.queues.calls import Script, as_text, load_script, run
from shared.queues.contract import (
    LONGEST_DELAY,
    LONGEST_LEASE,
    LONGEST_REASON,
    LONGEST_WORKER,
    MOST_AT_ONCE,
    Counts,
    Dead,
    Entry,
    Item,
    Lease,
    Outcome,
    Place,
    Retry,
    Settlement,
)
from shared.queues.doorbell import Doorbell, Outlook

RANK = 10**13
"""One priority level in a score. Deadlines in ms stay below it until the year 2286, and 4 * RANK is exact in a double (2^53)."""
BY_RANK = tuple(sorted(Priority, key=lambda priority: priority.rank))
KEYS = ("ready", "leased", "delayed", "dead", "items", "entered")
PLACES = tuple(Place)
DEPARTMENT = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
SCRIPTS = {
    name: load_script("prelude", name)
    for name in ("put", "claim", "extend", "settle", "reap", "reprioritise", "withdraw", "requeue", "entries", "counts", "held")
}
AT_ONCE = 500
"""Most items one put or settle carries in a round trip, so that no call holds the server up for long."""


class DepartmentQueue:
    """The queue of one department; implements shared.queues.contract.Queue. Call aclose when done with it (the client stays open).

    max_lapses: leases that may expire in a row before the item is a dead letter. clock: epoch seconds for tests; production leaves it
    out, so that the server's clock decides. Any number of instances in any number of processes may share a department.
    """

    def __init__(self, redis: Redis, department: str, *, max_lapses: int = 5, clock: Callable[[], float] | None = None) -> None:
        if not DEPARTMENT.fullmatch(department):
            raise ValueError(f"'{department}' cannot name a queue: use up to 64 of a-z, 0-9, _ and -, as the policy does.")
        self.department = department
        self._redis = redis
        name = f"desk:q:{{{department}}}:"
        # As bytes, since they go with every call and redis-py would encode them each time.
        self._keys = (b"%d" % len(KEYS), *(f"{name}{key}".encode() for key in KEYS))
        self._max_lapses = b"%d" % max_lapses
        self._clock = clock
        self._doorbell = Doorbell(redis, f"{name}wake", self._look)

    async def put(self, items: Sequence[Item]) -> int:
        """Take items in, AT_ONCE a round trip; how many were new. One already here only gets its new priority and deadline."""
        rows = [item_args(item) for item in items]  # all of them are looked at before the first is sent
        added = 0
        for start in range(0, len(rows), AT_ONCE):
            added += await self._run("put", *chain.from_iterable(rows[start : start + AT_ONCE]))
        return added

    async def claim(self, n: int, lease_seconds: float, worker: str, *, wait: float = 0.0) -> list[Lease]:
        """Up to n (1 to 256) leases, most pressing first; one round trip. With `wait`, comes back as soon as there is one."""
        if not 1 <= n <= MOST_AT_ONCE:
            raise ValueError(f"{n} items cannot be claimed at once; ask for 1 to {MOST_AT_ONCE}.")
        if not 1 <= len(worker) <= LONGEST_WORKER:
            raise ValueError(f"A worker needs a name of 1 to {LONGEST_WORKER} characters, by which the staff sees who holds the complaint.")
        lease = lease_of(lease_seconds)
        loop = get_running_loop()
        give_up_at = loop.time() + wait
        while True:
            token = secrets.token_hex(8)
            answer: list[Any] = await self._run("claim", n, lease, token, worker)
            if len(answer) > 1:
                return [read_lease(token, answer, i) for i in range(1, len(answer), 4)]
            left = give_up_at - loop.time()
            if left <= 0 or not await self.wait(left):
                return []

    async def extend(self, reference: str, token: str, lease_seconds: float) -> float:
        """Let the lease end lease_seconds from now; the new expires_at. Raises LeaseLost."""
        expires_at = await self._run("extend", reference, token, lease_of(lease_seconds))
        if expires_at is None:
            raise lease_lost(reference)
        return expires_at / 1000

    async def settle(self, reference: str, token: str, outcome: Outcome) -> None:
        """End a lease; one round trip. Raises LeaseLost."""
        if await self._run("settle", reference, token, *outcome_args(outcome)):
            raise lease_lost(reference)

    async def settle_many(self, settlements: Sequence[Settlement]) -> list[str]:
        """End many leases, AT_ONCE a round trip; the references of those that were lost, the others are settled."""
        rows = [(one.reference, one.token, *outcome_args(one.outcome)) for one in settlements]
        lost: list[str] = []
        for start in range(0, len(rows), AT_ONCE):
            lost += map(as_text, await self._run("settle", *chain.from_iterable(rows[start : start + AT_ONCE])))
        return lost

    async def lost(self, leases: Sequence[tuple[str, str]]) -> list[str]:
        """Of these (reference, token) pairs, the references whose lease is lost, in one round trip; nothing changes."""
        args = [part for lease in leases for part in lease]
        return [as_text(reference) for reference in await self._run("held", *args)] if args else []

    async def reap(self) -> int:
        """Bring back the items of expired leases; how many there were. Claims do so too: this is for a department nobody claims from."""
        return await self._run("reap")

    async def reprioritise(self, reference: str, priority: Priority, due_at: float) -> None:
        """Change the order of an item, wherever in the queue it is. Raises UnknownReference."""
        if not await self._run("reprioritise", reference, score_of(priority, due_at)):
            raise UnknownReference(f"{reference} is not in the queue of {self.department}. See `desk show {reference}` for where it is.")

    async def withdraw(self, reference: str) -> None:
        """Take an item out, wherever it is; a lease on it is lost. Nothing happens where it is not in the queue."""
        await self._run("withdraw", reference)

    async def requeue(self, reference: str) -> None:
        """Make a dead letter ready again. Raises UnknownReference."""
        if not await self._run("requeue", reference):
            raise UnknownReference(f"{self.department} has no dead letter {reference}. See `desk queue dead` for those there are.")

    async def entries(self, place: Place = Place.READY, limit: int = 50, offset: int = 0) -> list[Entry]:
        """What is in one place, in its order, without claiming. limit 1 to 1000."""
        if not 1 <= limit <= 1000 or offset < 0:
            raise ValueError("Ask for 1 to 1000 entries, from an offset of 0 or more.")
        answer = await self._run("entries", PLACES.index(place) + 1, offset, offset + limit - 1)
        return [read_entry(place, answer[i : i + 7]) for i in range(0, len(answer), 7)]

    async def counts(self) -> Counts:
        """How many items are in each place, and the age of the oldest."""
        ready, leased, delayed, dead, oldest, _ = await self._run("counts")
        return Counts(ready=ready, leased=leased, delayed=delayed, dead=dead, oldest_age=oldest / 1000)

    async def wait(self, seconds: float) -> bool:
        """True as soon as something may be claimable (another may be faster), False after `seconds`."""
        return await self._doorbell.wait(seconds)

    async def aclose(self) -> None:
        """Stop listening for work. The Redis client belongs to the caller."""
        await self._doorbell.aclose()

    async def _look(self) -> Outlook:
        answer = await self._run("counts")
        return Outlook(answer[0], answer[5] / 1000 if answer[5] >= 0 else None)

    async def _run(self, name: str, *args: str | int) -> Any:
        script: Script = SCRIPTS[name]
        now = b"" if self._clock is None else round(self._clock() * 1000)
        return await run(self._redis, script, *self._keys, now, self._max_lapses, *args)


def item_args(item: Item) -> tuple[str, int, int, int]:
    """What put.lua reads of an item."""
    if not 0 < len(item.reference) <= 64:
        raise ValueError(f"'{item.reference[:80]}' is not a reference; a queue holds references such as C261121-7K3QXP.")
    return item.reference, score_of(item.priority, item.due_at), round(item.enqueued_at * 1000), item.attempts


def score_of(priority: Priority, due_at: float) -> int:
    """Where an item sorts: priority first, then the deadline to the millisecond. due_at in epoch seconds, before the year 2286."""
    if not 0 <= due_at < RANK // 1000:
        raise ValueError(f"due_at {due_at} is not an instant in epoch seconds between 1970 and 2286.")
    return priority.rank * RANK + min(round(due_at * 1000), RANK - 1)


def lease_of(seconds: float) -> int:
    """The length of a lease in ms."""
    if not 0.001 <= seconds <= LONGEST_LEASE:
        raise ValueError(f"A lease of {seconds} s is not possible; ask for up to {LONGEST_LEASE:.0f} s and extend it.")
    return round(seconds * 1000)


def outcome_args(outcome: Outcome) -> tuple[str, str | int]:
    """The word and the detail that settle.lua reads."""
    match outcome:
        case Retry(delay):
            if not 0 <= delay <= LONGEST_DELAY:
                raise ValueError(f"A delay of {delay} s is not possible; use 0 to {LONGEST_DELAY:.0f} s.")
            return "retry", round(delay * 1000)
        case Dead(reason):
            if not reason.strip() or len(reason) > LONGEST_REASON:
                raise ValueError(f"A dead letter needs a reason of 1 to {LONGEST_REASON} characters that tells the staff what to do.")
            return "dead", reason
        case _:
            return "done", ""


def lease_lost(reference: str) -> LeaseLost:
    """The refusal, with its mend."""
    return LeaseLost(f"The lease on {reference} has expired, was settled or withdrawn, or is not this one. Claim again.")


def read_lease(token: str, answer: list[Any], i: int) -> Lease:
    """The lease at position i of claim.lua's answer, whose first value is when all of them end."""
    reference, score, attempts, enqueued = answer[i : i + 4]
    rank, due = divmod(score, RANK)
    return Lease(
        reference=as_text(reference),
        token=token,
        expires_at=answer[0] / 1000,
        priority=BY_RANK[int(rank)],
        due_at=due / 1000,
        attempts=attempts,
        enqueued_at=enqueued / 1000,
    )


def read_entry(place: Place, row: list[Any]) -> Entry:
    """One row of entries.lua's answer."""
    reference, score, attempts, enqueued, at, worker, reason = row
    rank, due = divmod(score, RANK)
    return Entry(
        reference=as_text(reference),
        place=place,
        priority=BY_RANK[int(rank)],
        due_at=due / 1000,
        attempts=attempts,
        enqueued_at=enqueued / 1000,
        at=at / 1000,
        worker=as_text(worker),
        reason=as_text(reason),
    )
