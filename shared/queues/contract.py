"""What a department queue is: the items it holds, the leases it gives, and the calls every implementation answers.

Only values and a protocol; no Redis here. `shared/queues/conformance.py` checks an implementation against this page. Items carry
references, never text: whoever claims one reads the complaint from the ledger, so a replayed or reordered item does no harm.
Instants are epoch seconds, kept to the millisecond, because they are sort keys and cross the wire as numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Protocol

import msgspec

from shared.complaint import Priority

MOST_AT_ONCE = 256
"""Most items one claim takes, so that no call holds the server up for long."""
LONGEST_LEASE = 86_400.0
LONGEST_DELAY = 30 * 86_400.0
LONGEST_REASON = 500
LONGEST_WORKER = 100


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """A complaint that waits for its department. enqueued_at 0 means now; attempts is what a rebuild already knows of."""

    reference: str
    priority: Priority
    due_at: float
    attempts: int = 0
    enqueued_at: float = 0.0


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """The right to work on one item until expires_at. attempts counts this claim too."""

    reference: str
    token: str
    expires_at: float
    priority: Priority
    due_at: float
    attempts: int
    enqueued_at: float


class Done(msgspec.Struct, frozen=True, tag_field="outcome", tag="done"):
    """The work is finished; the item leaves the queue."""


class Retry(msgspec.Struct, frozen=True, tag_field="outcome", tag="retry"):
    """Not now: the item is ready again after `delay` seconds. A retry is the worker's own wish and is never limited in number."""

    delay: Annotated[float, msgspec.Meta(ge=0, le=LONGEST_DELAY)] = 0.0


class Dead(msgspec.Struct, frozen=True, tag_field="outcome", tag="dead"):
    """It cannot be done; the item becomes a dead letter that shows `reason` until somebody requeues or withdraws it."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_REASON)]


Outcome = Done | Retry | Dead


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """How one lease ended, for settling many in one call."""

    reference: str
    token: str
    outcome: Outcome


class Place(StrEnum):
    """Where an item of the queue is."""

    READY = "ready"
    LEASED = "leased"
    DELAYED = "delayed"
    DEAD = "dead"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """An item as people look at it, without its token.

    at: when it came in (ready), when the lease ends (leased), when it is ready again (delayed), when it died (dead).
    worker: who holds it or held it last. reason: why it is or last was a dead letter.
    """

    reference: str
    place: Place
    priority: Priority
    due_at: float
    attempts: int
    enqueued_at: float
    at: float
    worker: str = ""
    reason: str = ""


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """How full the queue is. oldest_age: seconds since the longest-waiting item that is not dead came in, 0 where there is none."""

    ready: int
    leased: int
    delayed: int
    dead: int
    oldest_age: float


class Queue(Protocol):
    """One department's queue. Every call may raise TemporaryFailure; ValueError means an argument out of its stated bounds."""

    async def put(self, items: Sequence[Item]) -> int:
        """Take items in; how many were new. One already here is never doubled: it only gets the new priority and deadline."""
        ...

    async def claim(self, n: int, lease_seconds: float, worker: str, *, wait: float = 0.0) -> list[Lease]:
        """Up to n leases, most pressing first (priority, then deadline); waits up to `wait` seconds while there is nothing."""
        ...

    async def extend(self, reference: str, token: str, lease_seconds: float) -> float:
        """Let the lease end lease_seconds from now; the new expires_at. Raises LeaseLost."""
        ...

    async def settle(self, reference: str, token: str, outcome: Outcome) -> None:
        """End a lease. Raises LeaseLost when it has expired, was settled, withdrawn, or belongs to somebody else."""
        ...

    async def settle_many(self, settlements: Sequence[Settlement]) -> list[str]:
        """End many leases; the references of those that were lost, the others are settled."""
        ...

    async def lost(self, leases: Sequence[tuple[str, str]]) -> list[str]:
        """Of these (reference, token) pairs, the references whose lease is lost; nothing changes."""
        ...

    async def reap(self) -> int:
        """Bring back the items of expired leases (or bury those that expired too often); how many leases had expired."""
        ...

    async def reprioritise(self, reference: str, priority: Priority, due_at: float) -> None:
        """Change the order of an item, wherever in the queue it is. Raises UnknownReference."""
        ...

    async def withdraw(self, reference: str) -> None:
        """Take an item out, wherever it is; a lease on it is lost. Nothing happens where it is not in the queue."""
        ...

    async def requeue(self, reference: str) -> None:
        """Make a dead letter ready again. Raises UnknownReference."""
        ...

    async def entries(self, place: Place = Place.READY, limit: int = 50, offset: int = 0) -> list[Entry]:
        """What is in one place, in its order (ready: most pressing first; others: by `at`), without claiming."""
        ...

    async def counts(self) -> Counts:
        """How many items are in each place, and the age of the oldest."""
        ...

    async def wait(self, seconds: float) -> bool:
        """Come back as soon as something may be claimable (True), or after `seconds` (False)."""
        ...
