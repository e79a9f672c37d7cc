"""What became of every mail in every mailbox we read: the UID window and one outcome a UID."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.ledger.tables import mailboxes, mails


class Position(msgspec.Struct, frozen=True):
    """How far a folder has been read. last_ok_at: when reading last worked. start_uid: mail up to it was there before us, none of ours."""

    uidvalidity: int
    last_uid: int
    last_ok_at: datetime
    start_uid: int = 0


async def position(tx: AsyncConnection, account: str, folder: str) -> Position | None:
    row = (await tx.execute(select(mailboxes).where(mailboxes.c.account == account, mailboxes.c.folder == folder))).first()
    return Position(row.uidvalidity, row.last_uid, row.last_ok_at, row.start_uid) if row else None


async def set_position(tx: AsyncConnection, account: str, folder: str, at: Position) -> None:
    await tx.execute(delete(mailboxes).where(mailboxes.c.account == account, mailboxes.c.folder == folder))
    await tx.execute(
        insert(mailboxes).values(
            account=account,
            folder=folder,
            uidvalidity=at.uidvalidity,
            last_uid=at.last_uid,
            start_uid=at.start_uid,
            last_ok_at=at.last_ok_at,
        )
    )


async def record(
    tx: AsyncConnection, account: str, folder: str, uidvalidity: int, outcomes: Sequence[tuple[int, str, str]], at: datetime
) -> None:
    """outcomes: (uid, accepted | duplicate | ignored | quarantined, reason). A UID told twice keeps the last."""
    if not outcomes:
        return
    mine = (mails.c.account == account, mails.c.folder == folder, mails.c.uidvalidity == uidvalidity)
    await tx.execute(delete(mails).where(*mine, mails.c.uid.in_([uid for uid, _, _ in outcomes])))
    await tx.execute(
        insert(mails),
        [
            {"account": account, "folder": folder, "uidvalidity": uidvalidity, "uid": uid, "outcome": o, "reason": why, "at": at}
            for uid, o, why in outcomes
        ],
    )


async def settled(tx: AsyncConnection, account: str, folder: str, uidvalidity: int, among: Sequence[int] | None = None) -> set[int]:
    """The UIDs that ended in some way: all of them, or those among the given."""
    found = select(mails.c.uid).where(mails.c.account == account, mails.c.folder == folder, mails.c.uidvalidity == uidvalidity)
    if among is not None:
        found = found.where(mails.c.uid.in_(among))
    return set((await tx.execute(found)).scalars())


async def counts(tx: AsyncConnection, account: str, folder: str, uidvalidity: int) -> dict[str, int]:
    """How many UIDs ended in which way."""
    rows = await tx.execute(
        select(mails.c.outcome, func.count())
        .where(mails.c.account == account, mails.c.folder == folder, mails.c.uidvalidity == uidvalidity)
        .group_by(mails.c.outcome)
    )
    return {row[0]: row[1] for row in rows}
