"""The customers' pages: the form, its receipt, the progress behind a secret link, and adding to a complaint there."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import structlog
from litestar import Response, get, post
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from services.http import AnyRequest
from services.intake.accept import Outcome, Receipt
from services.intake.adapter import Delivery
from services.intake.api import WEB_ACCOUNT
from services.intake.door import HONEYPOT, Door
from services.intake.lookup import find, head_of, read_progress
from services.intake.pages.form import Fault, Typed, faults, note_faults, read_note, read_typed
from services.intake.pages.render import CSS, LANG_COOKIE, choose, page, read_tag, remember
from services.intake.pages.view import contact_of, entries
from services.intake.pages.words import DEMANDS, WORDS
from services.intake.requests import FORM_OVERHEAD, kept, read_body
from services.process import Desk
from shared.complaint import Complaint, Identity, Locale
from shared.contacts import read_email, read_phone
from shared.errors import DeskError, SubmissionRejected, TemporaryFailure, TooLarge
from shared.ledger import complaints, notices, submissions
from shared.privacy import mask
from shared.references import REFERENCE, read_reference, reply_address

NO_REFERRER = {"Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
DRAINED = 4
"""Times the limit: how much of a too large form is still read, so that the browser shows why it was refused."""

log = structlog.get_logger()


class Pages:
    """The routes for people with a browser."""

    def __init__(self, desk: Desk, door: Door) -> None:
        self._desk = desk
        self._door = door
        self._limit = desk.settings.max_submission + FORM_OVERHEAD

    def routes(self) -> list[HTTPRouteHandler]:
        """The handlers, ready for an application."""
        ours: Any = {"include_in_schema": False, "exception_handlers": {DeskError: failed, HTTPException: failed, Exception: failed}}
        track = "/track/{reference:str}/{token:str}"
        return [
            get("/", **ours)(self.form),
            post("/", status_code=303, **ours)(self.send),
            get("/received", **ours)(self.kept),
            get("/received/{reference:str}", **ours)(self.received),
            get("/track", **ours)(self.find_form),
            post("/track", status_code=200, **ours)(self.find_hint),
            get(track, **ours)(self.track),
            post(track, status_code=303, **ours)(self.add),
            get("/static/desk.css", **ours)(self.css),
        ]

    async def form(self, request: AnyRequest) -> Response[bytes]:
        return with_language(request, self._form_page(language(request), Typed({"form_id": secrets.token_urlsafe(16)}), {}))

    async def send(self, request: AnyRequest) -> Response[Any]:
        locale = language(request)
        delivery = await self._read(request)
        typed = read_typed(delivery)
        found = {} if typed.get("website") else faults(typed)
        if found:
            return self._form_page(locale, typed, found)
        try:
            receipts = await self._door.take("web_form", delivery)
        except TooLarge:
            raise
        except SubmissionRejected as error:
            log.info("form.refused", code=error.code)
            return self._form_page(locale, typed, {"form": Fault("e_other")})
        return redirect(received_path(receipts[0]))

    async def kept(self, request: AnyRequest) -> Response[bytes]:
        return with_language(request, bare_receipt(language(request)))

    async def received(self, request: AnyRequest, reference: FromPath[str], token: FromQuery[str] = "") -> Response[bytes]:
        locale = language(request)
        if not token:
            return with_language(request, bare_receipt(locale, reference if REFERENCE.fullmatch(reference) else ""))
        complaint = await find(self._desk, reference, token)
        progress = await read_progress(self._desk, complaint, datetime.now(UTC))
        async with self._desk.ledger.read() as tx:
            told = [entry.notice for entry in await notices.of_complaint(tx, reference)]
        values = {
            "reference": reference,
            "link": f"{self._desk.settings.public_url.rstrip('/')}/track/{reference}/{token}",
            "by": None if progress.late else progress.promised_by,
            "to": contact_of(told),
        }
        return with_language(request, page("received", locale, values, private=True))

    async def find_form(self, request: AnyRequest) -> Response[bytes]:
        return with_language(request, page("find", language(request), {"typed": Typed({}), "faults": {}, "to": ""}))

    async def find_hint(self, request: AnyRequest) -> Response[bytes]:
        """Says where the link is. Looks nothing up, so that nobody learns whose complaint there is."""
        typed = read_typed(await self._read(request, limit=FORM_OVERHEAD))
        contact = typed.get("contact").strip()
        phone = read_phone(contact)[0]
        found: dict[str, Fault] = {}
        if not read_reference(typed.get("reference")):
            found["reference"] = Fault("e_reference")
        if not phone and not read_email(contact):
            found["contact"] = Fault("e_email" if "@" in contact else "e_phone" if contact else "e_contact")
        to = "" if found else mask("phone", phone) if phone else mask("email", read_email(contact))
        return page("find", language(request), {"typed": typed, "faults": found, "to": to}, status=422 if found else 200)

    async def track(
        self, request: AnyRequest, reference: FromPath[str], token: FromPath[str], added: FromQuery[str] = ""
    ) -> Response[bytes]:
        complaint = await find(self._desk, reference, token)
        return with_language(request, await self._track_page(request, complaint, fresh_note(), {}, added=bool(added)))

    async def add(self, request: AnyRequest, reference: FromPath[str], token: FromPath[str]) -> Response[Any]:
        complaint = await find(self._desk, reference, token)
        delivery = await self._read(request)
        typed = read_typed(delivery)
        if found := note_faults(typed):
            return await self._track_page(request, complaint, typed, found)
        address = reply_address(self._desk.settings.mail_from, reference, self._desk.secret)
        note = read_note(typed, account=WEB_ACCOUNT, identities=await self._identities(complaint), address=address)
        if typed.get("website"):
            await self._door.hold("web_form", delivery, HONEYPOT, f"A hidden field was filled in while adding to {reference}.")
            return redirect(f"/track/{reference}/{token}?added=1")
        receipt = (await self._door.store("web_form", delivery, (note,)))[0]
        if receipt.outcome is Outcome.ACCEPTED:  # the complaint was closed: what was added began a new one
            return redirect(received_path(receipt))
        return redirect(f"/track/{reference}/{token}?added=1")

    async def css(self, request: AnyRequest) -> Response[bytes]:
        del request
        lasting = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
        return Response(CSS, media_type="text/css", headers=lasting)

    async def _read(self, request: AnyRequest, *, limit: int = 0) -> Delivery:
        headers: list[tuple[bytes, bytes]] = request.scope["headers"]  # type: ignore[assignment]
        raw = await read_body(headers, request.receive, limit or self._limit, drain=DRAINED * self._limit)
        return Delivery(raw=raw, account=WEB_ACCOUNT, received_at=datetime.now(UTC), headers=kept(headers))

    def _form_page(self, locale: Locale, typed: Typed, found: Mapping[str, Fault]) -> Response[bytes]:
        values = {
            "typed": typed,
            "faults": found,
            "files_lost": bool(typed.uploads),
            "demands": DEMANDS[locale],
            "total_mb": self._desk.settings.max_submission >> 20,
        }
        return page("form", locale, values, status=422 if found else 200)

    async def _track_page(
        self, request: AnyRequest, complaint: Complaint, typed: Typed, found: Mapping[str, Fault], *, added: bool = False
    ) -> Response[bytes]:
        shown = await head_of(self._desk, complaint)
        progress = await read_progress(self._desk, complaint, datetime.now(UTC))
        async with self._desk.ledger.read() as tx:
            history = await complaints.history(tx, shown.reference)
            told = [entry.notice for entry in await notices.of_complaint(tx, shown.reference)]
        values = {
            "reference": complaint.reference,
            "action": request.scope["path"],
            "progress": progress,
            "entries": entries(history, told),
            "typed": typed,
            "faults": found,
            "files_lost": bool(typed.uploads),
            "added": added,
            "total_mb": self._desk.settings.max_submission >> 20,
        }
        return page("track", language(request), values, status=422 if found else 200, private=True)

    async def _identities(self, complaint: Complaint) -> tuple[Identity, ...]:
        """How whoever made this very complaint said to be reached. Other identities of the customer are not this page's business."""
        async with self._desk.ledger.read() as tx:
            told = await submissions.of_complaint(tx, complaint.reference)
        return told[0].submission.customer.identities if told else ()


