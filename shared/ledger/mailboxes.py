"""What became of every mail in every mailbox we read: the UID window and one outcome a UID."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.ledger.tables import mailboxes, mails


class Position(msgspec.Struct, frozen=True):
    """How far a folder has been read. start_uid: mail up to it was there before us and is none of ours.

    last_ok_at: when nothing was left to read. last_error: why it cannot be read now, empty where it can.
    """

    uidvalidity: int
    last_uid: int
    last_ok_at: datetime
    start_uid: int = 0
    last_error: str = ""


async def position(tx: AsyncConnection, account: str, folder: str) -> Position | None:
    row = (await tx.execute(select(mailboxes).where(mailboxes.c.account == account, mailboxes.c.folder == folder))).first()
    return Position(row.uidvalidity, row.last_uid, row.last_ok_at, row.start_uid, row.last_error) if row else None


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
            last_error=at.last_error,
        )
    )


async def trouble(tx: AsyncConnection, account: str, folder: str, error: str) -> None:
    """Remember why a folder cannot be read; `set_position` forgets it."""
    await tx.execute(update(mailboxes).where(mailboxes.c.account == account, mailboxes.c.folder == folder).values(last_error=error[:500]))


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


async def settled(
    tx: AsyncConnection, account: str, folder: str, uidvalidity: int, among: Sequence[int] | None = None, *, above: int = 0
) -> set[int]:
    """The UIDs above `above` that ended in some way: all of them, or those among the given."""
    mine = (mails.c.account == account, mails.c.folder == folder, mails.c.uidvalidity == uidvalidity, mails.c.uid > above)
    found = select(mails.c.uid).where(*mine)
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
