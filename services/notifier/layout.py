"""The building blocks of a letter (facts, lists, choices, quoted words), once as plain text and once as HTML. Pure.

One template holds the words of a letter; these functions give them their shape, so that the text and the HTML part can never say
different things. Templates call them by the names in `text_blocks` and `html_blocks`. No wording lives here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from babel import Locale as BabelLocale
from babel.dates import format_datetime
from markupsafe import Markup, escape

from shared.complaint import Locale
from shared.notice_details import Option

Blocks = dict[str, Callable[..., str]]
Facts = tuple[str, str]

CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
LINE_ENDS = re.compile(r"\r\n?|[\u0085\u2028\u2029]")
GAPS = re.compile(r"\n\s*\n\s*")
LINK = re.compile(r"https?://\S+")

#: instants are told to the minute and with the weekday; the year only confuses in a matter of days
INSTANT = {
    Locale.ZH_CN: (BabelLocale.parse("zh_CN"), "M月d日（EEE）HH:mm"),
    Locale.ZH_TW: (BabelLocale.parse("zh_TW"), "M月d日（EEE）HH:mm"),
    Locale.EN: (BabelLocale.parse("en_GB"), "EEE d MMM, HH:mm"),
}
COLON = {Locale.ZH_CN: "：", Locale.ZH_TW: "：", Locale.EN: ": "}
BY = {Locale.ZH_CN: "，{} 前完成", Locale.ZH_TW: "，{} 前完成", Locale.EN: ", by {}"}
ZONE_NOTE = {Locale.ZH_CN: "", Locale.ZH_TW: "", Locale.EN: " (China time)"}

FACTS_STYLE = "margin:16px 0;padding:6px 14px 10px;background:#f6f8fa;border-radius:8px"
LABEL_STYLE = "margin-top:6px;font-size:14px;color:#57606a"
VALUE_STYLE = "font-weight:600"
WORDS_STYLE = "margin:16px 0;padding:4px 14px;border-left:4px solid #d0d7de"
CHOICE_STYLE = "margin:12px 0;padding:10px 14px;border:1px solid #d0d7de;border-radius:8px"
LINK_STYLE = "color:#0550ae"


def tidy(words: str) -> str:
    """Foreign words made safe to set: one kind of line end, no control or direction marks, no lone surrogates, gaps of one blank line."""
    plain = CONTROLS.sub("", LINE_ENDS.sub("\n", words)).encode("utf-8", "replace").decode()
    return GAPS.sub("\n\n", plain).strip()


def one_line(words: str) -> str:
    """Foreign words on a single line."""
    return " ".join(tidy(words).split())


def instant(at: datetime | None, locale: Locale, zone: ZoneInfo) -> str:
    """An instant as a customer reads it, in that zone; empty for None."""
    if at is None:
        return ""
    language, pattern = INSTANT[locale]
    return format_datetime(at, pattern, tzinfo=zone, locale=language) + ZONE_NOTE[locale]


def text_blocks(locale: Locale, zone: ZoneInfo) -> Blocks:
    """The blocks as plain text."""

    def facts(*rows: Facts) -> str:
        return "\n".join(f"{label}{COLON[locale]}{tidy(value)}" for label, value in rows if value)

    def bullets(items: Iterable[str]) -> str:
        return "\n".join(f"- {one_line(item)}" for item in items)

    def choices(options: Iterable[Option]) -> str:
        return "\n".join(
            f"{number}. {headline(option, locale, zone)}" + (f"\n   {one_line(option.detail)}" if option.detail else "")
            for number, option in enumerate(options, 1)
        )

    return {"facts": facts, "bullets": bullets, "choices": choices, "says": tidy, "when": lambda at: instant(at, locale, zone)}


def html_blocks(locale: Locale, zone: ZoneInfo) -> Blocks:
    """The same blocks as HTML, everything from outside escaped. None of them holds a blank line, which `paragraphs` relies on."""

    def facts(*rows: Facts) -> str:
        told = (f'<div style="{LABEL_STYLE}">{escape(label)}</div><div style="{VALUE_STYLE}">{linked(value)}</div>' for label, value in rows if value)
        return Markup(f'<div style="{FACTS_STYLE}">{"".join(told)}</div>')

    def bullets(items: Iterable[str]) -> str:
        return Markup("<ul>" + "".join(f"<li>{escape(one_line(item))}</li>" for item in items) + "</ul>")

    def choices(options: Iterable[Option]) -> str:
        return Markup("".join(choice(number, option) for number, option in enumerate(options, 1)))

    def choice(number: int, option: Option) -> str:
        more = f"<br>{escape(one_line(option.detail))}" if option.detail else ""
        return f'<div style="{CHOICE_STYLE}"><b>{number}. {escape(headline(option, locale, zone))}</b>{more}</div>'

    def says(words: str) -> str:
        return Markup(f'<div style="{WORDS_STYLE}">{broken(words)}</div>')

    return {"facts": facts, "bullets": bullets, "choices": choices, "says": says, "when": lambda at: instant(at, locale, zone)}


def headline(option: Option, locale: Locale, zone: ZoneInfo) -> str:
    """What an option is and by when, in one line."""
    return one_line(option.title).rstrip("。.；;，,") + BY[locale].format(instant(option.by, locale, zone))


def broken(words: str) -> str:
    return str(escape(tidy(words))).replace("\n", "<br>")


def linked(value: str) -> str:
    """A value as HTML: a link where it is nothing but an address."""
    if LINK.fullmatch(value):
        return f'<a href="{escape(value)}" style="{LINK_STYLE}">{escape(value)}</a>'
    return broken(value)


def paragraphs(body: Any) -> Markup:
    """A rendered HTML body whose blank lines part paragraphs: runs of words become <p>, blocks stay as they are."""
    parts = (part.strip() for part in re.split(r"\n\s*\n", str(body)))
    return Markup("\n".join(part if part.startswith(("<ul", "<div")) else f"<p>{part.replace(chr(10), '<br>')}</p>" for part in parts if part))
