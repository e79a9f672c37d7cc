"""Deadlines: what is due when, what was met, what was missed. The ledger confirms them; timers only wake us."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.complaint import Deadline
from shared.ledger.lookups import among_parameter, as_parameter, pair_among
from shared.ledger.rows import insert_rows
from shared.ledger.tables import RUNNING, deadlines


async def add(tx: AsyncConnection, new: Sequence[tuple[str, Deadline]]) -> None:
    """(reference, deadline). Raises IntegrityError when the complaint has one of that clock: use `replace`."""
    if new:
        await insert_rows(
            tx,
            deadlines,
            [
                {"reference": ref, "clock": d.clock, "due_by": d.due_by, "why": d.why, "met_at": d.met_at, "breached_at": d.breached_at}
                for ref, d in new
            ],
        )


async def replace(tx: AsyncConnection, new: Sequence[tuple[str, Deadline]]) -> None:
    """Set these clocks anew, whatever stood there."""
    if new:
        await tx.execute(delete(deadlines).where(pair_among(deadlines.c.reference, deadlines.c.clock, [(r, d.clock) for r, d in new])))
        await add(tx, new)


_meet = (
    update(deadlines)
    .where(
        among_parameter(deadlines.c.reference, "b_references"), among_parameter(deadlines.c.clock, "b_clocks"), deadlines.c.met_at.is_(None)
    )
    .values(met_at=bindparam("b_at", type_=deadlines.c.met_at.type))
)


async def meet(tx: AsyncConnection, references: Sequence[str], clocks: Sequence[str], at: datetime) -> None:
    """These clocks stopped in time or late; a breach already recorded stays."""
    if references:
        await tx.execute(_meet, {"b_references": as_parameter(references), "b_clocks": as_parameter(clocks), "b_at": at})


async def of_complaint(tx: AsyncConnection, reference: str) -> list[Deadline]:
    rows = await tx.execute(select(deadlines).where(deadlines.c.reference == reference).order_by(deadlines.c.due_by))
    return [Deadline(clock=r.clock, due_by=r.due_by, why=r.why, met_at=r.met_at, breached_at=r.breached_at) for r in rows]


async def overdue(tx: AsyncConnection, now: datetime, limit: int = 500) -> list[tuple[str, Deadline]]:
    """Running clocks that have passed, not yet recorded as breached, most overdue first."""
    rows = await tx.execute(select(deadlines).where(RUNNING, deadlines.c.due_by < now).order_by(deadlines.c.due_by).limit(limit))
    return [(r.reference, Deadline(clock=r.clock, due_by=r.due_by, why=r.why)) for r in rows]


async def breach(tx: AsyncConnection, missed: Sequence[tuple[str, str]], at: datetime) -> None:
    """(reference, clock) pairs that were missed."""
    if missed:
        await tx.execute(update(deadlines).where(pair_among(deadlines.c.reference, deadlines.c.clock, missed)).values(breached_at=at))
