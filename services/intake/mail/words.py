"""Header text: encoded words (RFC 2047) and parameters (RFC 2231), also where the sender broke them. Pure; never raises.

Not for addresses or dates: those are in headers.py.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from services.intake.mail.charsets import codecs_of, decode

MAX_VALUE = 65_536
MAX_PARAMETERS = 400
FOLD = re.compile(rb"[ \t]*\r?\n[ \t]*|[ \t]*\r[ \t]*|\x00")
CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]+")
#: charset, optional language (RFC 2231 section 5), B or Q, text up to "?=" or, where the line was cut, up to the end
WORD = re.compile(
    r"=\?([A-Za-z0-9_.:+\-]{1,60})(?:\*[A-Za-z0-9-]{0,20})?\?([bBqQ])\?((?:[^?\r\n]|\?(?!=))*+)(?:\?="
    r"|(?<=[A-Za-z0-9+/=_.-])\Z)"
)
PARAMETER = re.compile(r"[;\s]\s*+([A-Za-z][A-Za-z0-9_.\-]*+(?:\*[0-9]{1,4})?+\*?+)\s*+=\s*+(\"(?:[^\"\\]|\\.)*+\"?+|[^;]*+)", re.DOTALL)
SEGMENT = re.compile(r"(.+?)(?:\*(\d+))?(\*)?")
ESCAPED = re.compile(r"\\([\"\\])")
BASE64_JUNK = re.compile(rb"[^A-Za-z0-9+/=]+")


def unfold(value: bytes) -> bytes:
    """A header's value on one line, bounded."""
    return FOLD.sub(b" ", value[:MAX_VALUE]).strip()


def raw_text(value: bytes, hint: str = "") -> str:
    """A header's value as text with its encoded words left alone. Raw 8-bit bytes are read as the mail's charset or what they look like."""
    value = unfold(value)
    if value.isascii() and b"\x1b" not in value and b"~{" not in value:
        return value.decode("ascii")
    return decode(value, "", hint)[0]


def header_text(value: bytes, hint: str = "") -> str:
    """A header's value as a person reads it: unfolded, encoded words decoded, no control characters."""
    return CONTROL.sub(" ", decode_words(raw_text(value, hint))).strip()


def decode_words(text: str) -> str:
    """Decode encoded words wherever they stand, also inside quotes or glued to other text, as broken clients write them.

    Space between two words is dropped. Words of one charset are joined as bytes first: a character cut in the middle is whole again.
    """
    if "=?" not in text:
        return text
    out: list[str] = []
    pending: list[tuple[str, str, str]] = []
    last = 0
    for match in WORD.finditer(text):
        between = text[last : match.start()]
        if between.strip() or not pending:
            out.extend(flush(pending))
            pending.clear()
            out.append(between)
        pending.append((match[1], match[2].upper(), match[3]))
        last = match.end()
    out.extend(flush(pending))
    out.append(text[last:])
    return "".join(out)


def flush(words: list[tuple[str, str, str]]) -> Iterator[str]:
    """The text of neighbouring words, those of one charset joined as bytes."""
    data, charset = b"", ""
    carried = ""
    for index, (label, encoding, body) in enumerate(words):
        if charset and label.lower() != charset.lower() and codecs_of(label) != codecs_of(charset):
            yield decode(data, charset)[0]
            data = b""
        charset = label
        if encoding == "Q":
            data += decode_q(body)
            continue
        body = carried + body
        carried = ""
        follows = index + 1 < len(words) and words[index + 1][0].lower() == label.lower() and words[index + 1][1] == "B"
        if follows and not body.endswith("=") and len(body) % 4:
            carried = body  # base64 cut anywhere and continued in the next word
            continue
        data += decode_base64(body.encode("ascii", "ignore"))
    if charset:
        yield decode(data, charset)[0]


def decode_q(body: str) -> bytes:
    """The Q encoding of RFC 2047 section 4.2; raw 8-bit characters inside pass as UTF-8."""
    return binascii.a2b_qp(body.encode("utf-8", "replace").replace(b"\n", b""), header=True)


def decode_base64(data: bytes) -> bytes:
    """Base64 as far as it goes: foreign characters skipped, padding inside or missing mended (RFC 2045 section 6.8)."""
    stop = data.find(b"=")
    if stop < 0 or not data[stop:].strip(b"= \t\r\n"):
        try:
            return binascii.a2b_base64(data)
        except binascii.Error:
            pass
    clean = BASE64_JUNK.sub(b"", data)
    pieces = [piece for piece in re.split(rb"=+", clean) if piece]
    return b"".join(binascii.a2b_base64(piece[: len(piece) - 1 if len(piece) % 4 == 1 else None] + b"===") for piece in pieces)


def parameters(value: bytes, hint: str = "") -> tuple[str, dict[str, str]]:
    """A structured header such as Content-Type: its first word in lower case, and its parameters decoded, names in lower case.

    Continuations and percent encoding (RFC 2231) win over the plain form of the same name; encoded words inside are decoded too.
    """
    text = raw_text(value, hint)
    end = min((i for i in (text.find(";"), text.find(" "), text.find("\t")) if i >= 0), default=len(text))
    if "=" in text[:end] and "/" not in text[:end]:
        end = 0
        text = ";" + text
    plain: dict[str, str] = {}
    segments: dict[str, dict[int, tuple[bool, str]]] = {}
    for count, match in enumerate(PARAMETER.finditer(text, end)):
        if count >= MAX_PARAMETERS:
            break
        name, content = match[1].lower(), match[2].strip()
        if content[:1] == '"':
            content = ESCAPED.sub(r"\1", content[1:-1] if content.endswith('"') and len(content) > 1 else content[1:])
        parts = SEGMENT.fullmatch(name)
        if parts and (parts[2] or parts[3]):
            segments.setdefault(parts[1], {}).setdefault(int(parts[2] or 0), (bool(parts[3]), content))
        else:
            plain.setdefault(name, content)
    found = {name: CONTROL.sub(" ", decode_words(content)) for name, content in plain.items()}
    for name, pieces in segments.items():
        joined = CONTROL.sub(" ", join_segments(pieces))
        if joined:
            found[name] = joined
    return text[:end].strip().strip(";").lower(), found


def join_segments(pieces: dict[int, tuple[bool, str]]) -> str:
    """RFC 2231 section 3 and 4: the pieces in order, the first naming the charset."""
    ordered = [pieces[number] for number in sorted(pieces)]
    if not any(extended for extended, _ in ordered):
        return decode_words("".join(content for _, content in ordered))
    charset, data = "", b""
    for index, (extended, content) in enumerate(ordered):
        if not extended:
            data += content.encode("utf-8", "replace")
            continue
        if index == 0 and content.count("'") >= 2:
            charset, _, content = content.split("'", 2)
        data += unquote_to_bytes(content)
    if b"=?" in data:
        return decode_words(decode(data, charset)[0])
    return decode(data, charset)[0]
