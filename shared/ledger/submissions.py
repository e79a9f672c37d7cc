"""What came in: the parsed Submission, the raw bytes it was made of, and what it became."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.complaint import Submission, decode_submission
from shared.ledger.lookups import among_parameter, as_parameter
from shared.ledger.rows import insert_rows
from shared.ledger.tables import submissions


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A submission as it lies in the ledger. role: complaint, follow_up or automatic."""

    dedupe_key: str
    reference: str
    role: str
    received_at: datetime
    submission: Submission


_first_answers = select(submissions.c.dedupe_key, submissions.c.reference, submissions.c.role).where(
    among_parameter(submissions.c.dedupe_key, "b_keys")
)


async def first_answers(tx: AsyncConnection, dedupe_keys: Sequence[str]) -> dict[str, tuple[str, str]]:
    """dedupe_key -> (reference, role) of what was already taken."""
    if not dedupe_keys:
        return {}
    rows = await tx.execute(_first_answers, {"b_keys": as_parameter(dedupe_keys)})
    return {r.dedupe_key: (r.reference, r.role) for r in rows}


async def insert_new(tx: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """Raises IntegrityError when a dedupe key is taken: somebody else was first, look again."""
    if rows:
        await insert_rows(tx, submissions, list(rows))


async def of_complaint(tx: AsyncConnection, reference: str) -> list[Stored]:
    """Everything that came in about a complaint, oldest first."""
    rows = await tx.execute(
        select(submissions.c.dedupe_key, submissions.c.role, submissions.c.received_at, submissions.c.body)
        .where(submissions.c.reference == reference)
        .order_by(submissions.c.received_at)
    )
    return [
        Stored(dedupe_key=r.dedupe_key, reference=reference, role=r.role, received_at=r.received_at, submission=decode_submission(r.body))
        for r in rows
    ]
