"""The training lines that ship with the desk, written for it, and how each is told in several ways.

A line and all its variants are one family: cross-validation keeps a family together, so that near copies do not flatter.
"""

from __future__ import annotations

import random
import re
import tomllib
import zlib
from pathlib import Path
from typing import Any, NamedTuple

from services.router.classify.script import HAN, language

FOLDER = Path(__file__).parent
SLOT = re.compile(r"\{(\w+)\}")


class Line(NamedTuple):
    """One training text. family: the written line it came from. weight: what it counts, so that each family counts once."""

    text: str
    category: str
    family: int
    weight: float


class HeldBack(NamedTuple):
    """A judged line that is never trained on. categories: the right one first, then those that can be defended."""

    text: str
    categories: tuple[str, ...]
    priority: str


def held_back(folder: Path = FOLDER) -> list[HeldBack]:
    """The held-back lines, in the order of the file."""
    rows = [row for row in (folder / "held_back" / "lines.txt").read_text(encoding="utf-8").splitlines() if row and row[0] != "#"]
    parts = [row.split(" | ", 2) for row in rows]
    return [HeldBack(text, tuple(categories.split(",")), priority) for categories, priority, text in parts]


def families(folder: Path = FOLDER) -> list[tuple[str, str]]:
    """(category, line) for every written line, in a fixed order."""
    found: list[tuple[str, str]] = []
    for path in sorted(folder.glob("*.toml")):
        if path.name == "fills.toml":
            continue
        for category, block in tomllib.loads(path.read_text(encoding="utf-8")).items():
            parts = re.split(r" / |\n", str(block)) if path.name == "phrases.toml" else str(block).splitlines()
            found += [(category, part.strip()) for part in parts if part.strip()]
    return found


def expand(pairs: list[tuple[str, str]], variants: int = 6, folder: Path = FOLDER) -> list[Line]:
    """Every family in its variants; the same input gives the same output, whatever ran before."""
    fills = tomllib.loads((folder / "fills.toml").read_text(encoding="utf-8"))
    by_kind: dict[tuple[str, str], list[str]] = {}
    for category, line in pairs:
        by_kind.setdefault((category, _kind(line)), []).append(line)
    lines: list[Line] = []
    for family, (category, line) in enumerate(pairs):
        draw = random.Random(zlib.crc32(f"{category}|{line}".encode()))  # noqa: S311 - fills of training lines, not a secret
        kind = _kind(line)
        told = _Telling(line, category, kind, by_kind[category, kind], fills, draw)
        makers = [_dressed, _dressed, _doubled, _praised, _dressed, _doubled]
        texts = [line, *(maker(told) for maker in makers[: variants - 1])]
        lines += [Line(_filled(text, fills["slots"], draw), category, family, 1 / variants) for text in texts]
    return lines


def _kind(line: str) -> str:
    if not HAN.search(line):
        return "latin"
    return "tw" if language(SLOT.sub("", line)) == "zh-TW" else "han"


class _Telling(NamedTuple):
    """A line and what its variants are made from."""

    line: str
    category: str
    kind: str
    same: list[str]
    fills: dict[str, Any]
    draw: random.Random


def _dressed(told: _Telling) -> str:
    """With a greeting before or a sigh behind, which belong to no category."""
    around = told.fills["around"]
    before = told.draw.choice(around[f"before_{told.kind}"]) if told.draw.random() < 0.6 else ""
    # "I will report you" belongs to no praise and no question.
    after = told.draw.choice(around[f"after_{told.kind}"]) if told.category != "other" and told.draw.random() < 0.6 else ""
    return before + told.line + after


def _doubled(told: _Telling) -> str:
    """Together with another line of the same category."""
    if told.category == "other" and len(told.line) <= 6:
        return told.line
    pair = (told.line, told.draw.choice(told.same))
    return (" " if told.kind == "latin" else "。").join(pair if told.draw.random() < 0.5 else reversed(pair))


def _praised(told: _Telling) -> str:
    """With praise of another side of the purchase: the complaint stays what it is."""
    if told.category == "other":
        return told.line
    shape = told.draw.choice(told.fills["praise"][f"but_{told.kind}"])
    praise = told.draw.choice(told.fills["praise"][told.kind])
    return shape.replace("{praise}", praise).replace("{line}", told.line)


def _filled(text: str, slots: dict[str, list[str]], draw: random.Random) -> str:
    return SLOT.sub(lambda match: draw.choice(slots[match[1]]), text)
