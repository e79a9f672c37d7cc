"""Puts a notice into words: `compose(notice) -> Letter`, the same letter for the same notice, always.

Pure once the templates are loaded: no clock, socket or database. The words are in templates/<notice>/<locale>/ (body.txt for mail,
short.txt for every other channel) inside the frame of their language (templates/frame/<locale>/); what each kind needs to know is in
shared/notice_details.py. Tone: docs/domain.md section 6 and docs/wording.md. Decides wording only: never whether or when to send.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import jinja2
import msgspec
from jinja2.sandbox import SandboxedEnvironment

from services.notifier.layout import Blocks, html_blocks, one_line, paragraphs, text_blocks
from services.notifier.sender import Letter
from services.notifier.words import FACT_WORDS
from shared.complaint import Locale, Notice, NoticeKind, Thread
from shared.errors import ConfigError
from shared.notice_details import InfoRequest, NoticeDetail, Survey, read_detail
from shared.references import message_id, reply_address, tracking_url

MAIL_SOURCE = "email"
TEMPLATES = Path(__file__).parent / "templates"
SUBJECT_LENGTH = 120
LONGEST_CHAIN = 20

#: a Message-ID as the outside world writes it, without brackets; anything else in a thread is somebody else's trouble and is left out
THREAD_ID = re.compile(r"[!-;=?-~]{1,250}")
REPLY_PREFIX = re.compile(r"^(?:(?:re|fw|fwd|aw|wg|sv|回复|答复|转发|回覆|答覆|轉寄|轉發)\s*(?:\[\d+\])?\s*[:：]\s*|\[C\d{6}-[0-9A-Z]{6}\]\s*)+", re.IGNORECASE)


class DeskIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Who writes: the same for every letter of a desk.

    mail_from: our address. mail_name: our name, as Simplified Chinese readers see it. reply_mailbox: where keyed replies go, empty for
    mail_from; keyed_replies: no for mail providers that know no address tags (care+tag@...), replies are then known by their thread.
    zone: in which instants are told.
    """

    mail_from: str
    public_url: str
    mail_name: str = "客服中心"
    mail_name_zh_tw: str = "客服中心"
    mail_name_en: str = "Customer Care"
    reply_mailbox: str = ""
    keyed_replies: bool = True
    zone: str = "Asia/Shanghai"

    def __post_init__(self) -> None:
        for address in (self.mail_from, self.reply_mailbox or self.mail_from):
            if not re.fullmatch(r"[!-?A-~]+@[!-?A-~]+", address):
                raise ConfigError(f"'{one_line(address)}' is not a mail address. Mend DESK_MAIL_FROM, for example care@shop.example.")
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise ConfigError(f"'{one_line(self.zone)}' is not a time zone. Use a name such as Asia/Shanghai.") from None

    @property
    def domain(self) -> str:
        return self.mail_from.rpartition("@")[2]

    def name(self, locale: Locale) -> str:
        return {Locale.ZH_CN: self.mail_name, Locale.ZH_TW: self.mail_name_zh_tw, Locale.EN: self.mail_name_en}[locale]


class Voice(msgspec.Struct, frozen=True):
    """The compiled templates of one kind of notice in one language."""

    body: jinja2.Template
    html: jinja2.Template
    short: jinja2.Template
    subject: jinja2.Template
    frame: jinja2.Template


Wording = dict[tuple[NoticeKind, Locale], Voice]


@cache
def load_wording(folder: str = "", zone: str = "Asia/Shanghai") -> Wording:
    """All wordings, compiled once. folder: the organisation's own templates, which win over the shipped ones file by file.

    Raises ConfigError that names the template and its mend when one is missing or does not compile.
    """
    if folder and not Path(folder).is_dir():
        raise ConfigError(f"The folder of templates {folder} does not exist. Create it, or leave the setting empty for the shipped wording.")
    loader = jinja2.FileSystemLoader([folder, str(TEMPLATES)] if folder else [str(TEMPLATES)])
    plain = environment(loader, html=False)
    rich = environment(loader, html=True)
    try:
        return {(kind, locale): voice(plain, rich, kind, locale, ZoneInfo(zone)) for kind in NoticeKind for locale in Locale}
    except jinja2.TemplateSyntaxError as error:
        raise ConfigError(f"The template {error.name}, line {error.lineno}, cannot be read: {error.message}. Mend that line.") from None
    except jinja2.TemplateNotFound as error:
        raise ConfigError(f"The template {error.name} is missing. Restore it in the folder of templates.") from None


def environment(loader: jinja2.BaseLoader, *, html: bool) -> SandboxedEnvironment:
    return SandboxedEnvironment(loader=loader, undefined=jinja2.StrictUndefined, autoescape=html, trim_blocks=True, lstrip_blocks=True, auto_reload=False)


