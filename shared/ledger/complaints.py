"""Complaints, their history, and the threads and open matters by which a later submission finds them again."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, bindparam, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.complaint import Category, Channel, Complaint, Decision, Event, Priority, State
from shared.errors import Raced, UnknownReference
from shared.ledger.lookups import among_parameter, as_parameter, pair_among_parameter
from shared.ledger.rows import insert_rows, run_many
from shared.ledger.tables import OPEN_WORK, UNDECIDED, complaints, events, matters, submissions, threads

FIELDS = Complaint.__struct_fields__
_columns = [complaints.c[name] for name in FIELDS]
_STATE, _CHANNEL, _CATEGORY, _PRIORITY, _DECISION = map(FIELDS.index, ("state", "channel", "category", "priority", "decision"))
_decision = msgspec.json.Decoder(Decision)
_json = msgspec.json.Encoder()


def to_text(value: Any) -> str:
    """JSON for a text column."""
    return _json.encode(value).decode()


def to_row(complaint: Complaint) -> dict[str, Any]:
    """All columns of a new complaint, with no work for a department yet."""
    row: dict[str, Any] = {name: getattr(complaint, name) for name in FIELDS}
    row["decision"] = to_text(complaint.decision) if complaint.decision else None
    row.update(work="", work_reason="", work_by=None, work_at=None)
    return row


def from_row(row: Row[Any]) -> Complaint:
    """The complaint at the beginning of a row that was selected in the order of FIELDS."""
    values = list(row[: len(FIELDS)])
    values[_STATE] = State(values[_STATE])
    values[_CHANNEL] = Channel(values[_CHANNEL])
    values[_CATEGORY] = Category(values[_CATEGORY]) if values[_CATEGORY] else None
    values[_PRIORITY] = Priority(values[_PRIORITY]) if values[_PRIORITY] else None
    values[_DECISION] = _decision.decode(values[_DECISION]) if values[_DECISION] else None
    return Complaint(*values)


_by_reference = select(*_columns).where(among_parameter(complaints.c.reference, "b_references"))
_undecided = select(complaints.c.reference, complaints.c.version).where(
    among_parameter(complaints.c.reference, "b_references"), complaints.c.state == State.RECEIVED
)


async def insert_new(tx: AsyncConnection, new: Sequence[Complaint]) -> None:
    """Raises IntegrityError when a reference is taken: draw again."""
    if new:
        await insert_rows(tx, complaints, [to_row(c) for c in new])


async def get(tx: AsyncConnection, reference: str) -> Complaint:
    """Raises UnknownReference."""
    found = await get_many(tx, [reference])
    if not found:
        raise UnknownReference(f"There is no complaint {reference}. Check the reference; it looks like C261121-7K3QXP.")
    return found[reference]


async def get_many(tx: AsyncConnection, references: Iterable[str]) -> dict[str, Complaint]:
    """The complaints that exist among the references."""
    wanted = list(references)
    if not wanted:
        return {}
    rows = await tx.execute(_by_reference, {"b_references": as_parameter(wanted)})
    return {row[0]: from_row(row) for row in rows}


async def undecided_among(tx: AsyncConnection, references: Iterable[str]) -> dict[str, int]:
    """Reference -> version, of those that still wait for the router."""
    rows = await tx.execute(_undecided, {"b_references": as_parameter(references)})
    return {r.reference: r.version for r in rows}


async def save(
    tx: AsyncConnection, changed: Iterable[tuple[int, Complaint]], *, work: Mapping[str, Mapping[str, Any]] | None = None
) -> None:
    """Write back complaints, each with the version it had when it was read, and their department work where that changes.

    work: reference -> the work columns to set. Raises Raced when somebody else changed one of them meanwhile.
    """
    for version, c in changed:
        values: dict[str, Any] = {
            "state": c.state,
            "updated_at": c.updated_at,
            "version": c.version,
            "language": c.language,
            "order_number": c.order_number,
            "category": c.category,
            "priority": c.priority,
            "department": c.department,
            "confidence": c.confidence,
            "review": c.review,
            "decision": to_text(c.decision) if c.decision else None,
            "linked_to": c.linked_to,
            "joined_to": c.joined_to,
            "resolution": c.resolution,
            "closed_at": c.closed_at,
            **((work or {}).get(c.reference, {})),
        }
        done = await tx.execute(
            update(complaints).where(complaints.c.reference == c.reference, complaints.c.version == version).values(**values)
        )
        if done.rowcount != 1:
            raise Raced(f"Complaint {c.reference} was changed by somebody else meanwhile. Read it again and repeat.")


_decide = (
    update(complaints)
    .where(complaints.c.reference == bindparam("b_reference"), complaints.c.version == bindparam("b_version"))
    .values(
        {
            name: bindparam(f"v_{name}", type_=complaints.c[name].type)
            for name in (
                "state", "updated_at", "version", "language", "order_number", "category", "priority", "department",
                "confidence", "review", "decision", "work", "work_by", "work_at",
            )
        }
    )
)  # fmt: skip


async def save_decided(tx: AsyncConnection, decided: Sequence[tuple[Complaint, datetime | None]]) -> None:
    """Write the router's decisions for a batch in one statement and open the department's work; the datetime is when it is due.

    The caller holds complaints it read in this same transaction; a row changed meanwhile is left alone and decided again.
    """
    if not decided:
        return
    await run_many(
        tx,
        _decide,
        [
            {
                "b_reference": c.reference,
                "b_version": c.version - 1,
                "v_state": c.state,
                "v_updated_at": c.updated_at,
                "v_version": c.version,
                "v_language": c.language,
                "v_order_number": c.order_number,
                "v_category": c.category,
                "v_priority": c.priority,
                "v_department": c.department,
                "v_confidence": c.confidence,
                "v_review": c.review,
                "v_decision": to_text(c.decision),
                "v_work": "open",
                "v_work_by": due_by,
                "v_work_at": c.updated_at,
            }
            for c, due_by in decided
        ],
    )


async def add_events(tx: AsyncConnection, new: Sequence[Event]) -> None:
    """Append to histories. Raises IntegrityError when a complaint's next line was written by somebody else meanwhile."""
    if new:
        await insert_rows(
            tx,
            events,
            [
                {"reference": e.reference, "seq": e.seq, "at": e.at, "kind": e.kind, "actor": e.actor, "detail": to_text(e.detail)}
                for e in new
            ],
        )


