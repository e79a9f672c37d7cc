"""Who is calling: API keys of the department and operator scopes, looked up in the ledger and remembered for a short while.

A key that was revoked may work for REMEMBERED seconds more in a process that knew it; that buys a ledger read per request.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from datetime import UTC, datetime

from services.router.departments.leases import Caller
from shared.errors import NotAllowed
from shared.ledger import Ledger, accounts
from shared.ledger.accounts import ApiKey

REMEMBERED = 30.0
MOST_REMEMBERED = 1000


class Keys:
    """Answers who a key belongs to. `clock` in seconds; tests pass their own."""

    def __init__(self, ledger: Ledger, clock: Callable[[], float] = time.monotonic) -> None:
        self._ledger = ledger
        self._clock = clock
        self._known: dict[str, tuple[Caller, float]] = {}

    async def of_header(self, authorization: str) -> Caller:
        """The caller of an Authorization header (RFC 6750). Raises NotAllowed: 401 for no or an unknown key, 403 for the wrong scope."""
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise not_signed_in("Send the API key as `Authorization: Bearer desk_...`. The operator makes one: `desk keys add`.")
        return await self.of_key(key.strip())

    async def of_key(self, key: str) -> Caller:
        """The caller a key belongs to. Raises NotAllowed."""
        digest = hashlib.sha256(key.encode()).hexdigest()  # what is remembered must not be a list of keys
        known = self._known.get(digest)
        if known is not None and known[1] > self._clock():
            return known[0]
        async with self._ledger.read() as tx:
            found = await accounts.find(tx, key)
        return self._remember(digest, caller_of(found))

    async def of_id(self, key_id: str) -> Caller:
        """The caller of a session that was opened with the key of that id. Raises NotAllowed when the key has been revoked since."""
        known = self._known.get(key_id)
        if known is not None and known[1] > self._clock():
            return known[0]
        async with self._ledger.read() as tx:
            found = await accounts.get(tx, key_id)
        if found is None or (found.revoked_at is not None and found.revoked_at <= datetime.now(UTC)):
            raise not_signed_in("This session's key is unknown or revoked. Sign in again.")
        return self._remember(key_id, caller_of(found))

    def _remember(self, name: str, caller: Caller) -> Caller:
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        self._known[name] = (caller, self._clock() + REMEMBERED)
        return caller


def caller_of(key: ApiKey) -> Caller:
    """Raises NotAllowed for a key that is not for departments."""
    if key.scope not in ("department", "operator"):
        raise NotAllowed(f"This key is for {key.scope}. Departments' work wants a key of the scope department or operator.")
    return Caller(name=key.name, department=key.department if key.scope == "department" else "", client=key.id)


def not_signed_in(message: str) -> NotAllowed:
    error = NotAllowed(message)
    error.status = 401
    return error
