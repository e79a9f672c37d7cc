"""Raw bytes to one Mail. Pure; raises only Unreadable and TooLarge, in time and memory bounded by the size of the input.

What cannot be understood is kept: unknown parts as attachments, doubts as notes, the text uncut where the cut is not certain.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime

import msgspec

from services.intake.mail import html
from services.intake.mail.automatic import why_automatic, why_unanswerable
from services.intake.mail.bounces import Receipt, find_bounce, find_receipt
from services.intake.mail.charsets import decode
from services.intake.mail.headers import addresses, first_id, instant, message_ids
from services.intake.mail.quotes import cut
from services.intake.mail.tree import Part, content, grow, leaves, read_headers
from services.intake.mail.words import header_text
from shared.complaint import Bounce
from shared.errors import TooLarge, Unreadable

MAX_BYTES = 26_214_400
MAX_TEXT = 1_000_000
MAX_SUBJECT = 2000
MESSAGES = frozenset({"message/rfc822", "message/global", "message/news"})
#: other renderings of the same body, of no use beside it
OTHER_RENDERINGS = frozenset({"text/x-amp-html", "text/watch-html", "text/enriched", "text/richtext"})
META_CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]{2,40})", re.IGNORECASE)
BAD_NAME = re.compile(r"[\x00-\x1f\x7f]+")
#: characters that lift text over its neighbours or turn it round: a file name with them lies
TURNING = re.compile("[\u202a-\u202e\u2066-\u2069\u200e\u200f]")
NO_HTML_SUPPORT = re.compile(r"html", re.IGNORECASE)
ASKS_FOR_HTML = re.compile(r"support|client|viewer|reader|browser|capable|view this|display|支持|浏览|查看|檢視", re.IGNORECASE)


class Address(msgspec.Struct, frozen=True):
    """Who wrote. Either may be empty; the domain is in lower case."""

    name: str = ""
    address: str = ""


class File(msgspec.Struct, frozen=True):
    """An attachment, decoded. size in bytes; sha256 in hex; inline where the sender's client shows it inside the text."""

    filename: str
    media_type: str
    size: int
    sha256: str
    inline: bool
    data: bytes


class Mail(msgspec.Struct, frozen=True, kw_only=True):
    """One mail as a person reads it. text is what is new, quoted what was cut from it; addresses and ids are bare.

    recipients: every address it was sent to, those of the transport included. automatic and unanswerable hold the reason or are empty.
    embedded: the text of a mail that came as attachment, where this one says nothing itself. notes: what was doubtful or not readable.
    """

    sender: Address
    reply_to: str
    to: tuple[str, ...]
    cc: tuple[str, ...]
    recipients: tuple[str, ...]
    subject: str
    text: str
    quoted: str
    html: bool
    files: tuple[File, ...]
    message_id: str
    in_reply_to: str
    references: tuple[str, ...]
    sent_at: datetime | None
    automatic: str
    unanswerable: str
    bounce: Bounce | None
    receipt: Receipt | None
    embedded: str = ""
    notes: tuple[str, ...] = ()

    @property
    def auto_submitted(self) -> bool:
        return bool(self.automatic)


