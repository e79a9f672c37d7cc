"""Notices to customers: one row a notice key, for ever. The row's state is what makes a notice go out at most once.

pending -> sending (claimed by one notifier until next_at) -> sent | pending again (a retry, not before next_at) | dead | uncertain
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import and_, bindparam, case, func, not_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.complaint import Notice
from shared.ledger.complaints import to_text
from shared.ledger.lookups import among, among_parameter, as_parameter
from shared.ledger.rows import insert_rows, run_many
from shared.ledger.tables import ANSWERS_MAIL, FAILED, UNFINISHED, notices

_notice = msgspec.json.Decoder(Notice)


class Claimed(msgspec.Struct, frozen=True):
    """A notice this notifier may send now. crashed: an earlier attempt was cut off and may or may not have reached the customer."""

    notice: Notice
    attempts: int
    crashed: bool


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """How one attempt ended. state: sent, pending (again at next_at), dead or uncertain."""

    key: str
    state: str
    at: datetime
    next_at: datetime | None = None
    external_id: str = ""
    reason: str = ""


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A notice as people look at it."""

    notice: Notice
    state: str
    attempts: int
    sent_at: datetime | None
    external_id: str
    reason: str


class Lately(msgspec.Struct, frozen=True, kw_only=True):
    """How much mail that answers mail went out: (in the last hour, in the last day) by recipient, and in the last day by complaint."""

    by_recipient: Mapping[str, tuple[int, int]] = {}
    by_complaint: Mapping[str, int] = {}


_out_today = and_(
    ANSWERS_MAIL,
    notices.c.created_at > bindparam("b_day", type_=notices.c.created_at.type),
    or_(notices.c.state == "sending", notices.c.state == "sent", notices.c.state == "uncertain", notices.c.sent_at.is_not(None)),
    not_(among_parameter(notices.c.key, "b_keys")),
)
_this_hour = func.sum(case((notices.c.created_at > bindparam("b_hour", type_=notices.c.created_at.type), 1), else_=0))
_to = (
    select(notices.c.recipient, _this_hour, func.count())
    .where(among_parameter(notices.c.recipient, "b_recipients"), _out_today)
    .group_by(notices.c.recipient)
)
_about = (
    select(notices.c.reference, func.count())
    .where(among_parameter(notices.c.reference, "b_references"), _out_today)
    .group_by(notices.c.reference)
)


async def sent_lately(tx: AsyncConnection, wanted: Sequence[Notice], now: datetime) -> Lately:
    """What went out to the recipients and about the complaints of these notices, themselves left out."""
    bounds = {"b_keys": as_parameter(n.key for n in wanted), "b_day": now - timedelta(days=1)}
    to = {**bounds, "b_recipients": as_parameter({n.recipient for n in wanted}), "b_hour": now - timedelta(hours=1)}
    recipients = await tx.execute(_to, to)
    references = await tx.execute(_about, {**bounds, "b_references": as_parameter({n.reference for n in wanted})})
    return Lately(by_recipient={r: (int(hour), day) for r, hour, day in recipients}, by_complaint=dict(references.all()))


async def add(tx: AsyncConnection, new: Sequence[Notice]) -> None:
    """Raises IntegrityError when a key exists: that notice was already decided upon."""
    if new:
        await insert_rows(
            tx,
            notices,
            [
                {
                    "key": n.key,
                    "reference": n.reference,
                    "kind": n.kind,
                    "state": "pending",
                    "channel": n.channel,
                    "source": n.source,
                    "recipient": n.recipient,
                    "body": to_text(n),
                    "created_at": n.created_at,
                    "attempts": 0,
                    "next_at": n.created_at,
                    "sent_at": None,
                    "external_id": "",
                    "reason": "",
                }
                for n in new
            ],
        )


_due = (
    select(notices.c.key, notices.c.body, notices.c.attempts, notices.c.state)
    .where(
        among_parameter(notices.c.key, "b_keys"),
        or_(notices.c.state == "pending", notices.c.state == "sending"),  # not UNFINISHED, whose index would be the longer way
        notices.c.next_at <= bindparam("b_now", type_=notices.c.next_at.type),
    )
    .with_for_update(skip_locked=True)
)
_take = (
    update(notices)
    .where(among_parameter(notices.c.key, "b_keys"))
    .values(
        state="sending",
        attempts=notices.c.attempts + 1,
        next_at=bindparam("b_until", type_=notices.c.next_at.type),
        reason=bindparam("b_reason"),
    )
)


def _held_by(holder: str) -> str:
    """What stands in a claimed notice's reason, so that people and a restarted notifier see whose it is."""
    return f"in the hands of {holder}" if holder else ""


