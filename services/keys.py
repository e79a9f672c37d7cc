"""Who calls: API keys from the Authorization header, looked up in the ledger and remembered for half a minute.

A revoked key therefore works for at most REMEMBERED seconds more. Wrong keys are not remembered: nothing a stranger sends is kept.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence

from shared.errors import NotAllowed
from shared.ledger import Ledger, accounts
from shared.ledger.accounts import ApiKey

REMEMBERED = 30.0
MOST = 10_000


class NoKey(NotAllowed):
    """Send your API key in the header `Authorization: Bearer desk_...`. The operator makes one with `desk keys add`."""

    code = "not_authorised"
    status = 401


class KeyRing:
    """The keys seen lately by one process. `clock` in seconds."""

    def __init__(self, ledger: Ledger, clock: Callable[[], float] = time.monotonic) -> None:
        self._ledger = ledger
        self._clock = clock
        self._known: dict[bytes, tuple[ApiKey, float]] = {}

    async def owner(self, headers: Iterable[tuple[bytes, bytes]], *scopes: str) -> ApiKey:
        """Whose key a request carries. Raises NotAllowed: as 401 without a good key, as 403 where its scope is none of `scopes`."""
        return await self.of_key(_bearer(headers), *scopes)

    async def of_key(self, key: str, *scopes: str) -> ApiKey:
        """Whose key it is. Raises NotAllowed as `owner` does."""
        name = hashlib.sha256(key.encode()).digest()  # what is remembered must not be a list of keys
        found = self._remembered(name)
        if found is None:
            async with self._ledger.read() as tx:
                found = await accounts.find(tx, key)
            self._remember(name, found)
        return _allowed(found, scopes)

    async def of_session(self, key_id: str, *scopes: str) -> ApiKey:
        """The key a session was opened with, by its id. Raises NotAllowed, as 401 when it was revoked since."""
        name = b"id:" + key_id.encode()
        found = self._remembered(name)
        if found is None:
            async with self._ledger.read() as tx:
                found = await accounts.get(tx, key_id)
            if found is None or found.revoked_at is not None:
                raise NoKey("This session's key is unknown or revoked. Sign in again.")
            self._remember(name, found)
        return _allowed(found, scopes)

    def _remembered(self, name: bytes) -> ApiKey | None:
        found, until = self._known.get(name, (None, 0.0))
        if found is not None and until < self._clock():
            del self._known[name]
            return None
        return found

    def _remember(self, name: bytes, found: ApiKey) -> None:
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[name] = (found, self._clock() + REMEMBERED)


def _allowed(found: ApiKey, scopes: Sequence[str]) -> ApiKey:
    if found.scope not in scopes:
        raise NotAllowed(f"This key's scope is '{found.scope}'; this needs {' or '.join(scopes)}. Ask the operator for another.")
    return found


def _bearer(headers: Iterable[tuple[bytes, bytes]]) -> str:
    for name, value in headers:
        if name == b"authorization":
            scheme, _, key = value.decode("latin-1").partition(" ")
            if scheme.lower() == "bearer" and key.strip():
                return key.strip()
    raise NoKey
