"""The workbench's routes: sign in with an API key, see the queue, claim, read, act. Each form leads to the same call as the HTTP API.

The session is an encrypted cookie that holds the key's id and the tokens of the leases in hand; every form carries a CSRF token.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import MediaType, Response, Router, get, post
from litestar.config.csrf import CSRFConfig
from litestar.exceptions import PermissionDeniedException
from litestar.handlers import HTTPRouteHandler
from litestar.middleware.csrf import CSRFMiddleware
from litestar.middleware.session.base import SessionMiddleware
from litestar.middleware.session.client_side import ClientSideSessionBackend, CookieBackendConfig
from litestar.params import FromPath
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.response import Redirect, Template
from litestar.template.config import TemplateConfig
from litestar.types import ASGIApp

from services.http import AnyRequest
from services.keys import KeyRing, NoKey
from services.process import Desk
from services.router.departments import auth
from services.router.departments.api import file_answer
from services.router.departments.leases import Caller, Departments
from services.router.departments.pages import forms, shown
from services.router.departments.pages.times import Times
from services.router.departments.pages.words import BY_LOCALE, LANGUAGE_NAMES, Words
from shared.complaint import Locale
from shared.dialogue import ClaimRequest, Requeue, Settle
from shared.errors import DeskError, LeaseLost, NotAllowed
from shared.ledger import quarantine, work
from shared.reach import BY_TAG
from shared.references import read_reference

PREFIX = "/workbench"
LEASE_SECONDS = 1800.0
"""A person reads and telephones: half an hour, and half an hour more with every look at the complaint."""
SESSION_SECONDS = 12 * 3600
MOST_LEASES = 20
SHOWN = 200
CSS = (Path(__file__).parent / "static" / "workbench.css").read_bytes()
CSS_URL = f"{PREFIX}/workbench.css?v={hashlib.sha256(CSS).hexdigest()[:12]}"
#: no scripts at all, nothing from elsewhere, in nobody's frame
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
    "Cache-Control": "no-store",
}


def templates() -> TemplateConfig[JinjaTemplateEngine]:
    """For the application that serves the workbench."""
    environment = Environment(
        loader=PackageLoader("services.router.departments.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return TemplateConfig(instance=JinjaTemplateEngine.from_environment(environment))


def routes(desk: Desk, departments: Departments, keys: KeyRing) -> Router:
    """Everything under /workbench."""
    secure = desk.settings.public_url.startswith("https:")
    key = hashlib.sha256(b"workbench:" + desk.secret).digest()
    session = CookieBackendConfig(
        secret=key, key="desk_workbench", max_age=SESSION_SECONDS, path=PREFIX, secure=secure, httponly=True, samesite="lax"
    )
    csrf = CSRFConfig(
        secret=key.hex(), cookie_name="desk_csrf", cookie_path=PREFIX, cookie_secure=secure, cookie_httponly=True, cookie_samesite="strict"
    )
    bench = Workbench(desk, departments, keys)
    backend = ClientSideSessionBackend(session)

    # Functions, because Litestar copies middleware when it registers a router, and a function is its own copy.
    def keep_session(app: ASGIApp) -> ASGIApp:
        return SessionMiddleware(app, backend)

    def check_csrf(app: ASGIApp) -> ASGIApp:
        return CSRFMiddleware(app, csrf)

    return Router(
        PREFIX,
        route_handlers=bench.handlers(),
        middleware=[keep_session, check_csrf],
        exception_handlers={DeskError: bench.failed, PermissionDeniedException: bench.expired},
        include_in_schema=False,
    )


class Workbench:
    """The pages of one router process."""

    def __init__(self, desk: Desk, departments: Departments, keys: KeyRing) -> None:
        self._ledger = desk.ledger
        self._blobs = desk.blobs
        self._policy = desk.policy
        self._departments = departments
        self._keys = keys

    def __deepcopy__(self, memo: dict[int, Any]) -> Workbench:
        """Litestar copies each handler when it registers it, and a bound method would take a copy of all this along."""
        return self

    def handlers(self) -> list[HTTPRouteHandler]:
        at = "/departments/{department:str}"
        of = "/complaints/{reference:str}"
        return [
            get("/")(self.home),
            get("/workbench.css", exclude_from_csrf=True, skip_session=True)(self.css),
            get("/sign-in")(self.sign_in_page),
            post("/sign-in")(self.sign_in),
            post("/sign-out")(self.sign_out),
            get("/find")(self.find),
            get(at)(self.queue),
            post(f"{at}/claim")(self.claim),
            get(f"{at}/dead")(self.dead),
            post(f"{at}/dead/{{reference:str}}/requeue")(self.requeue),
            get(of)(self.complaint),
            get(f"{of}/files/{{sha256:str}}")(self.file),
            post(f"{of}/{{step:str}}")(self.act),
        ]

    async def css(self) -> Response[bytes]:
        headers = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
        return Response(CSS, media_type=MediaType.CSS, headers=headers)

    async def sign_in_page(self, request: AnyRequest) -> Template:
        return _page(request, "sign_in.html")

    async def sign_in(self, request: AnyRequest) -> Response[Any]:
        form = await _form(request)
        try:
            caller = await auth.of_key(self._keys, form.one("key"))
        except NotAllowed as error:
            return _page(request, "sign_in.html", error=error.message, status=error.status)
        session = _session(request)
        language = session.get("lang", "")
        session.clear()
        session.update(key=caller.client, lang=language)
        return _to(PREFIX)

    async def sign_out(self, request: AnyRequest) -> Redirect:
        _session(request).clear()
        return _to(f"{PREFIX}/sign-in")

    async def home(self, request: AnyRequest) -> Response[Any]:
        """A department's own queue, or for the operator all of them."""
        caller = await self._caller(request)
        if caller.department:
            return _to(f"{PREFIX}/departments/{caller.department}")
        words = _words(request)
        tiles: list[dict[str, Any]] = []
        for name, department in self._policy.departments.items():
            view = await self._departments.waiting(name, caller, 1)
            names = {"id": name, "name": department.names[words.locale]}
            tiles.append({**names, "ready": view.ready, "leased": view.leased, "dead": view.dead})
        return _page(request, "departments.html", caller=caller, departments=tiles, quarantine=await self._quarantined())

    async def find(self, request: AnyRequest) -> Redirect:
        """To the complaint of a reference as people type it."""
        reference = read_reference(request.query_params.get("q", ""))
        if reference is None:
            _say(request, _words(request)("not_found"))
            return _to(PREFIX)
        return _to(f"{PREFIX}/complaints/{reference}")

    async def queue(self, request: AnyRequest, department: FromPath[str]) -> Template:
        caller = await self._caller(request)
        view = await self._departments.waiting(department, caller, SHOWN)
        async with self._ledger.read() as tx:
            standings = await work.standing(tx, [item.reference for item in view.waiting])
        words = _words(request)
        rows = [shown.queue_row(item, standings.get(item.reference), self._policy, words) for item in view.waiting]
        return await self._department_page(request, "queue.html", department, caller, view=view, rows=rows)

    async def dead(self, request: AnyRequest, department: FromPath[str]) -> Template:
        caller = await self._caller(request)
        page = await self._departments.dead(department, caller, SHOWN)
        view = await self._departments.waiting(department, caller, 1)
        words = _words(request)
        rows = [shown.dead_row(item, self._policy, words) for item in page.complaints]
        return await self._department_page(request, "dead.html", department, caller, view=view, rows=rows)

    async def claim(self, request: AnyRequest, department: FromPath[str]) -> Redirect:
        """The most pressing complaint, opened."""
        caller = await self._caller(request)
        wanted = ClaimRequest(n=1, lease_seconds=LEASE_SECONDS, worker=caller.name[:64])
        answer = await self._departments.claim(department, wanted, caller)
        if not answer.leases:
            _say(request, _words(request)("nothing_ready"))
            return _to(f"{PREFIX}/departments/{department}")
        lease = answer.leases[0]
        kept = [*_session(request).get("leases", {}).items(), (lease.reference, lease.token)]
        _session(request)["leases"] = dict(kept[-MOST_LEASES:])
        return _to(f"{PREFIX}/complaints/{lease.reference}")

    async def requeue(self, request: AnyRequest, department: FromPath[str], reference: FromPath[str]) -> Redirect:
        caller = await self._caller(request)
        reason = (await _form(request)).one("reason")[:500]
        await self._departments.requeue(department, reference, Requeue(reason=reason), caller)
        _say(request, _words(request)("saved"))
        return _to(f"{PREFIX}/departments/{department}/dead")

    async def complaint(self, request: AnyRequest, reference: FromPath[str]) -> Template:
        return await self._complaint_page(request, reference, await self._caller(request))

    async def file(self, request: AnyRequest, reference: FromPath[str], sha256: FromPath[str]) -> Response[bytes]:
        return await file_answer(self._departments, self._blobs, reference, sha256, await self._caller(request))

    async def act(self, request: AnyRequest, reference: FromPath[str], step: FromPath[str]) -> Response[Any]:
        """One form of the complaint's page. What refuses it is shown there, with what was typed."""
        caller = await self._caller(request)
        form = await _form(request)
        try:
            gone = await self._take(request, reference, step, form, caller)
        except DeskError as error:
            if error.status not in (400, 409, 422):
                raise
            words = _words(request)
            said = words("lease_lost") if isinstance(error, LeaseLost) else error.message
            return await self._complaint_page(request, reference, caller, error=said, typed=form.typed(step), status=error.status)
        _say(request, _words(request)("saved"))
        return _to(f"{PREFIX}/departments/{gone}" if gone else f"{PREFIX}/complaints/{reference}")

    async def _take(self, request: AnyRequest, reference: str, step: str, form: forms.Form, caller: Caller) -> str:
        """Take the step; the department to go back to where the complaint has left this person's hands."""
        if step in forms.BY_REFERENCE:
            await self._departments.by_reference(reference, forms.read(forms.BY_REFERENCE[step], form), caller)
            return ""
        token: str = _session(request).get("leases", {}).get(reference, "")
        department = token.rpartition(":")[0]
        if step == "retry":
            await self._departments.settle(reference, Settle(token=token, outcome="retry", delay=forms.delay_of(form)), caller)
        elif step in forms.BY_LEASE:
            reader, ending = forms.BY_LEASE[step]
            action = forms.read(reader, form)
            ends = ending(form)
            await self._departments.act(reference, token, action, caller, ends=ends)
            if ends is None:
                return ""
        else:
            raise forms.FormFault(f"'{step}' is not a step. Use the forms of the complaint's page.")
        _drop(request, reference)
        return department

    async def _complaint_page(
        self,
        request: AnyRequest,
        reference: str,
        caller: Caller,
        *,
        error: str = "",
        typed: dict[str, str] | None = None,
        status: int = 200,
    ) -> Template:
        story = await self._departments.story(reference, caller)
        words = _words(request)
        facts = shown.complaint(story, self._policy, words)
        held = await self._held(request, reference, caller)
        return _page(request, "complaint.html", caller=caller, error=error, status=status, held=held, typed=typed or {"step": ""}, **facts)

    async def _held(self, request: AnyRequest, reference: str, caller: Caller) -> datetime | None:
        """Until when this person holds the complaint; looking at it keeps it."""
        token = _session(request).get("leases", {}).get(reference)
        if not token:
            return None
        try:
            return (await self._departments.extend(reference, token, LEASE_SECONDS, caller)).expires_at
        except LeaseLost:
            _drop(request, reference)
            return None

    async def _department_page(self, request: AnyRequest, template: str, department: str, caller: Caller, **values: Any) -> Template:
        names = self._policy.departments[department].names
        shown_as = {"id": department, "name": names[_words(request).locale]}
        return _page(request, template, caller=caller, department=shown_as, quarantine=await self._quarantined(), **values)

    async def _quarantined(self) -> int:
        async with self._ledger.read() as tx:
            return await quarantine.count_held(tx)

    async def _caller(self, request: AnyRequest) -> Caller:
        """Who is signed in. Raises NotAllowed."""
        key_id = _session(request).get("key")
        if not key_id:
            raise NoKey
        return await auth.of_session(self._keys, key_id)

    def failed(self, request: AnyRequest, error: DeskError) -> Response[Any]:
        """A page instead of a problem document; without a session, the way in."""
        if isinstance(error, NotAllowed) and error.status == 401:
            return _to(f"{PREFIX}/sign-in")
        return _page(request, "failed.html", error=error.message, status=error.status)

    def expired(self, request: AnyRequest, error: PermissionDeniedException) -> Response[Any]:
        """A form without its CSRF token: from another site, or older than the session."""
        del error
        return _page(request, "failed.html", error=_words(request)("expired_form"), status=403)


