"""A mail as a tree of parts (RFC 2045, 2046), split on bytes, whatever is broken in it. Pure.

Raises only TooLarge, for more parts than any letter has. Every search runs over a part's own range once, the depth is limited, and what
lies deeper is kept whole as an attachment: time and memory are bounded by the size of the input.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator

import msgspec

from services.intake.mail.words import decode_base64, parameters
from shared.errors import TooLarge

MAX_PARTS = 1000
MAX_DEPTH = 30
MAX_HEADERS = 2000
MAX_FALSE_BOUNDARIES = 20_000

Headers = dict[str, list[bytes]]

BLANK_LINE = re.compile(rb"\r?\n\r?\n")
FIELD = re.compile(rb"([!-9;-~]{1,200})[ \t]*:[ \t]*(.*(?:\n[ \t].*)*)(?:\n|\Z)")
LINE = re.compile(rb".*(?:\n|\Z)")
MBOX_LINE = re.compile(rb">?From [^\n]*\n")
KNOWN_FIELD = re.compile(
    rb"(?:from|to|cc|bcc|subject|date|message-id|in-reply-to|references|reply-to|sender|return-path|received|delivered-to|mime-version"
    rb"|content-[a-z-]+|x-[a-z0-9-]+|dkim-signature|authentication-results|list-[a-z-]+|auto-submitted|precedence|importance|user-agent"
    rb"|envelope-to|status|lines|organization|thread-[a-z]+|resent-[a-z-]+|errors-to|apparently-to|feedback-id)[ \t]*:",
    re.IGNORECASE,
)
PLAUSIBLE_FIELD = re.compile(rb"[A-Za-z][A-Za-z0-9_-]{0,75}[ \t]*:")
MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+*-]+")
LOST_BOUNDARY = re.compile(rb"(?:^|\n)--([^\r\n]{1,200}?)[ \t]*\r?\n(?=content-)", re.IGNORECASE)
NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/=\s]")


class Part(msgspec.Struct, eq=False):
    """One part: its headers (names in lower case), its type, and the range of its body in the whole mail. Not kept beyond the reading."""

    whole: bytes
    start: int
    end: int
    headers: Headers
    media_type: str
    type_parameters: dict[str, str]
    disposition: str = ""
    disposition_parameters: dict[str, str] = {}
    children: list[Part] = []
    depth: int = 0
    parent: str = ""
    boundary_lost: bool = False

    @property
    def charset(self) -> str:
        return self.type_parameters.get("charset", "").split(" ")[0]

    @property
    def raw(self) -> bytes:
        """The body as it stands in the mail, still encoded for transport."""
        return self.whole[self.start : self.end]

    def first(self, name: str) -> bytes:
        """The first non-empty value of a header, b"" where there is none."""
        for value in self.headers.get(name, ()):
            if value:
                return value
        return b""


class Count:
    """How many parts a mail has had so far."""

    def __init__(self) -> None:
        self.parts = 0

    def one_more(self) -> None:
        self.parts += 1
        if self.parts > MAX_PARTS:
            raise TooLarge(f"The mail has more than {MAX_PARTS} parts. Send it with fewer attachments.")


def grow(raw: bytes) -> Part | None:
    """The tree of a mail, or None where the bytes do not begin like one. Raises TooLarge."""
    if b"\n" not in raw and b"\r" in raw:
        raw = raw.replace(b"\r", b"\n")
    start = 3 if raw.startswith(b"\xef\xbb\xbf") else 0
    while raw[start : start + 1] in {b"\n", b"\r", b" ", b"\t"} and start < 1000:
        start += 1
    if not begins_like_mail(raw, start):
        return None
    return branch(raw, start, len(raw), Count())


def begins_like_mail(raw: bytes, start: int) -> bool:
    """Whether one known header, or two lines in the form of headers, stand at the top, junk lines before them allowed."""
    plausible = 0
    position = start
    for _ in range(12):
        line = LINE.match(raw, position, min(len(raw), position + 10_000))
        if line is None or not line[0]:
            break
        if KNOWN_FIELD.match(line[0]):
            return True
        if not line[0].strip():
            break
        plausible += PLAUSIBLE_FIELD.match(line[0]) is not None
        position = line.end()
    return plausible >= 2


def branch(whole: bytes, start: int, end: int, count: Count, depth: int = 0, parent: str = "") -> Part:
    """The part in whole[start:end] and what is below it."""
    count.one_more()
    headers, body = read_headers(whole, start, end)
    default = "message/rfc822" if parent == "multipart/digest" else "text/plain"
    media_type, type_parameters = read_type(headers, default)
    part = Part(whole, body, end, headers, media_type, type_parameters, depth=depth, parent=parent)
    dispositions = headers.get("content-disposition")
    if dispositions:
        part.disposition, part.disposition_parameters = parameters(dispositions[0], part.charset)
    if media_type.startswith("multipart/") and depth < MAX_DEPTH:
        split_multipart(part, count)
    return part


def read_headers(whole: bytes, start: int, end: int) -> tuple[Headers, int]:
    """The header fields from `start` and where the body begins.

    A line that is no header ends the block (the blank line is missing), unless known headers follow it at once: then it is dirt, such
    as a second "From " line of a mailbox file or a fold that lost its space.
    """
    headers: Headers = {}
    if whole.startswith((b"\n", b"\r\n"), start, end):
        return headers, start + (1 if whole.startswith(b"\n", start, end) else 2)
    blank = BLANK_LINE.search(whole, start, end)
    stop, body = (blank.start(), blank.end()) if blank else (end, end)
    position = start
    fields = 0
    while position < stop:
        match = FIELD.match(whole, position, stop)
        if match is None:
            line = LINE.match(whole, position, stop)
            after = line.end() if line else stop
            if MBOX_LINE.match(whole, position, stop) or header_follows(whole, after, stop):
                position = after
                continue
            return headers, position
        fields += 1
        if fields <= MAX_HEADERS:
            headers.setdefault(match[1].decode("ascii").lower(), []).append(match[2].strip())
        position = match.end()
    return headers, body


def header_follows(whole: bytes, position: int, stop: int) -> bool:
    """Whether one of the next three lines is a well-known header."""
    for _ in range(3):
        if position >= stop:
            return False
        if KNOWN_FIELD.match(whole, position, stop):
            return True
        line = LINE.match(whole, position, stop)
        position = line.end() if line else stop
    return False


def read_type(headers: Headers, default: str) -> tuple[str, dict[str, str]]:
    """The media type and its parameters; what is no media type counts as the default (RFC 2045 section 5.2)."""
    values = headers.get("content-type")
    if not values:
        return default, {}
    media_type, found = parameters(next((value for value in values if b"/" in value), values[0]))
    if not MEDIA_TYPE.fullmatch(media_type):
        match = MEDIA_TYPE.match(media_type)
        if match:
            media_type = match[0]
        elif media_type in {"html", "text/html"}:
            media_type = "text/html"
        else:
            media_type = "application/octet-stream" if "name" in found else default
    return media_type, found


def split_multipart(part: Part, count: Count) -> None:
    """Give a multipart its children. One without a boundary, or whose boundary never comes, is read as plain text, losing nothing."""
    boundary = part.type_parameters.get("boundary", "").rstrip().encode("utf-8", "ignore")
    if b"base64" in part.first("content-transfer-encoding").lower() and b"--" + boundary not in part.raw:
        # forbidden by RFC 2045 section 6.4, seen all the same: the whole multipart is encoded
        decoded = content(part)
        part.whole, part.start, part.end = decoded, 0, len(decoded)
        part.headers.pop("content-transfer-encoding", None)
    ranges = find_ranges(part, boundary) if boundary else []
    if not ranges:
        lost = LOST_BOUNDARY.search(part.whole, part.start, part.end)
        if lost:
            ranges = find_ranges(part, lost[1])
            part.boundary_lost = True
    if not ranges:
        part.boundary_lost = True
        part.media_type = "text/plain"
        return
    part.children = [branch(part.whole, start, end, count, part.depth + 1, part.media_type) for start, end in ranges]


def find_ranges(part: Part, boundary: bytes) -> list[tuple[int, int]]:
    """Where the children of a multipart lie. The closing line may be missing; the line break before a boundary belongs to it."""
    whole, end = part.whole, part.end
    mark = b"--" + boundary
    ranges: list[tuple[int, int]] = []
    opened = -1
    position = part.start
    at = position if whole.startswith(mark, position, end) else -2
    for _ in range(MAX_FALSE_BOUNDARIES + MAX_PARTS):
        if at == -2:
            found = whole.find(b"\n" + mark, max(position - 1, 0), end)
            if found < 0:
                break
            at = found + 1
        after = at + len(mark)
        line_end = whole.find(b"\n", after, end)
        line_end = end if line_end < 0 else line_end
        rest = whole[after : min(line_end, after + 80)].strip()
        closing = rest == b"--"
        if (rest and not closing) or line_end - after > 78:
            position, at = after, -2
            continue
        if opened >= 0:
            stop = at - 1
            ranges.append((opened, max(opened, stop - 1 if whole[stop - 1 : stop] == b"\r" else stop)))
            opened = -1
        if closing:
            break
        opened = min(line_end + 1, end)
        if len(ranges) > MAX_PARTS:
            break
        position, at = opened, -2
    if opened >= 0 and (opened < end or not ranges):
        ranges.append((opened, end))
    return ranges


def content(part: Part) -> bytes:
    """The decoded body of a part: base64, quoted-printable, uuencode; anything else as it stands."""
    encoding = part.first("content-transfer-encoding").strip().lower().split(b";")[0].strip(b"\"' ")
    raw = part.raw
    if encoding == b"base64":
        if part.media_type.startswith(("text/", "message/")) and len(NOT_BASE64.findall(raw[:4000])) * 20 > len(raw[:4000]):
            return raw  # labelled base64, but plain text
        try:
            return binascii.a2b_base64(raw)
        except binascii.Error:
            return decode_base64(raw)
    if encoding in {b"quoted-printable", b"quotedprintable", b"quoted_printable", b"qp"}:
        return binascii.a2b_qp(raw)
    if encoding in {b"x-uuencode", b"uuencode", b"x-uue", b"uue"}:
        return b"".join(uudecode(raw))
    return raw


def uudecode(raw: bytes) -> Iterator[bytes]:
    """The bytes of a uuencoded body from its begin line to its end line; a damaged line is skipped."""
    begun = False
    for line in raw.splitlines():
        if not begun:
            begun = line.startswith(b"begin ")
        elif line == b"end":
            return
        else:
            try:
                yield binascii.a2b_uu(line)
            except binascii.Error:
                length = (((line[0] - 32) & 63) * 4 + 5) // 3 if line else 0
                try:
                    yield binascii.a2b_uu(line[:length])
                except binascii.Error:
                    continue


def leaves(part: Part) -> Iterator[Part]:
    """All parts without children, in order."""
    if not part.children:
        yield part
    for child in part.children:
        yield from leaves(child)
