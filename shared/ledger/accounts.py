"""API keys. The ledger keeps only a digest; a key is shown once, when it is made.

A key is 32 random bytes, so a plain SHA-256 of it is enough: there is nothing to guess that a slow hash would protect.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import datetime

import msgspec
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.errors import NotAllowed
from shared.ledger.tables import api_keys

SCOPES = ("intake", "department", "operator")


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """Who a key belongs to and what it may do. department: the only one whose queue a `department` key may touch."""

    id: str
    name: str
    scope: str
    department: str
    created_at: datetime
    revoked_at: datetime | None = None


def new_key() -> tuple[str, str, str]:
    """(id, the key to show once, its digest)."""
    key_id, tail = secrets.token_hex(4), secrets.token_urlsafe(32)
    key = f"desk_{key_id}_{tail}"
    return key_id, key, _digest(key)


async def add(tx: AsyncConnection, key: ApiKey, digest: str) -> None:
    await tx.execute(
        insert(api_keys).values(
            id=key.id, name=key.name, digest=digest, scope=key.scope, department=key.department, created_at=key.created_at, revoked_at=None
        )
    )


async def find(tx: AsyncConnection, key: str) -> ApiKey:
    """The owner of a key. Raises NotAllowed (as HTTP 401) when it is unknown, mistyped or revoked, without saying which."""
    parts = key.split("_", 2)
    if len(parts) == 3 and parts[0] == "desk":
        row = (await tx.execute(select(api_keys).where(api_keys.c.id == parts[1]))).first()
        if row is not None and hmac.compare_digest(row.digest, _digest(key)) and row.revoked_at is None:
            return ApiKey(id=row.id, name=row.name, scope=row.scope, department=row.department, created_at=row.created_at)
    error = NotAllowed("This API key is unknown or revoked. Ask the operator for one: `desk keys add`.")
    error.status = 401
    raise error


async def get(tx: AsyncConnection, key_id: str) -> ApiKey | None:
    """The key of that id, revoked or not; for sessions that were opened with it."""
    r = (await tx.execute(select(api_keys).where(api_keys.c.id == key_id))).first()
    if r is None:
        return None
    return ApiKey(id=r.id, name=r.name, scope=r.scope, department=r.department, created_at=r.created_at, revoked_at=r.revoked_at)


async def listed(tx: AsyncConnection) -> list[ApiKey]:
    rows = await tx.execute(select(api_keys).order_by(api_keys.c.created_at))
    return [
        ApiKey(id=r.id, name=r.name, scope=r.scope, department=r.department, created_at=r.created_at, revoked_at=r.revoked_at) for r in rows
    ]


async def revoke(tx: AsyncConnection, key_id: str, now: datetime) -> bool:
    done = await tx.execute(update(api_keys).where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None)).values(revoked_at=now))
    return done.rowcount == 1


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
