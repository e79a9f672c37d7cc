"""Customers and the identities by which each channel knows them. A customer may have many; an identity has one customer."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

import msgspec
from sqlalchemy import or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.complaint import Customer, Identity
from shared.ledger.lookups import among_parameter, as_parameter, pair_among_parameter
from shared.ledger.rows import insert_rows
from shared.ledger.tables import customers, identities


class KnownCustomer(msgspec.Struct, frozen=True):
    id: str
    name: str
    tier: str
    created_at: datetime


class Owner(msgspec.Struct, frozen=True):
    """Whose an identity is. verified: a channel vouched for it when it became known, it was not merely typed."""

    customer_id: str
    verified: bool


_owners = select(identities.c.kind, identities.c.value, identities.c.customer_id, identities.c.verified).where(
    pair_among_parameter(identities.c.kind, identities.c.value, "b_wanted")
)
_tiers = select(customers.c.id, customers.c.tier).where(among_parameter(customers.c.id, "b_ids"), customers.c.tier != "")


async def owners(tx: AsyncConnection, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], Owner]:
    """(kind, value) -> its owner, for identities that are known."""
    if not wanted:
        return {}
    rows = await tx.execute(_owners, {"b_wanted": as_parameter(wanted)})
    return {(r.kind, r.value): Owner(r.customer_id, r.verified) for r in rows}


async def by_identity(tx: AsyncConnection, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """(kind, value) -> customer id, for identities that are known."""
    return {key: owner.customer_id for key, owner in (await owners(tx, wanted)).items()}


async def insert_new(tx: AsyncConnection, new: Sequence[tuple[str, Customer, datetime]], owned: Sequence[tuple[str, Identity]]) -> None:
    """new: (id, customer, created_at); owned: (customer id, identity). Raises IntegrityError when an identity is taken."""
    if new:
        await insert_rows(tx, customers, [{"id": i, "name": c.name, "tier": c.tier, "created_at": at} for i, c, at in new])
    if owned:
        await insert_rows(
            tx,
            identities,
            [
                {"kind": i.kind, "value": i.value, "customer_id": owner, "verified": i.verified, "unusable_until": None, "unusable_why": ""}
                for owner, i in owned
            ],
        )


async def get(tx: AsyncConnection, customer_id: str) -> tuple[KnownCustomer, list[Identity]] | None:
    row = (await tx.execute(select(customers).where(customers.c.id == customer_id))).first()
    if row is None:
        return None
    owned = await tx.execute(
        select(identities.c.kind, identities.c.value, identities.c.verified).where(identities.c.customer_id == customer_id)
    )
    return KnownCustomer(row.id, row.name, row.tier, row.created_at), [Identity(r.kind, r.value, r.verified) for r in owned]


async def tiers(tx: AsyncConnection, ids: Sequence[str]) -> dict[str, str]:
    """Customer id -> tier, for those that have one."""
    rows = await tx.execute(_tiers, {"b_ids": as_parameter(ids)})
    return {r.id: r.tier for r in rows}


async def mark_unusable(tx: AsyncConnection, kind: str, value: str, until: datetime, why: str) -> None:
    """No automatic letters to this address until then; the mark clears itself."""
    await tx.execute(
        update(identities).where(identities.c.kind == kind, identities.c.value == value).values(unusable_until=until, unusable_why=why)
    )


async def usable(tx: AsyncConnection, customer_id: str, now: datetime) -> list[Identity]:
    """The identities that may be written to now."""
    rows = await tx.execute(
        select(identities.c.kind, identities.c.value, identities.c.verified).where(
            identities.c.customer_id == customer_id,
            or_(identities.c.unusable_until.is_(None), identities.c.unusable_until < now),
        )
    )
    return [Identity(r.kind, r.value, r.verified) for r in rows]
