"""Intake's HTTP interface for programs: the web form, the phone log, the platforms' webhooks and the public progress.

Each handler reads the request itself and gives back finished bytes: POST /api/v1/complaints is the busiest route of the product.
Says nothing of pages (services/intake/pages) or of staff (services/intake/staff.py), and decides nothing about a complaint.
"""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qsl

import msgspec
from litestar import Response, get, post, route
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery
from litestar.types import ASGIApp

from services.http import AnyRequest
from services.intake import documents
from services.intake.accept import Receipt
from services.intake.adapter import Delivery
from services.intake.answers import Raw, told, track_address
from services.intake.door import Door, fingerprint
from services.intake.lookup import find, read_progress
from services.intake.requests import FORM_OVERHEAD, Headers, idempotency_key, kept, read_body
from services.keys import KeyRing
from services.openapi import KEYED
from services.process import Desk
from shared.errors import InProgress, RuleViolation
from shared.ledger import idempotency

WEB_ACCOUNT = "web"
"""The account of everything that comes through the web form, by page or by program."""
PLATFORM_LIMIT = 4 << 20

encode = msgspec.json.Encoder().encode


class UnknownChannel(RuleViolation):
    """There is no such channel."""

    code = "unknown_channel"
    status = 404


class PublicApi:
    """The routes for customers' programs, telephone agents and platforms."""

    def __init__(self, desk: Desk, door: Door, keys: KeyRing) -> None:
        self._desk = desk
        self._door = door
        self._keys = keys
        self._limit = desk.settings.max_submission + FORM_OVERHEAD
        self._track = track_address(desk.settings.public_url)
        self._under_way: set[str] = set()

    def routes(self) -> list[HTTPRouteHandler]:
        """The handlers, ready for an application."""
        return [
            post(
                "/api/v1/complaints",
                status_code=202,
                summary="Send a complaint",
                tags=["complaints"],
                operation_class=documents.COMPLAINT,
                responses=documents.RECEIPT,
            )(self.submit),
            get(
                "/api/v1/complaints/{reference:str}",
                summary="See how a complaint stands",
                tags=["complaints"],
                operation_class=documents.PROGRESS,
                responses=documents.STANDS,
            )(self.progress),
            post(
                "/api/v1/phone",
                status_code=202,
                summary="Log telephone calls",
                tags=["phone"],
                operation_class=documents.PHONE,
                responses=documents.PHONE_RECEIPT,
                security=KEYED,
            )(self.phone),
            route(
                "/channels/{adapter:str}/{account:str}",
                http_method=[HttpMethod.GET, HttpMethod.POST],
                status_code=200,
                summary="Where platforms and integrators deliver",
                tags=["channels"],
                operation_class=documents.CHANNEL,
                responses=documents.DELIVERED,
            )(self.deliver),
        ]

    async def submit(self, request: AnyRequest) -> ASGIApp:
        """Take one filled-in form. Repeating a request is safe: the same content gets the same reference, and an Idempotency-Key
        gives the first answer again."""
        headers: Headers = request.scope["headers"]  # type: ignore[assignment]
        raw = await read_body(headers, request.receive, self._limit)
        delivery = Delivery(raw=raw, account=WEB_ACCOUNT, received_at=datetime.now(UTC), headers=kept(headers))
        receipts = await self._take(delivery, headers)
        return self._answer(receipts[0])

    async def phone(self, request: AnyRequest) -> ASGIApp:
        """Take one telephone call, or a list of them. The answer has the same shape: the agent reads the reference to the caller."""
        headers: Headers = request.scope["headers"]  # type: ignore[assignment]
        key = await self._keys.owner(headers, "intake", "operator")
        raw = await read_body(headers, request.receive, self._door.adapters["phone"].max_bytes)
        delivery = Delivery(raw=raw, account=key.name, received_at=datetime.now(UTC), headers=kept(headers))
        receipts = await self._door.take("phone", delivery)
        if not raw.lstrip().startswith(b"["):
            return self._answer(receipts[0])
        return Raw(202, encode([told(r, self._track) for r in receipts]), [(b"content-type", b"application/json")])

    async def deliver(self, request: AnyRequest, adapter: FromPath[str], account: FromPath[str]) -> ASGIApp:
        """Take what a platform or an integrator pushes: its check of this address, and signed deliveries."""
        found = self._door.adapters.get(adapter)
        if found is None or not found.secrets:
            names = ", ".join(sorted(name for name, a in self._door.adapters.items() if a.secrets))
            raise UnknownChannel(f"There is no channel '{adapter[:40]}' with an address of its own. There are: {names}.")
        headers: Headers = request.scope["headers"]  # type: ignore[assignment]
        delivery = Delivery(
            raw=await read_body(headers, request.receive, max(found.max_bytes, PLATFORM_LIMIT)),
            account=account,
            received_at=datetime.now(UTC),
            headers={name.decode("latin-1"): value.decode("latin-1") for name, value in headers},
            query=dict(parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True, max_num_fields=64)),
        )
        reply = found.handshake(delivery, self._door.secret(found, account))
        if reply is None:
            await self._door.take(adapter, delivery)
            reply = found.reply(delivery)
        return Raw(reply.status, reply.body, [(b"content-type", reply.media_type.encode())])

    async def progress(self, request: AnyRequest, reference: FromPath[str], token: FromQuery[str] = "") -> Response[bytes]:
        """The stages with their times and the promised time; nothing personal. The token is the last part of the tracking link."""
        del request
        complaint = await find(self._desk, reference, token)
        body = encode(await read_progress(self._desk, complaint, datetime.now(UTC)))
        return Response(body, media_type="application/json", headers={"Cache-Control": "no-store"})

    async def _take(self, delivery: Delivery, headers: Headers) -> list[Receipt]:
        key = idempotency_key(headers)
        if key is None:
            return await self._door.take("web_form", delivery)
        scoped = idempotency.scoped("", "complaints", key)
        if scoped in self._under_way:
            raise InProgress
        self._under_way.add(scoped)
        try:
            return await self._door.take("web_form", delivery, idempotency=(scoped, fingerprint(delivery)))
        finally:
            self._under_way.discard(scoped)

    def _answer(self, receipt: Receipt) -> Raw:
        answer = told(receipt, self._track)
        headers = [(b"content-type", b"application/json")]
        if answer.tracking_url:
            headers.append((b"location", answer.tracking_url.encode()))
        if receipt.replayed:
            headers.append((b"idempotency-replayed", b"true"))
        return Raw(202, encode(answer), headers)