class Body:
    """Text and files found so far, while a mail is read."""

    def __init__(self) -> None:
        self.texts: list[tuple[str, bool]] = []
        self.files: list[Part] = []
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def read_mail(raw: bytes, max_bytes: int = MAX_BYTES) -> Mail:
    """Read one mail (RFC 5322 and MIME). Raises Unreadable for what is no mail at all, TooLarge beyond max_bytes or a thousand parts."""
    if len(raw) > max_bytes:
        raise TooLarge(f"The mail has {len(raw)} bytes, more than the {max_bytes} this desk takes. Send it with smaller attachments.")
    root = grow(raw)
    if root is None:
        what = "The file is empty" if not raw.strip() else "It begins with no mail header such as From: or Subject:"
        raise Unreadable(f"This is no mail. {what}. Send the message as it is, or export it in .eml form (RFC 5322).")
    body = Body()
    walk(root, body)
    speak_by_name(root, body)
    hint = charset_hint(root)
    subject = header_text(root.first("subject"), hint)[:MAX_SUBJECT]
    sender = find_sender(root, hint)
    whole_text = join_texts(body)
    files = tuple(make_file(part) for part in body.files)
    divided = cut(whole_text, subject, bool(files))
    bounce = find_bounce(root, subject, (sender.name, sender.address), whole_text)
    receipt = None if bounce else find_receipt(root)
    to, cc = (tuple(a for _, a in mailboxes(root, name, hint) if a) for name in ("to", "cc"))
    references = message_ids(b" ".join(root.headers.get("references", ())))
    return Mail(
        sender=sender,
        reply_to=next((a for _, a in mailboxes(root, "reply-to", hint) if a), ""),
        to=to,
        cc=cc,
        recipients=all_recipients(root, to + cc),
        subject=subject,
        text=divided.new,
        quoted=divided.quoted,
        html=next((from_html for text, from_html in body.texts if text.strip()), False),
        files=files,
        message_id=first_id(root.first("message-id")),
        in_reply_to=first_id(root.first("in-reply-to")),
        references=tuple(references),
        sent_at=instant(root.first("date")),
        automatic=("delivery report" if bounce else "receipt" if receipt else "") or automatic_reason(root, subject, sender.address),
        unanswerable=why_unanswerable(root.headers, sender.address),
        bounce=bounce,
        receipt=receipt,
        embedded="" if divided.new.strip() or bounce else embedded_text(body.files),
        notes=tuple(body.notes),
    )


def display_html(raw: bytes) -> str:
    """The HTML body of a mail, made safe to show; "" where it has none. Raises as read_mail does."""
    root = grow(raw)
    for leaf in leaves(root) if root else ():
        if leaf.media_type == "text/html" and leaf.disposition != "attachment":
            return html.sanitise(html_source(leaf)[0])
    return ""


def automatic_reason(root: Part, subject: str, sender: str) -> str:
    reason = why_automatic(root.headers, subject, sender)
    if reason:
        return reason
    for leaf in leaves(root):
        if leaf.media_type == "text/calendar" and leaf.type_parameters.get("method", "").upper() == "REPLY":
            return "answer to an invitation"
    return "report" if root.media_type == "multipart/report" else ""


def charset_hint(root: Part) -> str:
    """The charset of the mail's text, for header bytes that name none."""
    return root.charset or next((leaf.charset for leaf in leaves(root) if leaf.charset and leaf.media_type.startswith("text/")), "")


def mailboxes(root: Part, name: str, hint: str) -> list[tuple[str, str]]:
    return [pair for value in root.headers.get(name, ()) for pair in addresses(value, hint)]


def find_sender(root: Part, hint: str) -> Address:
    """From; Sender, Reply-To or the envelope where it is missing or holds no address."""
    named = ""
    for header in ("from", "sender", "reply-to", "return-path", "x-sender", "apparently-from"):
        for name, mailbox in mailboxes(root, header, hint):
            named = named or name
            if mailbox:
                return Address(name or (named if header == "from" else ""), mailbox)
        if header == "from" and named:
            return Address(named, "")
    return Address(named, "")


def all_recipients(root: Part, seen: tuple[str, ...]) -> tuple[str, ...]:
    found = list(seen)
    for header in ("delivered-to", "x-original-to", "envelope-to", "x-envelope-to", "x-rcpt-to", "resent-to"):
        found.extend(a for _, a in mailboxes(root, header, "") if "@" in a)
    return tuple(dict.fromkeys(a.lower() for a in found))