async def history(tx: AsyncConnection, reference: str) -> list[Event]:
    """Every line, oldest first."""
    rows = await tx.execute(
        select(events.c.reference, events.c.seq, events.c.at, events.c.kind, events.c.actor, events.c.detail)
        .where(events.c.reference == reference)
        .order_by(events.c.seq)
    )
    return [
        Event(reference=r.reference, seq=r.seq, at=r.at, kind=r.kind, actor=r.actor, detail=msgspec.json.decode(r.detail)) for r in rows
    ]


async def undecided(tx: AsyncConnection, *, before: datetime, limit: int) -> list[str]:
    """References still waiting for the router, oldest first."""
    rows = await tx.execute(
        select(complaints.c.reference).where(UNDECIDED, complaints.c.received_at < before).order_by(complaints.c.received_at).limit(limit)
    )
    return [r.reference for r in rows]


_work = [complaints.c[name] for name in ("reference", "department", "priority", "work_by", "work", "work_reason")]


class Work(msgspec.Struct, frozen=True):
    """A complaint that lies before a department: what its queue must hold."""

    reference: str
    department: str
    priority: Priority
    due_by: datetime
    state: str
    reason: str = ""


_work_of = select(*_work).where(among_parameter(complaints.c.reference, "b_references"), complaints.c.work != "")


async def open_work(tx: AsyncConnection, *, after: str = "", limit: int = 1000) -> list[Work]:
    """Pages through all open work by reference, for rebuilding the queues; `after` is the last reference seen."""
    rows = await tx.execute(select(*_work).where(OPEN_WORK, complaints.c.reference > after).order_by(complaints.c.reference).limit(limit))
    return [Work(r.reference, r.department, Priority(r.priority), r.work_by, r.work, r.work_reason) for r in rows]


async def work_of(tx: AsyncConnection, references: Sequence[str]) -> dict[str, Work]:
    """The department work of these complaints, where there is any."""
    rows = await tx.execute(_work_of, {"b_references": as_parameter(references)})
    return {r.reference: Work(r.reference, r.department, Priority(r.priority), r.work_by, r.work, r.work_reason) for r in rows}


_threads = select(threads.c.kind, threads.c.value, threads.c.reference).where(
    pair_among_parameter(threads.c.kind, threads.c.value, "b_keys")
)


