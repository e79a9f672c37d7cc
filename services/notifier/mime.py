"""A letter as the bytes of a mail: one fixed shape (text and HTML alternative), built by hand. Pure.

Why by hand: the standard library's EmailMessage costs about 20 times as much for the same bytes in effect (bench/compose.py measures
both, and a test parses ours with the standard library and compares field by field). Everything from outside passes `header` or base64,
so no subject, name or address can add a header or end a part.
"""

from __future__ import annotations

import binascii
import re
from datetime import datetime
from email.utils import format_datetime

from services.notifier.layout import one_line
from services.notifier.sender import Letter
from shared.complaint import NoticeKind

WORD_BYTES = 39  # of UTF-8 in one encoded word: with its 24 of frame and base64's growth it stays under 76 columns after any header name
FOLD_AT = 76
ATOM = re.compile(r"[A-Za-z0-9 .,:;!?&()'_+/@#%*=|~\[\]-]*")
BOUNDARY = "=_complaint_desk_alternative"  # "=_" never occurs in base64 (RFC 2045 section 6.7 advises it)


def render_mail(letter: Letter, mail_from: str) -> bytes:
    """The mail with CRLF line ends, ready for DATA. Date is the notice's own, so that every attempt gives the same bytes."""
    notice = letter.notice
    automatic = "auto-replied" if notice.kind is NoticeKind.ACKNOWLEDGEMENT else "auto-generated"
    headers = [
        f"Date: {mail_date(notice.created_at)}",
        f"From: {mailbox(letter.from_name, mail_from)}",
        f"To: {one_line(notice.recipient)}",
        header("Subject", letter.subject),
        f"Message-ID: <{letter.message_id}>",
    ]
    if letter.reply_to:
        headers.append(f"Reply-To: {mailbox(letter.from_name, letter.reply_to)}")
    if letter.in_reply_to:
        headers.append(f"In-Reply-To: <{letter.in_reply_to}>")
    if letter.references:
        headers.append("References: " + "\r\n ".join(f"<{known}>" for known in letter.references))
    headers += [
        f"Auto-Submitted: {automatic}",
        "X-Auto-Response-Suppress: All",
        f"Content-Language: {notice.locale.value}",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/alternative; boundary="{BOUNDARY}"',
    ]
    if notice.kind is NoticeKind.SURVEY:
        headers.append("Precedence: bulk")
    parts = (part("plain", letter.text), part("html", letter.html))
    return "\r\n".join((*headers, "", *parts, f"--{BOUNDARY}--", "")).encode()


def part(subtype: str, content: str) -> str:
    """One alternative, in base64: no line is too long and no relay needs 8BITMIME."""
    packed = binascii.b2a_base64(content.replace("\n", "\r\n").encode(), newline=False).decode()
    lines = "\r\n".join(packed[at : at + 76] for at in range(0, len(packed), 76))
    return f'--{BOUNDARY}\r\nContent-Type: text/{subtype}; charset="utf-8"\r\nContent-Transfer-Encoding: base64\r\n\r\n{lines}'


def mail_date(at: datetime) -> str:
    return format_datetime(at)


def mailbox(name: str, address: str) -> str:
    """`name <address>` with the name quoted or encoded as it needs (RFC 5322 section 3.4, RFC 2047 section 5)."""
    plain = one_line(name)
    if not plain:
        return address
    if plain.isascii() and len(plain) <= FOLD_AT - 20 and "=?" not in plain:
        escaped = plain.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"\r\n <{address}>'
    return f"{encoded(plain)}\r\n <{address}>"


def header(name: str, value: str) -> str:
    """An unstructured header: as it is where that is plain and short, else in encoded words after its plain beginning."""
    plain = one_line(value)
    if len(name) + 2 + len(plain) <= FOLD_AT and is_plain(plain):
        return f"{name}: {plain}"
    first = next((at for at, character in enumerate(plain) if not character.isascii()), 0)
    start, space, _ = plain[:first].rpartition(" ")
    if space and len(name) + 2 + len(start) <= FOLD_AT and is_plain(start):
        return f"{name}: {start}\r\n {encoded(plain[len(start) + 1 :])}"
    return f"{name}: {encoded(plain)}"


def is_plain(words: str) -> bool:
    return "=?" not in words and ATOM.fullmatch(words) is not None


def encoded(words: str) -> str:
    """UTF-8 encoded words (RFC 2047), folded, never cutting a character in two."""
    pieces: list[bytes] = []
    current = b""
    for character in words:
        raw = character.encode()
        if len(current) + len(raw) > WORD_BYTES:
            pieces.append(current)
            current = b""
        current += raw
    pieces.append(current)
    return "\r\n ".join(f"=?utf-8?B?{binascii.b2a_base64(piece, newline=False).decode()}?=" for piece in pieces)
