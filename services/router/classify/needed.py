"""What a regular expression cannot match without: short pieces of text that every match must hold. Pure.

Most rules fire on few texts, and a text's pieces are made once for all rules: looking for them costs a twentieth of a search. Where
nothing is known to be needed the rule is always tried, so that the filter can be too careful but never wrong.
"""

# pyright: basic
# The standard library does not declare the types of its own reader of patterns.
from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from operator import add
from re import _constants as op  # type: ignore[attr-defined] # the standard library's own reader of patterns, there since Python 3.11
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

SHORT, LONG = 2, 4
"""Lengths of a piece: pairs of any characters, runs of four where all are ASCII."""
MOST = 80
"""More pieces than this in one set, and looking for them costs as much as the search."""
ASCII = re.compile(r"[\x00-\x7f]{4,}")

Pieces = frozenset[str]
Needs = tuple[tuple[Pieces, ...], ...]
"""Ways to match; each is a row of sets, of every one of which at least one piece must be there. A way without sets needs nothing."""
Items = list[tuple[Any, Any]]


def pieces_of(text: str) -> Pieces:
    """Every piece of the text that a pattern could ask for."""
    found = set(map(add, text, text[1:]))
    found.update(text)
    for run in ASCII.findall(text):
        found.update(run[i : i + LONG] for i in range(len(run) - LONG + 1))
    return frozenset(found)


class Filter:
    """Many patterns' needs, asked all at once. Patterns are known by their place in the list."""

    def __init__(self, patterns: Sequence[re.Pattern[str]]) -> None:
        self._always: set[int] = set()
        self._ways: dict[str, list[tuple[int, tuple[Pieces, ...]]]] = {}
        for number, pattern in enumerate(patterns):
            for way in needed(pattern):
                telling = _best(way)
                if telling is None:
                    self._always.add(number)
                    continue
                others = tuple(wanted for wanted in way if wanted != telling)
                for piece in telling:
                    self._ways.setdefault(piece, []).append((number, others))
        self._asked = frozenset(self._ways)

    def may_match(self, text: str) -> set[int]:
        """The patterns worth a search in this text."""
        pieces = pieces_of(text)
        found = set(self._always)
        for piece in self._asked & pieces:
            for number, others in self._ways[piece]:
                if number in found:
                    continue
                for wanted in others:
                    if wanted.isdisjoint(pieces):
                        break
                else:
                    found.add(number)
        return found


def needed(pattern: re.Pattern[str]) -> Needs:
    """What the pattern needs."""
    if pattern.flags & (re.IGNORECASE | re.VERBOSE | re.LOCALE):
        return ((),)
    return tuple(tuple(sorted(_sets(way), key=len)) for way in _ways(list(parser.parse(pattern.pattern, pattern.flags))))


def _ways(items: Items) -> list[Items]:
    """The alternatives a pattern consists of at its top, taken apart; what stands before or after all of them goes with each."""
    for at, (code, value) in enumerate(items):
        if code is op.BRANCH:
            return [way for branch in value[1] for way in _ways([*items[:at], *branch, *items[at + 1 :]])]
        if code is op.SUBPATTERN and len(items) <= 2:
            return _ways([*items[:at], *value[3], *items[at + 1 :]])
        if code not in (op.AT, op.ASSERT, op.ASSERT_NOT):
            break
    return [items]


def _sets(items: Items) -> list[Pieces]:
    """What each part of a sequence needs, and each two neighbours together."""
    found: list[Pieces] = []
    literal = ""
    before: Pieces | None = None
    for code, value in (*items, (None, None)):
        starts = _edge(code, value, first=True)
        if before and starts and len(before) * len(starts) <= MOST:
            found.append(frozenset(a + b for a in before for b in starts))
        before = _edge(code, value, first=False)
        if code is op.LITERAL:
            literal += chr(value or 0)
            continue
        if literal:
            found.append(frozenset({literal[:LONG] if literal.isascii() and len(literal) >= LONG else literal[:SHORT]}))
            literal = ""
        inside = _of_item(code, value)
        if inside and len(inside) <= MOST:
            found.append(inside)
    return found


def _of_item(code: Any, value: Any) -> Pieces | None:
    if code is op.BRANCH:
        return _either(_best(_sets(list(branch))) for branch in value[1])
    if code is op.SUBPATTERN:
        return _best(_sets(list(value[3])))
    if code in (op.MAX_REPEAT, op.MIN_REPEAT) and value[0] >= 1:
        return _best(_sets(list(value[2])))
    return _edge(code, value, first=True) if code is op.IN else None


def _edge(code: Any, value: Any, *, first: bool) -> Pieces | None:
    """The characters with which a part begins (or ends), where they can be told and it is never empty."""
    if code is op.LITERAL:
        return frozenset({chr(value)})
    if code is op.IN and all(kind is op.LITERAL for kind, _ in value):
        return frozenset(chr(character) for _, character in value)
    if code is op.BRANCH:
        return _either(_edge_of(list(branch), first=first) for branch in value[1])
    if code is op.SUBPATTERN:
        return _edge_of(list(value[3]), first=first)
    if code in (op.MAX_REPEAT, op.MIN_REPEAT) and value[0] >= 1:
        return _edge_of(list(value[2]), first=first)
    return None


def _edge_of(items: Items, *, first: bool) -> Pieces | None:
    return _edge(*items[0 if first else -1], first=first) if items else None


def _either(branches: Iterable[Pieces | None]) -> Pieces | None:
    found: set[str] = set()
    for branch in branches:
        if not branch:
            return None
        found |= branch
    return frozenset(found)


def _best(candidates: Sequence[Pieces]) -> Pieces | None:
    """Long pieces and few of them tell most."""
    return max(candidates, key=lambda pieces: (min(map(len, pieces)), -len(pieces)), default=None)
