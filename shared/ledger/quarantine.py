"""Quarantine: what could not be taken, kept with its raw bytes and the reason, where staff see it and can replay it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import RowMapping, case, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.ledger.lookups import among
from shared.ledger.tables import HELD, quarantine


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """One thing in quarantine. count: how often the very same bytes came. state: held, replayed or discarded."""

    id: str
    adapter: str
    account: str
    code: str
    message: str
    raw: bytes
    headers: Mapping[str, str]
    count: int
    first_at: datetime
    last_at: datetime
    state: str


def held_id(adapter: str, account: str, raw: bytes) -> str:
    """The same bytes on the same account are one row, however often they come."""
    return hashlib.blake2b(b"\x00".join((adapter.encode(), account.encode(), raw)), digest_size=8).hexdigest()


async def hold(tx: AsyncConnection, held: Held) -> str:
    """Keep it, or raise the count of what is kept already. The id comes back."""
    # what was replayed and comes again still cannot be taken, and must be seen; what a person discarded stays discarded
    state = case((quarantine.c.state == "replayed", "held"), else_=quarantine.c.state)
    seen = (
        update(quarantine)
        .where(quarantine.c.id == held.id)
        .values(count=quarantine.c.count + 1, last_at=held.last_at, code=held.code, message=held.message, state=state)
    )
    again = await tx.execute(seen)
    if again.rowcount:
        return held.id
    try:
        async with tx.begin_nested():
            await tx.execute(
                insert(quarantine).values(
                    id=held.id,
                    adapter=held.adapter,
                    account=held.account,
                    code=held.code,
                    message=held.message,
                    raw=held.raw,
                    raw_blob="",
                    headers=msgspec.json.encode(dict(held.headers)).decode(),
                    count=held.count,
                    first_at=held.first_at,
                    last_at=held.last_at,
                    state=held.state,
                )
            )
    except IntegrityError:  # another process held it between the two statements
        await tx.execute(seen)
    return held.id


async def listed(tx: AsyncConnection, *, state: str = "held", limit: int = 100) -> list[Held]:
    """Newest first."""
    wanted = HELD if state == "held" else quarantine.c.state == state
    rows = await tx.execute(select(quarantine).where(wanted).order_by(quarantine.c.last_at.desc()).limit(limit))
    return [_held(r) for r in rows.mappings()]


async def get(tx: AsyncConnection, held: str) -> Held | None:
    row = (await tx.execute(select(quarantine).where(quarantine.c.id == held))).mappings().first()
    return _held(row) if row else None


async def set_state(tx: AsyncConnection, ids: Sequence[str], state: str) -> None:
    await tx.execute(update(quarantine).where(among(quarantine.c.id, ids)).values(state=state))


async def count_held(tx: AsyncConnection) -> int:
    return (await tx.execute(select(func.count()).select_from(quarantine).where(HELD))).scalar_one()


def _held(row: RowMapping) -> Held:
    values: dict[str, Any] = {name: row[name] for name in Held.__struct_fields__}
    values["headers"] = msgspec.json.decode(row["headers"], type=dict[str, str])
    return Held(**values)
