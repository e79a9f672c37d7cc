"""Who calls: API keys from the Authorization header, looked up in the ledger and remembered for half a minute.

A revoked key therefore works for at most REMEMBERED seconds more. Wrong keys are not remembered: nothing a stranger sends is kept.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable

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
    """The keys seen lately by one process."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._known: dict[bytes, tuple[ApiKey, float]] = {}

    async def owner(self, headers: Iterable[tuple[bytes, bytes]], *scopes: str) -> ApiKey:
        """Whose key a request carries. Raises NotAllowed: as 401 without a good key, as 403 where its scope is none of `scopes`."""
        key = _bearer(headers)
        digest = hashlib.sha256(key.encode()).digest()
        found, until = self._known.get(digest, (None, 0.0))
        if found is None or until < time.monotonic():
            self._known.pop(digest, None)
            async with self._ledger.read() as tx:
                found = await accounts.find(tx, key)
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[digest] = (found, time.monotonic() + REMEMBERED)
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
