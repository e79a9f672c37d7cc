"""Cuts a text into parts that a platform takes, in its own unit of length. Pure.

Cut at the end of a paragraph where there is one, else after a sentence, else at a space, else hard; never inside a link or a character.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from shared.errors import Undeliverable

Size = Callable[[str], int]
SENTENCE_END = re.compile(r"[。！？!?…]+[”」』）)]*|\.(?=\s)")
LINK = re.compile(r"https?://[^\s，。！？；、”」）]+")
NUMBERING = "({}/{})\n"


def utf8_bytes(text: str) -> int:
    return len(text.encode())


def utf16_units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def split_text(text: str, limit: int, size: Size) -> list[str]:
    """The parts in order, each at most `limit` long by `size`; numbered (1/3) when there are more than two.

    Raises Undeliverable when a single character or link does not fit, which no sane limit lets happen.
    """
    if size(text) <= limit:
        return [text]
    parts = cut(text, limit, size)
    if len(parts) <= 2:
        return parts
    room = limit - size(NUMBERING.format(999, 999))
    parts = cut(text, room, size)
    return [NUMBERING.format(number, len(parts)) + part for number, part in enumerate(parts, 1)]


def cut(text: str, limit: int, size: Size) -> list[str]:
    parts: list[str] = []
    rest = text.strip()
    while size(rest) > limit:
        at = cut_at(rest, longest_prefix(rest, limit, size))
        parts.append(rest[:at].rstrip())
        rest = rest[at:].lstrip()
    return [*parts, rest] if rest else parts


def longest_prefix(text: str, limit: int, size: Size) -> int:
    """How many characters fit; found by halving, since sizes only grow with length."""
    low, high = 0, min(len(text), limit)
    while low < high:
        middle = (low + high + 1) // 2
        if size(text[:middle]) <= limit:
            low = middle
        else:
            high = middle - 1
    if low == 0:
        raise Undeliverable(f"The text cannot be split into parts of {limit}. Raise the sender's limit.")
    return low


def cut_at(text: str, longest: int) -> int:
    """Where to cut within the first `longest` characters. The later half only: a short first part would make many parts."""
    for link in LINK.finditer(text):
        if link.start() < longest < link.end() and link.start() > 0:
            longest = link.start()
            break
    half = longest // 2
    for mark in ("\n\n", "\n"):
        at = text.rfind(mark, half, longest)
        if at > 0:
            return at
    ends = [end.end() for end in SENTENCE_END.finditer(text, half, longest)]
    if ends:
        return ends[-1]
    space = text.rfind(" ", half, longest)
    return space if space > 0 else longest