def walk(part: Part, body: Body) -> None:
    """Sort a part and what is below it into text and files."""
    if part.media_type == "multipart/alternative" and part.children:
        choose(part, body)
    elif part.media_type == "multipart/related" and part.children:
        start = part.type_parameters.get("start", "").strip("<> ")
        chosen = next(
            (c for c in part.children if start and c.first("content-id").decode("ascii", "replace").strip("<> ") == start), part.children[0]
        )
        for child in (chosen, *(c for c in part.children if c is not chosen)):
            if child is chosen or child.children:
                walk(child, body)
            else:
                body.files.append(child)
    elif part.children:
        if part.media_type == "multipart/encrypted":
            body.note("The mail is encrypted (PGP) and cannot be read here; it is kept as attachment.")
        for child in part.children:
            walk(child, body)
    elif is_text(part):
        add_text(part, body)
    else:
        note_special(part, body)
        body.files.append(part)


def speak_by_name(root: Part, body: Body) -> None:
    """Where nothing else is the letter, the first part is it, also when the client gave its text a file name."""
    first = next(leaves(root))
    if not body.texts and first in body.files and first.media_type in {"text/plain", "text/html"} and not first.disposition:
        body.files.remove(first)
        add_text(first, body)


def is_text(part: Part) -> bool:
    """Whether a leaf is part of the letter itself rather than something attached to it."""
    if part.disposition == "attachment":
        return False
    if part.depth == 0:
        return part.media_type.startswith("text/") and part.media_type != "text/calendar"
    if part.media_type not in {"text/plain", "text/html"}:
        return False
    return part.parent == "multipart/alternative" or not own_name(part)


def choose(part: Part, body: Body) -> None:
    """multipart/alternative (RFC 2046 section 5.1.4): the plain text where it says something, else the HTML; files are kept."""
    plain = [c for c in part.children if c.media_type == "text/plain" and is_text(c)]
    rich = [
        c
        for c in part.children
        if c not in plain and any(leaf.media_type == "text/html" and leaf.disposition != "attachment" for leaf in leaves(c))
    ]
    other = [c for c in part.children if c not in plain and c not in rich]
    side = Body()
    for child in plain:
        walk(child, side)
    said = "\n".join(text for text, _ in side.texts).strip()
    placeholder = len(said) < 400 and NO_HTML_SUPPORT.search(said) is not None and ASKS_FOR_HTML.search(said) is not None
    if rich and (not said or placeholder):
        taken = Body()
        walk(rich[-1], taken)
        if any(text.strip() for text, _ in taken.texts) or not said:
            side.texts = taken.texts
        side.files.extend(taken.files)
        side.notes.extend(taken.notes)
        rich = rich[:-1]
    for child in rich:
        side.files.extend(
            leaf
            for leaf in leaves(child)
            if not (leaf.media_type in {"text/html", "text/plain"} and leaf.disposition != "attachment" and not own_name(leaf))
        )
    for child in other:
        if child.children:
            walk(child, side)
        elif child.media_type not in OTHER_RENDERINGS:
            note_special(child, side)
            side.files.append(child)
    body.texts.extend(side.texts)
    body.files.extend(side.files)
    for text in side.notes:
        body.note(text)


def note_special(part: Part, body: Body) -> None:
    """Say so where an attachment holds the real letter in a form that is not read here."""
    kind = part.media_type
    if kind in {"application/pkcs7-mime", "application/x-pkcs7-mime"}:
        body.note("The mail is in S/MIME form and is not opened here; it is kept as attachment. Ask the customer for a plain mail.")
    elif kind == "application/pgp-encrypted":
        body.note("The mail is encrypted (PGP) and cannot be read here; it is kept as attachment.")
    elif kind in {"application/ms-tnef", "application/vnd.ms-tnef"} or own_name(part).lower() == "winmail.dat":
        body.note("Outlook packed its attachments into winmail.dat; it is kept as it is.")
    elif kind.startswith("multipart/"):
        body.note("Parts nested too deeply are kept whole as one attachment.")
    elif kind == "message/partial":
        body.note("This is one piece of a mail sent in several; the pieces are kept as they are.")


