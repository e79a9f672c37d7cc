"""Addresses, Message-IDs and dates out of header values (RFC 5322 section 3), however sloppily written. Pure; never raises."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_tz

from services.intake.mail.words import CONTROL, decode_words, raw_text

MAX_ADDRESSES = 1000
MAX_REFERENCES = 200
#: bounded repeats: an unclosed quote must not make each later one search to the end again
#: one address with what belongs to it: quoted strings, comments (one level), angle brackets, and everything up to the next separator
PIECE = re.compile(r"(?:\"(?:[^\"\\]|\\.){0,800}+\"|\((?:[^()\\]|\\.){0,800}+\)|<[^<>]{0,2000}+>|[^,;\"(<]|[\"(<])++", re.DOTALL)
ANGLE = re.compile(r"<([^<>]*)>?")
COMMENT = re.compile(r"\(((?:[^()\\]|\\.){0,800}+)\)", re.DOTALL)
QUOTED = re.compile(r"\"((?:[^\"\\]|\\.){0,800}+)\"", re.DOTALL)
ESCAPE = re.compile(r"\\(.)", re.DOTALL)
SPACES = re.compile(r"\s+")
GROUP = re.compile(r"^[^<>@\"]{0,200}:")
BARE = re.compile(r"[^\s<>()\",;:]+@[^\s<>()\",;:]+")
ID = re.compile(r"<([^<>\s]{1,998})>")
DATE = re.compile(
    r"(?:[A-Za-z]{2,9}\.?,?\s*)?(\d{1,2})[\s-]+([A-Za-z]{3})[a-z]*\.?,?[\s-]+(\d{4})\s+(\d{1,2}):(\d{2})(?::(\d{2}))?(?:\.\d+)?\s*([+-]\d{4})(?=\D"
    r"|$)"
)
ISO = re.compile(
    r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?[T\s]+(\d{1,2}):(\d{2})(?::(\d{2}))?(?:\.\d+)?\s*(?:(Z)"
    r"|([+-]\d{2}):?(\d{2}))?"
)
MONTHS = {
    name: number for number, name in enumerate(("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1)
}


def addresses(value: bytes, hint: str = "") -> list[tuple[str, str]]:
    """(name, address) of every mailbox in a header, in order, groups flattened.

    The domain is in lower case, the local part as written. A piece without an address gives its name and an empty address.
    """
    text = raw_text(value, hint)
    found: list[tuple[str, str]] = []
    for match in PIECE.finditer(text):
        pair = address(match[0].strip())
        if pair[0] or pair[1]:
            found.append(pair)
            if len(found) >= MAX_ADDRESSES:
                break
    return join_split_names(found)


def join_split_names(found: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """A name with an unquoted comma (Müller, Anna <a@b.example>) comes apart into two: put it together again."""
    if all(pair[1] for pair in found):
        return found
    out: list[tuple[str, str]] = []
    waiting: list[str] = []
    for name, mailbox in found:
        if not mailbox or ("@" not in mailbox and not name):
            waiting.append(name or mailbox)
        elif name and waiting:
            out.append((", ".join((*waiting, name)), mailbox))
            waiting = []
        else:
            out.extend(lone(word) for word in waiting)
            waiting = []
            out.append((name, mailbox))
    out.extend(lone(word) for word in waiting)
    return out


def lone(word: str) -> tuple[str, str]:
    """A word without an address: a local mailbox (root, MAILER-DAEMON) or just a name."""
    return ("", word) if " " not in word and word.isascii() else (word, "")


def address(piece: str) -> tuple[str, str]:
    """The name and address of one mailbox, from any of the forms in use: Name <a@b>, a@b (Name), "Name" a@b, a@b, Name."""
    if piece.find("<") < 0 or "<" not in QUOTED.sub("", piece):
        return bare_address(piece)
    outside = QUOTED.sub(lambda m: "\x00" * len(m[0]), piece)
    *_, match = ANGLE.finditer(outside)  # the last one counts: names may hold brackets
    mailbox = clean_mailbox(piece[match.start(1) : match.end(1)])
    name = clean_name(piece[: match.start()]) or clean_name(COMMENT.sub(r"\1", piece[match.end() :]))
    if not mailbox and "@" in name:
        return bare_address(name)
    return name, mailbox


def bare_address(piece: str) -> tuple[str, str]:
    group = GROUP.match(piece)
    if group:
        piece = piece[group.end() :]
    comments = [clean_name(comment) for comment in COMMENT.findall(piece)]
    rest = COMMENT.sub(" ", piece).strip()
    decoded = decode_words(rest)
    found = BARE.search(decoded)
    if found:
        name = clean_name((decoded[: found.start()] + decoded[found.end() :]).strip("<> "))
        return name or " ".join(c for c in comments if c), clean_mailbox(found[0])
    if rest.startswith('"') and "@" in rest[rest.rfind('"') :]:
        return " ".join(comments), clean_mailbox(rest)
    if decoded and '"' not in decoded and " " not in decoded and decoded.isascii() and not comments:
        return "", decoded
    return clean_name(rest) or " ".join(comments), ""


def clean_name(text: str) -> str:
    """A display name without its quotes and escapes, encoded words decoded."""
    text = text.strip()
    if '"' in text:
        if '"' in QUOTED.sub("", text):
            text = text.replace('"', "")  # an odd quote: take them all as dirt
        text = QUOTED.sub(lambda m: ESCAPE.sub(r"\1", m[1]), text)
    return SPACES.sub(" ", CONTROL.sub(" ", decode_words(text))).strip()


def clean_mailbox(text: str) -> str:
    """An address without comments, space, route and mailto:, its domain in lower case."""
    text = decode_words(text)
    if "(" in text:
        text = COMMENT.sub("", text)
    if not text.startswith('"'):
        text = CONTROL.sub("", text.replace(" ", ""))
        text = text.rpartition(":")[2].strip("'\"<>,;")
    local, at, domain = text.strip().rpartition("@")
    return f"{local}@{domain.lower().rstrip('.')}" if at else domain


def first_id(value: bytes) -> str:
    """The first Message-ID in a value without its angle brackets; the bare value where it has none and looks like one."""
    found = message_ids(value)
    return found[0] if found else ""


def message_ids(value: bytes) -> list[str]:
    """All Message-IDs of a value in order, bare and without repeats; the first and the last hundred where there are more."""
    text = raw_text(value)
    found = list(dict.fromkeys(ID.findall(text)))
    if not found and "<" not in text:
        found = list(dict.fromkeys(word for word in text.replace(",", " ").split() if "@" in word and len(word) < 998))
    elif not found:
        # a space or a fold inside the brackets: some clients break long ids so
        found = [SPACES.sub("", inner) for inner in re.findall(r"<([^<>]{1,998})>?", text) if inner.strip()]
    return found if len(found) <= MAX_REFERENCES else found[: MAX_REFERENCES // 2] + found[-MAX_REFERENCES // 2 :]


def instant(value: bytes) -> datetime | None:
    """A Date header as an aware UTC instant; None where it is none. Without a zone it is taken as UTC (RFC 5322 section 4.3, "-0000")."""
    text = raw_text(value[:200])
    try:
        match = DATE.match(text)
        if match and match[2].lower() in MONTHS:
            day, month, year, hour, minute, second, zone = match.groups()
            offset = int(zone[1:3]) * 60 + int(zone[3:5])
            moment = datetime(int(year), MONTHS[month.lower()], int(day), int(hour), int(minute), min(int(second or 0), 59), tzinfo=UTC)
            return moment - timedelta(minutes=offset if zone[0] == "+" else -offset)
        iso = ISO.search(text)
        if iso:
            year, month, day, hour, minute, second, _, hours, minutes = iso.groups()
            shift = timezone(timedelta(minutes=int(hours) * 60 + int(hours[0] + minutes))) if hours else UTC
            return datetime(int(year), int(month), int(day), int(hour), int(minute), int(second or 0), tzinfo=shift).astimezone(UTC)
        parsed = parsedate_tz(text)
        if parsed is None:
            return None
        year, month, day, hour, minute, second = parsed[:6]
        return datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC) - timedelta(seconds=parsed[9] or 0)
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
