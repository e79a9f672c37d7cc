"""Who is calling the departments' side: owners of department and operator keys, as the callers that leases.py knows."""

from __future__ import annotations

from collections.abc import Iterable

from services.keys import KeyRing
from services.router.departments.leases import Caller
from shared.ledger.accounts import ApiKey

SCOPES = ("department", "operator")


async def of_request(keys: KeyRing, headers: Iterable[tuple[bytes, bytes]]) -> Caller:
    """The caller of an HTTP request. Raises NotAllowed: 401 without a good key, 403 for one of another scope."""
    return _caller(await keys.owner(headers, *SCOPES))


async def of_key(keys: KeyRing, key: str) -> Caller:
    """The caller who signs in with a key. Raises NotAllowed."""
    return _caller(await keys.of_key(key, *SCOPES))


async def of_session(keys: KeyRing, key_id: str) -> Caller:
    """The caller of a session. Raises NotAllowed."""
    return _caller(await keys.of_session(key_id, *SCOPES))


def _caller(key: ApiKey) -> Caller:
    return Caller(name=key.name, department=key.department if key.scope == "department" else "", client=key.id)