def language(request: AnyRequest) -> Locale:
    """The page's language: ?lang=, the cookie, Accept-Language."""
    return choose(request.query_params.get("lang"), request.cookies.get(LANG_COOKIE), request.headers.get("accept-language", ""))


def with_language(request: AnyRequest, response: Response[bytes]) -> Response[bytes]:
    """Remember a language that was asked for in the address."""
    asked = read_tag(request.query_params.get("lang") or "")
    if asked:
        response.cookies.append(remember(asked))
    return response


def bare_receipt(locale: Locale, reference: str = "") -> Response[bytes]:
    """A receipt without a link: for what a person looks at first, and for what joined a complaint not proved to be the sender's."""
    return page("received", locale, {"reference": reference, "link": "", "by": None, "to": ("", "")}, private=True)


def fresh_note() -> Typed:
    return Typed({"form_id": secrets.token_urlsafe(16)})


def received_path(receipt: Receipt) -> str:
    """The receipt page of what was sent. Without a reference for what is held, without the token where the sender proved nothing."""
    if not receipt.reference:
        return "/received"
    return f"/received/{receipt.reference}" + (f"?token={receipt.tracking}" if receipt.tracking else "")


def redirect(path: str) -> Redirect:
    """See other (RFC 9110, 15.4.4): a reload of what follows sends nothing again."""
    return Redirect(path, status_code=303, headers=NO_REFERRER)


def failed(request: AnyRequest, error: Exception) -> Response[bytes]:
    """Any failure as a page that says what to do."""
    status = error.status if isinstance(error, DeskError) else error.status_code if isinstance(error, HTTPException) else 500
    if status >= 500 and not isinstance(error, TemporaryFailure):
        log.exception("page.failed", error=type(error).__name__, exc_info=error)
    kind = f"p_{status}" if f"p_{status}" in WORDS[Locale.EN] else "p_other"
    response = page("failed", language(request), {"kind": kind, "status": status}, status=status, private=True)
    if isinstance(error, TemporaryFailure):
        response.headers["Retry-After"] = str(max(1, round(error.retry_after or 5)))
    return response
