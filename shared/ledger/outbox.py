"""What a committed transaction still owes to Redis. A row is deleted once Redis has it; a row that stays is sent again by the sweep."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

import msgspec
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.ledger.lookups import among_parameter, as_parameter
from shared.ledger.rows import insert_rows
from shared.ledger.tables import outbox


class Topic(StrEnum):
    """Where an entry goes: the router's stream, the notifier's stream, a department's queue, or out of a department's queue."""

    RECEIVED = "received"
    NOTICE = "notice"
    ASSIGNED = "assigned"
    WITHDRAWN = "withdrawn"


class Entry(msgspec.Struct, frozen=True):
    """key: unique while it waits; reference: a complaint's reference, or a notice's key for Topic.NOTICE."""

    key: str
    topic: Topic
    reference: str


async def add(tx: AsyncConnection, entries: Sequence[Entry], now: datetime) -> None:
    if entries:
        await insert_rows(tx, outbox, [{"key": e.key, "topic": e.topic, "reference": e.reference, "created_at": now} for e in entries])


_settled = delete(outbox).where(among_parameter(outbox.c.key, "b_keys"))


async def settle(tx: AsyncConnection, keys: Sequence[str]) -> None:
    """Redis has these."""
    if keys:
        await tx.execute(_settled, {"b_keys": as_parameter(keys)})


async def waiting(tx: AsyncConnection, *, before: datetime, limit: int = 500) -> list[Entry]:
    """Entries written before an instant that nobody has sent yet, oldest first."""
    rows = await tx.execute(
        select(outbox.c.key, outbox.c.topic, outbox.c.reference)
        .where(outbox.c.created_at < before)
        .order_by(outbox.c.created_at)
        .limit(limit)
    )
    return [Entry(r.key, Topic(r.topic), r.reference) for r in rows]