async def by_thread(tx: AsyncConnection, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """(kind, value) -> reference, for thread keys that are known."""
    if not keys:
        return {}
    found = await tx.execute(_threads, {"b_keys": as_parameter(keys)})
    return {(r.kind, r.value): r.reference for r in found}


async def add_threads(tx: AsyncConnection, new: Sequence[tuple[str, str, str]]) -> None:
    """(kind, value, reference). Raises IntegrityError when one is taken."""
    if new:
        await insert_rows(tx, threads, [{"kind": k, "value": v, "reference": r} for k, v, r in new])


async def move_threads(tx: AsyncConnection, moved: Sequence[tuple[str, str, str, str]]) -> None:
    """Point known thread keys at a newer complaint: (kind, value, reference until now, new reference). Raises Raced."""
    for kind, value, was, reference in moved:
        here = (threads.c.kind == kind, threads.c.value == value, threads.c.reference == was)
        if (await tx.execute(update(threads).where(*here).values(reference=reference))).rowcount != 1:
            raise Raced("A conversation was moved by somebody else meanwhile. Read it again and repeat.")


_this_matter = pair_among_parameter(matters.c.customer_id, matters.c.order_number, "b_keys")
_open_matters = select(matters.c.customer_id, matters.c.order_number, matters.c.reference).where(
    _this_matter, matters.c.until > bindparam("b_now", type_=matters.c.until.type)
)
_expired_matters = delete(matters).where(_this_matter, matters.c.until <= bindparam("b_now", type_=matters.c.until.type))


async def open_matters(tx: AsyncConnection, keys: Collection[tuple[str, str]], now: datetime) -> dict[tuple[str, str], str]:
    """(customer_id, order_number) -> reference of the complaint about it that is still inside the policy's window."""
    if not keys:
        return {}
    found = await tx.execute(_open_matters, {"b_keys": as_parameter(keys), "b_now": now})
    return {(r.customer_id, r.order_number): r.reference for r in found}


async def add_matters(
    tx: AsyncConnection, new: Sequence[tuple[str, str, str, datetime]], now: datetime, *, newcomers: Collection[str] = ()
) -> None:
    """(customer_id, order_number, reference, until); an expired matter gives way. Raises IntegrityError when one is open.

    newcomers: customers of this very transaction, who can have no expired one.
    """
    if not new:
        return
    keys = [(customer, order) for customer, order, _, _ in new if customer not in newcomers]
    if keys:
        await tx.execute(_expired_matters, {"b_keys": as_parameter(keys), "b_now": now})
    await insert_rows(tx, matters, [{"customer_id": c, "order_number": o, "reference": r, "until": u} for c, o, r, u in new])


async def move_matters(tx: AsyncConnection, moved: Sequence[tuple[str, str, str, str, datetime]]) -> None:
    """Point matters at a newer complaint: (customer_id, order_number, reference until now, new reference, until). Raises Raced."""
    for customer, order, was, reference, until in moved:
        here = (matters.c.customer_id == customer, matters.c.order_number == order, matters.c.reference == was)
        if (await tx.execute(update(matters).where(*here).values(reference=reference, until=until))).rowcount != 1:
            raise Raced("An order's complaint was replaced by somebody else meanwhile. Read it again and repeat.")


async def end_matters(tx: AsyncConnection, reference: str) -> None:
    """A closed complaint takes no more follow-ups by order number."""
    owner = select(complaints.c.customer_id).where(complaints.c.reference == reference).scalar_subquery()  # the way into the index
    await tx.execute(delete(matters).where(matters.c.customer_id == owner, matters.c.reference == reference))


_bodies = (
    select(submissions.c.reference, submissions.c.body)
    .where(among_parameter(submissions.c.reference, "b_references"), submissions.c.role != "automatic")
    .order_by(submissions.c.received_at)
)


async def bodies(tx: AsyncConnection, references: Sequence[str]) -> dict[str, list[str]]:
    """The Submissions (JSON) that told each complaint, oldest first, without machines' mail."""
    rows = await tx.execute(_bodies, {"b_references": as_parameter(references)})
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row.reference, []).append(row.body)
    return found


async def count(tx: AsyncConnection) -> int:
    return (await tx.execute(select(func.count()).select_from(complaints))).scalar_one()