def add_text(part: Part, body: Body) -> None:
    """Decode a text leaf into the body; HTML that only repeats the plain text before it is left out."""
    if part.media_type == "text/html":
        source, doubtful = html_source(part)
        text, from_html = html.to_text(source), True
        if len(source) > html.MAX_HTML:
            body.note("The HTML is very long; its end is only in the original.")
        start = squeezed(text)
        if body.texts and (not start or start == squeezed(body.texts[-1][0])):
            return
    else:
        text, doubtful = decode(content(part), part.charset)
        text, from_html = plain_text(text, part), False
        if part.media_type in {"text/enriched", "text/richtext"}:
            text = html.to_text(text.replace("\n\n", "<br>").replace("<<", "&lt;"))
    if doubtful:
        body.note("The charset of the text is doubtful; some characters may be wrong.")
    if len(text) > MAX_TEXT:
        body.note(f"The text is longer than {MAX_TEXT} characters; its end is only in the original.")
    body.texts.append((text[:MAX_TEXT], from_html))


def squeezed(text: str) -> str:
    return re.sub(r"\W+", "", text[:400])[:60]


def html_source(part: Part) -> tuple[str, bool]:
    """The HTML of a leaf; the document's own meta charset serves where the part's label is missing or wrong."""
    data = content(part)
    meta = META_CHARSET.search(data[:4096])
    own = meta[1].decode("ascii") if meta else ""
    return decode(data, part.charset or own, own)


def plain_text(text: str, part: Part) -> str:
    """Line ends as \\n, no-break spaces as spaces; flowed text whose line ends count for nothing is joined (RFC 3676, DelSp=yes)."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\xa0", " ").replace("\x00", "").replace(html.QUOTE_MARK, "")
    if part.type_parameters.get("delsp", "").lower() != "yes":
        return text
    out: list[str] = []
    joining = False
    for line in text.split("\n"):
        soft = line.endswith(" ") and line != "-- "
        if joining and not line.startswith(">"):
            out[-1] += line[:-1] if soft else line
        else:
            out.append(line[:-1] if soft else line)
        joining = soft and not line.startswith(">")
    return "\n".join(out)


def join_texts(body: Body) -> str:
    return "\n\n".join(text.strip("\n") for text, _ in body.texts if text.strip()).strip("\n")


def own_name(part: Part) -> str:
    """The file name a part gives itself: filename before name, the extended form before the plain one (RFC 2183, RFC 2231)."""
    return part.disposition_parameters.get("filename") or part.type_parameters.get("name") or part.disposition_parameters.get("name") or ""


def make_file(part: Part) -> File:
    data = content(part)
    name = TURNING.sub("", BAD_NAME.sub(" ", own_name(part)))
    name = re.split(r"[/\\]", name.strip().rstrip("/\\"))[-1].strip()
    if not name and part.media_type in MESSAGES:
        name = embedded_name(data)
    inline = part.disposition == "inline" or (
        part.disposition != "attachment" and part.parent == "multipart/related" and bool(part.first("content-id"))
    )
    return File(name[-200:], part.media_type, len(data), hashlib.sha256(data).hexdigest(), inline, data)


def embedded_name(data: bytes) -> str:
    """The subject of a mail that came as attachment, as a file name."""
    fields, _ = read_headers(data.lstrip()[:100_000], 0, min(len(data.lstrip()), 100_000))
    subject = header_text(next(iter(fields.get("subject", [])), b""))
    return (re.sub(r"[\\/:*?\"<>|\s]+", " ", subject).strip()[:80] or "message") + ".eml"


def embedded_text(parts: list[Part]) -> str:
    """The text of the first mail among the attachments."""
    for part in parts:
        if part.media_type in MESSAGES:
            inner = grow(content(part))
            if inner is not None:
                body = Body()
                walk(inner, body)
                return join_texts(body).replace(html.QUOTE_MARK, "")
    return ""