async def claim(tx: AsyncConnection, keys: Sequence[str], now: datetime, until: datetime, holder: str = "") -> list[Claimed]:
    """Take the notices among `keys` that are due and in nobody's hands, until `until`. Two notifiers never both get one."""
    rows = (await tx.execute(_due, {"b_keys": as_parameter(keys), "b_now": now})).all()
    if rows:
        values = {"b_keys": as_parameter(r.key for r in rows), "b_until": until, "b_reason": _held_by(holder)}
        await tx.execute(_take, values)
    return [Claimed(_notice.decode(r.body), r.attempts + 1, r.state == "sending") for r in rows]


async def put_back(tx: AsyncConnection, keys: Sequence[str], now: datetime) -> None:
    """Claimed in this same transaction and not wanted after all: as if they had never been."""
    if keys:
        untouched = update(notices).where(among(notices.c.key, keys))
        await tx.execute(untouched.values(state="pending", attempts=notices.c.attempts - 1, next_at=now, reason=""))


async def let_go(tx: AsyncConnection, holder: str, now: datetime) -> int:
    """What this notifier had in hand when it died is due again now; each counts as cut off. How many there were."""
    mine = and_(notices.c.state == "sending", notices.c.next_at > now, notices.c.reason == _held_by(holder))
    return (await tx.execute(update(notices).where(mine).values(next_at=now))).rowcount


_settle = (
    update(notices)
    .where(notices.c.key == bindparam("b_key"), notices.c.state == "sending")
    .values(
        state=bindparam("v_state"),
        next_at=func.coalesce(bindparam("v_next_at", type_=notices.c.next_at.type), notices.c.next_at),
        sent_at=bindparam("v_sent_at", type_=notices.c.sent_at.type),
        external_id=bindparam("v_external_id"),
        reason=bindparam("v_reason"),
    )
)


async def settle(tx: AsyncConnection, outcomes: Sequence[Settled]) -> None:
    """Write down how attempts ended."""
    if outcomes:
        await run_many(
            tx,
            _settle,
            [
                {
                    "b_key": o.key,
                    "v_state": o.state,
                    "v_next_at": o.next_at,
                    "v_sent_at": o.at if o.state == "sent" else None,
                    "v_external_id": o.external_id,
                    "v_reason": o.reason,
                }
                for o in outcomes
            ],
        )


async def came_back(tx: AsyncConnection, key: str, why: str) -> None:
    """A notice that was sent did not arrive after all: it is dead, so that people see it."""
    ended = notices.c.state.in_(("sending", "sent", "uncertain"))  # a report may be faster than our own note that it was sent
    await tx.execute(update(notices).where(notices.c.key == key, ended).values(state="dead", reason=why))


async def unfinished(tx: AsyncConnection, *, before: datetime, limit: int = 500) -> list[str]:
    """Keys of notices that should have been sent by now: retries that are due, and attempts that a crash cut off."""
    rows = await tx.execute(select(notices.c.key).where(UNFINISHED, notices.c.next_at < before).order_by(notices.c.next_at).limit(limit))
    return [r.key for r in rows]


async def of_complaint(tx: AsyncConnection, reference: str) -> list[Shown]:
    rows = await tx.execute(select(notices).where(notices.c.reference == reference).order_by(notices.c.created_at, notices.c.key))
    return [
        Shown(
            notice=_notice.decode(r.body), state=r.state, attempts=r.attempts, sent_at=r.sent_at, external_id=r.external_id, reason=r.reason
        )
        for r in rows
    ]


async def failed(tx: AsyncConnection, limit: int = 100) -> list[Shown]:
    """Dead and uncertain notices, newest first: somebody must look at them."""
    rows = await tx.execute(select(notices).where(FAILED).order_by(notices.c.created_at.desc()).limit(limit))
    return [
        Shown(
            notice=_notice.decode(r.body), state=r.state, attempts=r.attempts, sent_at=r.sent_at, external_id=r.external_id, reason=r.reason
        )
        for r in rows
    ]


async def requeue(tx: AsyncConnection, key: str, now: datetime) -> bool:
    """A person says: try that dead or uncertain notice again."""
    done = await tx.execute(
        update(notices)
        .where(notices.c.key == key, notices.c.state.in_(("dead", "uncertain")))
        .values(state="pending", next_at=now, attempts=0, reason="")
    )
    return done.rowcount == 1


async def states(tx: AsyncConnection) -> dict[str, int]:
    """How many notices are in which state. Reads every notice: for reports, not for something asked each second."""
    rows = await tx.execute(select(notices.c.state, func.count()).group_by(notices.c.state))
    return {row[0]: row[1] for row in rows}
