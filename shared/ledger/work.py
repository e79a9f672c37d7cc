"""The department's side of complaints: where each stands together with its work, and the lists that staff look at.

`work` is '' (nothing for a department yet), open, done or dead (with a reason). The queues in Redis are filled from it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, bindparam, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.complaint import Complaint, Deadline, decode_submission
from shared.ledger.complaints import FIELDS, from_row
from shared.ledger.lookups import among, among_parameter, as_parameter, pair_among_parameter
from shared.ledger.submissions import Stored
from shared.ledger.tables import DEAD_WORK, complaints, deadlines, identities, submissions

WORK = ("work", "work_reason", "work_by", "work_at")
CHANGING = (
    "state", "updated_at", "version", "category", "priority", "department", "review", "resolution", "closed_at", *WORK,
)  # fmt: skip
_columns = [*(complaints.c[name] for name in FIELDS), *(complaints.c[name] for name in WORK)]


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A complaint and its department work. due_by: when the department must have answered; at: since when the work is so."""

    complaint: Complaint
    work: str = ""
    reason: str = ""
    due_by: datetime | None = None
    at: datetime | None = None


_standings = select(*_columns).where(among_parameter(complaints.c.reference, "b_references"))
_said = (
    select(submissions.c.dedupe_key, submissions.c.reference, submissions.c.role, submissions.c.received_at, submissions.c.body)
    .where(among_parameter(submissions.c.reference, "b_references"), submissions.c.role != "automatic")
    .order_by(submissions.c.received_at)
)


async def standing(tx: AsyncConnection, references: Iterable[str]) -> dict[str, Standing]:
    """Where these complaints stand, those that exist."""
    rows = await tx.execute(_standings, {"b_references": as_parameter(references)})
    return {row[0]: _standing(row) for row in rows}


_save = (
    update(complaints)
    .where(complaints.c.reference == bindparam("b_reference"), complaints.c.version == bindparam("b_version"))
    .values({name: bindparam(f"v_{name}", type_=complaints.c[name].type) for name in CHANGING})
)


async def save(tx: AsyncConnection, changed: Sequence[tuple[int, Standing]]) -> None:
    """Write back what a department's actions changed, each with the version it had when it was read, in one statement.

    The caller writes an event for each in the same transaction, before this: its key refuses whoever came second.
    """
    if changed:
        await tx.execute(_save, [_changes(version, s) for version, s in changed])


def _changes(version: int, s: Standing) -> dict[str, Any]:
    values: dict[str, Any] = {"b_reference": s.complaint.reference, "b_version": version}
    values |= {f"v_{name}": getattr(s.complaint, name) for name in CHANGING if name not in WORK}
    return values | {"v_work": s.work, "v_work_reason": s.reason, "v_work_by": s.due_by, "v_work_at": s.at}


async def submissions_of(tx: AsyncConnection, references: Collection[str]) -> dict[str, list[Stored]]:
    """What the customer sent about each complaint, oldest first, without machines' mail."""
    if not references:
        return {}
    rows = await tx.execute(_said, {"b_references": as_parameter(references)})
    found: dict[str, list[Stored]] = {}
    for r in rows:
        stored = Stored(
            dedupe_key=r.dedupe_key, reference=r.reference, role=r.role, received_at=r.received_at, submission=decode_submission(r.body)
        )
        found.setdefault(r.reference, []).append(stored)
    return found


_unusable = select(identities.c.kind, identities.c.value).where(
    pair_among_parameter(identities.c.kind, identities.c.value, "b_identities"),
    identities.c.unusable_until >= bindparam("b_now", type_=identities.c.unusable_until.type),
)


async def unusable(tx: AsyncConnection, wanted: Collection[tuple[str, str]], now: datetime) -> frozenset[tuple[str, str]]:
    """Those of the (kind, value) identities that must not be written to now."""
    if not wanted:
        return frozenset()
    rows = await tx.execute(_unusable, {"b_identities": as_parameter(wanted), "b_now": now})
    return frozenset((r.kind, r.value) for r in rows)


async def deadlines_of(tx: AsyncConnection, references: Collection[str]) -> dict[str, list[Deadline]]:
    """All deadlines of these complaints."""
    if not references:
        return {}
    found: dict[str, list[Deadline]] = {}
    for r in await tx.execute(select(deadlines).where(among(deadlines.c.reference, references))):
        due = Deadline(clock=r.clock, due_by=r.due_by, why=r.why, met_at=r.met_at, breached_at=r.breached_at)
        found.setdefault(r.reference, []).append(due)
    return found


async def dead(tx: AsyncConnection, department: str, limit: int = 100) -> list[Standing]:
    """Dead letters of a department, newest first."""
    rows = await tx.execute(
        select(*_columns).where(DEAD_WORK, complaints.c.department == department).order_by(complaints.c.work_at.desc()).limit(limit)
    )
    return [_standing(row) for row in rows]


async def count_dead(tx: AsyncConnection, department: str) -> int:
    wanted = select(func.count()).where(DEAD_WORK, complaints.c.department == department)
    return (await tx.execute(wanted)).scalar_one()


async def listed(
    tx: AsyncConnection, *, state: str = "", department: str = "", customer: str = "", after: str = "", limit: int = 50
) -> list[Standing]:
    """Complaints by their reference, newest day first. customer: an id, or the value of an identity. after: the last reference seen."""
    wanted = select(*_columns).order_by(complaints.c.reference.desc()).limit(limit)
    if state:
        wanted = wanted.where(complaints.c.state == state)
    if department:
        wanted = wanted.where(complaints.c.department == department)
    if customer:
        owners = select(identities.c.customer_id).where(identities.c.value == customer)
        wanted = wanted.where(or_(complaints.c.customer_id == customer, complaints.c.customer_id.in_(owners)))
    if after:
        wanted = wanted.where(complaints.c.reference < after)
    return [_standing(row) for row in await tx.execute(wanted)]


def _standing(row: Row[Any]) -> Standing:
    work, reason, due_by, at = row[len(FIELDS) :]
    return Standing(complaint=from_row(row), work=work, reason=reason, due_by=due_by, at=at)