def voice(plain: SandboxedEnvironment, rich: SandboxedEnvironment, kind: NoticeKind, locale: Locale, zone: ZoneInfo) -> Voice:
    text: Blocks = text_blocks(locale, zone)
    folder = f"{kind.value}/{locale.value}"
    return Voice(
        body=plain.get_template(f"{folder}/body.txt", globals=text),
        html=rich.get_template(f"{folder}/body.txt", globals=html_blocks(locale, zone)),
        short=plain.get_template(f"{folder}/short.txt", globals=text),
        subject=plain.get_template(f"frame/{locale.value}/subject.txt"),
        frame=rich.get_template("frame/letter.html"),
    )


def compose(notice: Notice, *, desk: DeskIdentity, secret: bytes, wording: Wording | None = None) -> Letter:
    """The letter of a notice: full text and HTML for mail (source `email`), a short text for every other channel.

    Raises IncompleteNotice when the detail lacks what its kind needs, ConfigError when a template of the organisation's own fails.
    """
    detail = read_detail(notice.kind, notice.detail)
    chosen = (wording or load_wording(zone=desk.zone))[notice.kind, notice.locale]
    context = facts_of(notice, detail, desk, secret)
    key = message_id(notice.reference, notice.key, desk.domain, secret)
    try:
        if notice.source != MAIL_SOURCE:
            return Letter(notice=notice, subject="", text=settled(chosen.short.render(context)), html="", message_id=key)
        subject = subject_line(notice, chosen.subject.render(context))
        html = chosen.frame.render(lang=notice.locale.value, title=subject, content=paragraphs(chosen.html.render(context)))
        text = settled(chosen.body.render(context)) + "\n"
    except jinja2.TemplateError as error:
        raise ConfigError(f"The template of {notice.kind.value} in {notice.locale.value} cannot be filled: {error.message}. Mend it.") from None
    answered, chain = thread_ids(notice, message_id(notice.reference, "thread", desk.domain, secret))
    return Letter(
        notice=notice,
        subject=subject,
        text=text,
        html=html,
        message_id=key,
        reply_to=reply_address(desk.reply_mailbox or desk.mail_from, notice.reference, secret) if desk.keyed_replies else "",
        from_name=desk.name(notice.locale),
        in_reply_to=answered,
        references=chain,
    )


def facts_of(notice: Notice, detail: NoticeDetail, desk: DeskIdentity, secret: bytes) -> dict[str, Any]:
    """What every template may speak of."""
    link = tracking_url(desk.public_url, notice.reference, secret)
    context: dict[str, Any] = {
        "reference": notice.reference,
        "customer": one_line(detail.customer_name)[:60],
        "desk": desk.name(notice.locale),
        "link": link,
        "detail": detail,
    }
    if isinstance(detail, InfoRequest):
        context["asked"] = (*(FACT_WORDS[notice.locale][fact] for fact in detail.missing), *detail.questions)
    if isinstance(detail, Survey):
        context["survey_link"] = detail.link or link
    return context


def settled(text: str) -> str:
    """Rendered text without the gaps that sections left out leave behind."""
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def subject_line(notice: Notice, ours: str) -> str:
    """The subject: the same for every letter of a complaint, since clients part a conversation where the subject changes.

    The customer's own subject is kept, with our reference in brackets before it: that is what RFC 5256 section 2.1 (base subject) takes
    away again, so that threads hold, while a tag at the end would start a new one.
    """
    theirs = REPLY_PREFIX.sub("", one_line(notice.subject))
    if not theirs:
        return one_line(ours)
    if len(theirs) > SUBJECT_LENGTH:
        theirs = theirs[: SUBJECT_LENGTH - 1].rstrip() + "…"
    return f"Re: [{notice.reference}] {theirs}"


def thread_ids(notice: Notice, root: str) -> tuple[str, tuple[str, ...]]:
    """What the letter answers and the chain before it (RFC 5322 section 3.6.4), at most 20 ids: the first and the last 19.

    A complaint that did not come by mail has no mail to answer: its letters hang on a root of our own making, which clients accept
    although nobody ever saw it, so that they too lie in one conversation.
    """
    thread = notice.thread or Thread()
    chain = [known for known in dict.fromkeys((*thread.references, thread.message_id)) if THREAD_ID.fullmatch(known)]
    if not chain:
        return root, (root,)
    answered = thread.message_id if thread.message_id in chain else chain[-1]
    return answered, tuple(chain if len(chain) <= LONGEST_CHAIN else (chain[0], *chain[-LONGEST_CHAIN + 1 :]))