def _page(
    request: AnyRequest, template: str, *, status: int = 200, error: str = "", caller: Caller | None = None, **values: Any
) -> Template:
    words = _words(request)
    said = _session(request).pop("said", "")
    context = {
        "w": words,
        "locale": words.locale.value,
        "languages": [(tag.value, name) for tag, name in LANGUAGE_NAMES.items()],
        "css": CSS_URL,
        "clock": Times(words, datetime.now(UTC)),
        "error": error,
        "said": said,
        "caller": caller,
        **values,
    }
    return Template(template, context=context, status_code=status, headers=HEADERS, media_type=MediaType.HTML)


def _words(request: AnyRequest) -> Words:
    """The chosen language: in the address (then remembered), else remembered, else Simplified Chinese."""
    asked = request.query_params.get("lang", "")
    session = _session(request)
    if asked in BY_TAG:
        session["lang"] = asked
    return BY_LOCALE[BY_TAG.get(asked or session.get("lang", ""), Locale.ZH_CN)]


def _session(request: AnyRequest) -> dict[str, Any]:
    """What the cookie holds; whatever is changed in it goes back with the answer."""
    scope = cast("dict[str, Any]", request.scope)
    if not scope.get("session"):
        scope["session"] = {}
    return cast("dict[str, Any]", scope["session"])


async def _form(request: AnyRequest) -> forms.Form:
    pairs = (await request.form()).multi_items()
    return forms.Form([(name, value) for name, value in pairs if isinstance(value, str)])


def _say(request: AnyRequest, words: str) -> None:
    """Shown once, on the next page."""
    _session(request)["said"] = words


def _drop(request: AnyRequest, reference: str) -> None:
    _session(request)["leases"] = {r: t for r, t in _session(request).get("leases", {}).items() if r != reference}


def _to(address: str) -> Redirect:
    return Redirect(address, status_code=303)
