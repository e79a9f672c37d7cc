"""Quarantine for staff, over HTTP: what lies there, its bytes as a download, taking it after all, or putting it aside.

Nothing from quarantine is ever shown as a page: it may have been made to harm whoever opens it.
"""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, QueryParameter

from services.http import AnyRequest
from services.intake import documents
from services.intake.accept import Outcome
from services.intake.answers import Held, Replayed, told, track_address
from services.intake.door import Door
from services.keys import KeyRing
from services.openapi import KEYED
from services.process import Desk
from shared.errors import RuleViolation
from shared.ledger import quarantine

DOWNLOAD = {
    "Content-Disposition": 'attachment; filename="{id}.bin"',
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "no-store",
}
STATES = ("held", "replayed", "discarded")
Wanted = Annotated[str, QueryParameter(name="state", description="held, replayed or discarded")]


class NotInQuarantine(RuleViolation):
    """Nothing of that id lies in quarantine. See GET /api/v1/quarantine for what does."""

    code = "not_in_quarantine"
    status = 404


class StaffApi:
    """The routes for operators' keys."""

    def __init__(self, desk: Desk, door: Door, keys: KeyRing) -> None:
        self._ledger = desk.ledger
        self._door = door
        self._keys = keys
        self._track = track_address(desk.settings.public_url)

    def routes(self) -> list[HTTPRouteHandler]:
        """The handlers, ready for an application."""
        about: Any = {"tags": ["quarantine"], "security": KEYED}
        one = "/api/v1/quarantine/{held_id:str}"
        return [
            get("/api/v1/quarantine", summary="What could not be taken", responses=documents.LISTED, **about)(self.listed),
            get(f"{one}/raw", summary="The bytes as they came", responses=documents.RAW, **about)(self.raw),
            post(f"{one}/replay", status_code=200, summary="Take it after all", responses=documents.REPLAYED, **about)(self.replay),
            post(f"{one}/discard", status_code=200, summary="Put it aside", responses=documents.DISCARDED, **about)(self.discard),
        ]

    async def listed(self, request: AnyRequest, wanted: Wanted = "held", limit: FromQuery[int] = 100) -> list[Held]:
        """Newest first. state: held, replayed or discarded; limit: 1 to 1000."""
        await self._operator(request)
        if wanted not in STATES or not 1 <= limit <= 1000:
            raise RuleViolation(f"Ask for a state among {', '.join(STATES)} and a limit from 1 to 1000.")
        async with self._ledger.read() as tx:
            return [_shown(held) for held in await quarantine.listed(tx, state=wanted, limit=limit)]

    async def raw(self, request: AnyRequest, held_id: FromPath[str]) -> Response[bytes]:
        """A download of plain bytes: open it with care, it may have been made to harm."""
        await self._operator(request)
        held = await self._get(held_id)
        headers = {name: value.format(id=held.id) for name, value in DOWNLOAD.items()}
        return Response(held.raw, media_type="application/octet-stream", headers=headers)

    async def replay(self, request: AnyRequest, held_id: FromPath[str]) -> Replayed:
        """Run the bytes through their adapter again, on your word: no signature is asked for. Taken, it leaves the list."""
        await self._operator(request)
        held = await self._get(held_id, only_held=True)
        receipts = await self._door.replay(held)
        if not receipts or any(r.outcome is Outcome.HELD for r in receipts):
            raise RuleViolation("It still belongs to no complaint and holds none. Discard it, or leave it where it is.")
        await self._set(held_id, "replayed")
        return Replayed(held_id, "replayed", [told(r, self._track) for r in receipts])

    async def discard(self, request: AnyRequest, held_id: FromPath[str]) -> Held:
        """Take it out of the list without taking it in; the bytes stay in the ledger for the record."""
        await self._operator(request)
        held = await self._get(held_id, only_held=True)
        await self._set(held_id, "discarded")
        return _shown(held, state="discarded")

    async def _operator(self, request: AnyRequest) -> None:
        await self._keys.owner(request.scope["headers"], "operator")

    async def _get(self, held_id: str, *, only_held: bool = False) -> quarantine.Held:
        async with self._ledger.read() as tx:
            held = await quarantine.get(tx, held_id)
        if held is None:
            raise NotInQuarantine
        if only_held and held.state != "held":
            raise RuleViolation(f"This was {held.state} before; there is nothing more to do.")
        return held

    async def _set(self, held_id: str, state: str) -> None:
        async with self._ledger.write() as tx:
            await quarantine.set_state(tx, [held_id], state)


def _shown(held: quarantine.Held, *, state: str = "") -> Held:
    return Held(
        id=held.id,
        adapter=held.adapter,
        account=held.account,
        code=held.code,
        message=held.message,
        size=len(held.raw),
        count=held.count,
        first_at=held.first_at,
        last_at=held.last_at,
        state=state or held.state,
    )
