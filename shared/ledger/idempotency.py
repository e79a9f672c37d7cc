"""Answers already given under an Idempotency-Key (IETF draft-ietf-httpapi-idempotency-key-header), kept for a day.

The row commits with the complaint it names, so that there is never a key without its answer nor an answer without its key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.ledger.lookups import among
from shared.ledger.rows import insert_rows
from shared.ledger.tables import idempotency

LIFETIME = timedelta(hours=24)


class Answered(msgspec.Struct, frozen=True):
    """key: already scoped to client and route (`scoped`). fingerprint: of the body it came with."""

    key: str
    fingerprint: str
    reference: str
    at: datetime


def scoped(client: str, route: str, key: str) -> str:
    """The stored form of a key: clients cannot collide, and their keys are not kept in the clear."""
    return hashlib.sha256("\x00".join((client, route, key)).encode()).hexdigest()


def fingerprint(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


async def find(tx: AsyncConnection, keys: Sequence[str], now: datetime) -> dict[str, tuple[str, str]]:
    """key -> (fingerprint, reference) of answers still kept."""
    if not keys:
        return {}
    rows = await tx.execute(
        select(idempotency.c.key, idempotency.c.fingerprint, idempotency.c.reference).where(
            among(idempotency.c.key, keys), idempotency.c.expires_at > now
        )
    )
    return {r.key: (r.fingerprint, r.reference) for r in rows}


async def add(tx: AsyncConnection, answers: Sequence[Answered], now: datetime | None = None) -> None:
    """now: expired answers give way; the instant of the first answer where it is left out.

    Raises IntegrityError when another request with the key was answered meanwhile.
    """
    if answers:
        expired = idempotency.c.expires_at <= (now or answers[0].at)
        await tx.execute(delete(idempotency).where(among(idempotency.c.key, [a.key for a in answers]), expired))
        rows = [{"key": a.key, "fingerprint": a.fingerprint, "reference": a.reference, "expires_at": a.at + LIFETIME} for a in answers]
        await insert_rows(tx, idempotency, rows)


async def sweep(tx: AsyncConnection, now: datetime) -> None:
    """Forget answers past their lifetime."""
    await tx.execute(delete(idempotency).where(idempotency.c.expires_at <= now))
