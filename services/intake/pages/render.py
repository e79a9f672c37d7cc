"""Turns values into pages: the language, the templates, the headers that keep a page to itself. Reads nothing and decides nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from babel.dates import format_datetime
from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import Response
from litestar.datastructures import Cookie

from services.http import AnyRequest
from services.intake.pages.words import WORDS
from shared.complaint import Locale
from shared.references import BUSINESS_ZONE

CSS = (Path(__file__).parent / "static" / "desk.css").read_bytes()
CSS_URL = f"/static/desk.css?v={hashlib.sha256(CSS).hexdigest()[:12]}"
LANG_COOKIE = "lang"
COOKIE_AGE = 365 * 24 * 3600
#: no scripts at all, nothing from elsewhere, in nobody's frame; the address (it may hold a secret) goes to nobody
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
PRIVATE = {"X-Robots-Tag": "noindex, nofollow"}
PATTERNS = {Locale.ZH_CN: "M月d日（EEE）HH:mm", Locale.ZH_TW: "M月d日（EEE）HH:mm", Locale.EN: "EEE d MMM, HH:mm"}
BABEL = {Locale.ZH_CN: "zh_Hans_CN", Locale.ZH_TW: "zh_Hant_TW", Locale.EN: "en_GB"}

templates = Environment(
    loader=PackageLoader("services.intake.pages"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)


def choose(asked: str | None, cookie: str | None, accepted: str) -> Locale:
    """The language of a page: asked for in the address, remembered, or what the browser says it likes (RFC 9110, 12.5.4); else zh-CN."""
    for wish in (asked, cookie):
        if wish and (locale := read_tag(wish)):
            return locale
    wishes: list[tuple[float, str]] = []
    for part in accepted[:500].split(","):
        tag, _, weight = part.partition(";q=")
        try:
            wishes.append((-float(weight or 1), tag.strip()))
        except ValueError:
            continue
    for weight, tag in sorted(wishes, key=lambda wish: wish[0]):
        if weight and (locale := read_tag(tag)):
            return locale
    return Locale.ZH_CN


def read_tag(tag: str) -> Locale | None:
    """One of our languages for a BCP 47 tag such as zh-Hant-HK or en-GB, or None."""
    parts = tag.lower().replace("_", "-").split("-")
    if parts[0] == "zh":
        traditional = "hant" in parts or ("hans" not in parts and {"tw", "hk", "mo"} & set(parts))
        return Locale.ZH_TW if traditional else Locale.ZH_CN
    return Locale.EN if parts[0] == "en" else None


def when(at: datetime, locale: Locale) -> str:
    """An instant as the customer reads it, in business time."""
    return format_datetime(at, PATTERNS[locale], tzinfo=BUSINESS_ZONE, locale=BABEL[locale])


def page(name: str, locale: Locale, values: Mapping[str, Any], *, status: int = 200, private: bool = False) -> Response[bytes]:
    """A whole page. private: it belongs to one customer, and search engines leave it alone."""
    words = WORDS[locale]

    def told(at: datetime) -> str:
        return when(at, locale)

    body = templates.get_template(f"{name}.html").render(
        t=words,
        locale=locale.value,
        languages=[(other.value, WORDS[other]["lang_name"]) for other in Locale],
        css=CSS_URL,
        when=told,
        private=private,
        **values,
    )
    return Response(
        body.encode(),
        status_code=status,
        media_type="text/html",
        headers={**HEADERS, **(PRIVATE if private else {}), "Content-Language": locale.value, "Vary": "Accept-Language, Cookie"},
    )


def wants_page(request: AnyRequest) -> bool:
    """Whether a browser asks, not a program."""
    return "text/html" in request.headers.get("accept", "") and not request.scope["path"].startswith(("/api/", "/channels/"))


def remember(locale: Locale) -> Cookie:
    """The cookie that keeps a chosen language for a year. It says nothing of the customer."""
    return Cookie(key=LANG_COOKIE, value=locale.value, max_age=COOKIE_AGE, httponly=True, samesite="lax", path="/")
