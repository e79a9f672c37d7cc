"""Reports about our own mail: not delivered (RFC 3464 and what others send instead) or read (RFC 8098). Pure; never raises.

A structured report is read here; the zoo of older forms by flufl.bounce; QQ, NetEase and other Chinese systems, which neither knows,
by rules of our own. Only mail that looks like a report is searched for addresses: a customer who quotes one is no bounce.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from email import message_from_bytes
from email.policy import compat32

import msgspec
from flufl.bounce import all_failures  # pyright: ignore[reportUnknownVariableType] - its argument has no annotation

from services.intake.mail.automatic import first
from services.intake.mail.headers import BARE, clean_mailbox, first_id
from services.intake.mail.tree import Headers, Part, content, leaves, read_headers
from services.intake.mail.words import header_text
from shared.complaint import Bounce

#: what flufl.bounce gets to see at most: reports stand at the top, the original below
MAX_SCANNED = 200_000
#: its patterns are ASCII, and 8-bit headers make the standard library give it objects it does not expect
ASCII = bytes(range(128)) + b"?" * 128
# it logs each detector it tries, and with a traceback, mail text included, each that fails
logging.getLogger("flufl.bounce").setLevel(logging.CRITICAL)
SENDER = re.compile(
    r"(?:mailer[-_.]?daemon|mail[-_.]?daemon|postmaster|mail-?delivery|maildelivery|mdaemon|system[-_.]?admin"
    r"|bounce|mail[-_]system|dsn|mailsystem|smtp-?daemon)",
    re.IGNORECASE,
)
SENDER_NAME = re.compile(
    r"mail delivery|delivery (?:sub)?system|mail administrator|系统退信|邮件系统|退信|postmaster|郵件傳遞", re.IGNORECASE
)
SUBJECT = re.compile(
    r"退信|退回|投递失败|无法投递|未送达|未能送达|发送失败|传送失败|投遞失敗|傳送失敗|無法傳遞|無法傳送"
    r"|無法投遞|未傳遞|傳遞狀態|投递状态|投递延迟"
    r"|undeliver|delivery[ -](?:status|failure|failed|has failed|delay|problem|report|notification|error"
    r"|unsuccessful)|(?:mail|message)[ -]delivery|failure[ -](?:notice|notification)|returned (?:mail|e-?mail"
    r"|message|to sender)|mail (?:system error|could not|failure|undelivered)"
    r"|could ?n[o']t (?:be )?(?:send|sent|deliver)|non-?deliver|not (?:be )?deliver|permanent fail"
    r"|unzustellbar|nicht zugestellt|non remis|non distribu|[ée]chec de (?:la )?(?:remise|distribution)"
    r"|no se (?:puede|pudo|ha podido) entregar|no entregado"
    r"|mancat[ao] (?:recapito|consegna)|message status|rejected mail|bounced? mail|mail rejected|não entregue"
    r"|falha (?:na|de) entrega|onbestelbaar|недоставлен|не доставлено|配信(?:不能|エラー)|delayed mail"
    r"|still being retried|warning: (?:message|could)",
    re.IGNORECASE,
)
TEMPORARY = re.compile(
    r"暂时|延迟|延遲|稍后|稍後|将继续|將繼續|重试|重試|再次尝试|仍在尝试|无需重(?:新)?发|will (?:continue"
    r"|retry|be retried|keep trying|try again|still)|still (?:being )?(?:try|retr)|has been delayed"
    r"|delivery delay|(?:is|been) delayed|not yet been delivered"
    r"|temporary (?:failure|problem|error)|transient|do not (?:need to )?resend|warning message only"
    r"|wird weiter versucht|verzögert",
    re.IGNORECASE,
)
GAVE_UP = re.compile(
    r"giving up|gave up|permanent|fatal error|不存在|被退回|退信原因|已放弃|(?<!暂时)无法(?:送达|投递)"
    r"|不再尝试|failed permanently|\b5\d\d[ -]5\.\d\.\d|\b5\.[0-7]\.\d{1,3}\b",
    re.IGNORECASE,
)
ABOUT_RECIPIENT = re.compile(
    r"收件人|收信人|收件者|对方|對方|无法送达|无法投递|不能送达|投递失败|发送失败|不存在|退回|拒收|无法发送"
    r"|無法傳遞|recipient|could not be delivered|couldn't be delivered|wasn't delivered|delivery (?:to|failed)"
    r"|failed|rejected"
    r"|unknown|undeliver|not (?:be )?(?:found|delivered|exist)|does(?:n't| not) exist|no such|unable to"
    r"|Empfänger|destinataire|destinatario|<[^<>\s]+@[^<>\s]+>\s*[:：]",
    re.IGNORECASE,
)
STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
ORIGINAL_COPY = re.compile(
    r"^[ \t>-]*(?:-{2,}.{0,60}(?:copy of|original|headers|原邮件|原始邮件|undelivered).{0,60}|(?:原邮件信息"
    r"|以下是原邮件|原信信息|邮件原文|原始邮件信息).{0,30}|Return-Path:.*|Received: .*)$",
    re.IGNORECASE | re.MULTILINE,
)


class Receipt(msgspec.Struct, frozen=True):
    """Word that a mail of ours arrived or was opened. kind: read or delivered."""

    kind: str
    original_id: str
    disposition: str = ""


def find_receipt(root: Part) -> Receipt | None:
    """A disposition notification (RFC 8098), or a delivery report that tells only of success (RFC 3464)."""
    for leaf in leaves(root):
        if leaf.media_type == "message/disposition-notification":
            fields, _ = read_headers(content(leaf).lstrip(), 0, len(leaf.raw))
            return Receipt(
                "read",
                first_id(next(iter(fields.get("original-message-id", [])), b"")),
                first(fields, "disposition").rpartition(";")[2].strip(),
            )
        if is_status(leaf):
            actions = {told.action for told in recipients_of(leaf)}
            if actions and actions <= {"delivered", "relayed", "expanded"}:
                return Receipt("delivered", original_id(root))
    return None


def is_status(leaf: Part) -> bool:
    return leaf.media_type in {"message/delivery-status", "message/global-delivery-status"}


def find_bounce(root: Part, subject: str, sender: tuple[str, str], text: str) -> Bounce | None:
    """What mail of ours did not arrive, or None where this is no such report. text: the readable text of the mail."""
    told = [of_one for leaf in leaves(root) if is_status(leaf) for of_one in recipients_of(leaf)]
    failed = [of_one for of_one in told if of_one.action == "failed"]
    delayed = [of_one for of_one in told if of_one.action == "delayed"]
    if reported := failed or delayed:
        return Bounce(
            recipients=unique(of_one.mailbox for of_one in reported),
            permanent=bool(failed),
            original_id=original_id(root),
            status=next((of_one.status for of_one in reported if of_one.status), ""),
        )
    if told:
        return None
    headers = root.headers
    if not suspicious(root, subject, sender):
        return None
    temporary = TEMPORARY.search(text[:4000]) is not None and GAVE_UP.search(text[:4000]) is None
    exim = unique(BARE.findall(", ".join(header_text(value) for value in headers.get("x-failed-recipients", []))))
    if exim:
        return Bounce(recipients=exim, permanent=not temporary, original_id=original_id(root))
    passing, lasting = scan(root.whole)
    if lasting or passing:
        return Bounce(recipients=unique(lasting or passing), permanent=bool(lasting), original_id=original_id(root))
    if not SUBJECT.search(subject + " " + sender[0]):
        return None
    return Bounce(recipients=addresses_in(text, headers, sender[1]), permanent=not temporary, original_id=original_id(root))


def suspicious(root: Part, subject: str, sender: tuple[str, str]) -> bool:
    """Whether enough says that this is a report for its text to be searched: its type, or two of sender, subject and envelope."""
    if root.media_type == "multipart/report" and root.type_parameters.get("report-type", "").lower() in {"", "delivery-status"}:
        return True
    if "x-failed-recipients" in root.headers:
        return True
    by_sender = SENDER.match(sender[1].partition("@")[0]) is not None or SENDER_NAME.search(sender[0]) is not None
    by_subject = SUBJECT.search(subject) is not None
    by_envelope = "return-path" in root.headers and first(root.headers, "return-path") in {"<>", "", "<mailer-daemon>"}
    return by_sender or (by_subject and (by_envelope or first(root.headers, "auto-submitted") not in {"", "no"}))


class Reported(msgspec.Struct, frozen=True):
    """What a delivery status says of one recipient: the action in lower case, the address, and the status code where it is one."""

    action: str
    mailbox: str
    status: str


def recipients_of(leaf: Part) -> list[Reported]:
    """Each recipient block of a delivery status (RFC 3464 section 2.3)."""
    data = content(leaf).replace(b"\r\n", b"\n").strip(b"\n")
    found: list[Reported] = []
    for block in re.split(rb"\n[ \t]*\n", data)[:500]:
        fields, _ = read_headers(block + b"\n\n", 0, len(block) + 2)
        mailbox = recipient(fields)
        status = first(fields, "status")
        action = (re.match(r"[a-z]+", first(fields, "action")) or [""])[0]
        if action.startswith("fail"):
            action = "failed"
        elif action.startswith("delay"):
            action = "delayed"
        elif action not in {"delivered", "relayed", "expanded"}:
            action = "failed" if status.startswith("5") else "delayed" if status.startswith("4") else ""
        if mailbox and action:
            code = STATUS.match(status)
            found.append(Reported(action, mailbox, code[0] if code else ""))
    return found


def recipient(fields: Headers) -> str:
    """The address of a recipient block: the one we wrote to (Original-Recipient) before the one it ended at (Final-Recipient)."""
    for name in ("original-recipient", "final-recipient", "x-actual-recipient"):
        for value in fields.get(name, ()):
            _, typed, mailbox = header_text(value).partition(";")
            match = BARE.search(mailbox if typed else header_text(value))
            if match:
                return clean_mailbox(match[0].replace("+2B", "+")).lower()
    return ""


def original_id(root: Part) -> str:
    """The Message-ID of the mail a report speaks of, from the copy it carries."""
    for leaf in leaves(root):
        if leaf.media_type in {
            "message/rfc822",
            "text/rfc822-headers",
            "message/global",
            "message/global-headers",
            "message/rfc822-headers",
        }:
            data = content(leaf).lstrip()
            fields, _ = read_headers(data, 0, len(data))
            found = first_id(next(iter(fields.get("message-id", [])), b""))
            if found:
                return found
    return ""


def scan(whole: bytes) -> tuple[list[str], list[str]]:
    """(temporary, permanent) addresses that flufl.bounce knows how to find."""
    try:
        temporary, permanent = all_failures(message_from_bytes(whole[:MAX_SCANNED].translate(ASCII), policy=compat32))
    except Exception:  # whatever a third party's patterns do on hostile input, the mail itself must still be read
        return [], []
    return [a.decode("utf-8", "replace") for a in temporary if b"@" in a], [a.decode("utf-8", "replace") for a in permanent if b"@" in a]


def addresses_in(text: str, headers: Headers, sender: str) -> tuple[str, ...]:
    """The addresses a free-text report speaks of: those in lines about recipients, else all it names; never ours or the reporter's."""
    copy = ORIGINAL_COPY.search(text)
    told = text[: copy.start()] if copy and copy.start() > 20 else text
    ours = {
        clean_mailbox(a).lower()
        for value in (*headers.get("to", []), *headers.get("delivered-to", []))
        for a in BARE.findall(header_text(value))
    }
    ours.add(sender.lower())
    lines = told.split("\n")[:200]
    near: list[str] = []
    for number, line in enumerate(lines):
        if ABOUT_RECIPIENT.search(line) or (number and ABOUT_RECIPIENT.search(lines[number - 1]) and len(lines[number - 1]) < 200):
            near.extend(BARE.findall(line))
    for found in (near, BARE.findall(told[:20_000])):
        chosen = unique(a for a in found if clean_mailbox(a).lower() not in ours and not SENDER.match(a))
        if chosen:
            return chosen[:20]
    return ()


def unique(found: Iterable[str]) -> tuple[str, ...]:
    """Addresses in lower case, cleaned of what Chinese text glues to them, without repeats, in order."""
    cleaned = (re.sub(r"^[^\w]+|[^\w]+$", "", clean_mailbox(re.sub(r"[^\x21-\x7e]+", " ", a).strip().split(" ")[0])).lower() for a in found)
    return tuple(dict.fromkeys(a for a in cleaned if "@" in a))
