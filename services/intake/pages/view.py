"""What the progress page shows beyond the stages: the history with our own words to the customer. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from services.intake.progress import TOLD
from shared.complaint import Event, Notice, NoticeKind
from shared.privacy import mask

SAME_MOMENT = timedelta(seconds=2)
OURS = frozenset({NoticeKind.INFO_REQUEST, NoticeKind.PROGRESS, NoticeKind.DELAY, NoticeKind.SOLUTION, NoticeKind.RESULT})


class Said(msgspec.Struct, frozen=True):
    """One thing we wrote to the customer. by: a date that belongs to it."""

    text: str
    by: datetime | None = None


class Entry(msgspec.Struct):
    """One line of the history, with what we said then."""

    at: datetime
    kind: str
    said: list[Said]


def entries(history: Sequence[Event], notices: Sequence[Notice]) -> list[Entry]:
    """The history, newest first. The same thing several times running, with nothing said, is one line at its latest time."""
    lines = [Entry(event.at, event.kind, []) for event in history if event.kind in TOLD]
    for notice in notices:
        if notice.kind in OURS and lines:
            before = [line for line in lines if line.at <= notice.created_at + SAME_MOMENT]
            (before or lines[:1])[-1].said += words_of(notice)
    kept: list[Entry] = []
    for line in lines:
        if kept and kept[-1].kind == line.kind and not kept[-1].said:
            kept.pop()
        kept.append(line)
    return kept[::-1]


def words_of(notice: Notice) -> list[Said]:
    """What a notice tells the customer, without its greetings. Reads what it knows of the detail and leaves the rest."""
    detail = notice.detail
    said = [Said(text) for name in ("message", "reason", "cause", "measure", "improvement") if (text := _text(detail.get(name)))]
    said += [Said(text) for question in _list(detail.get("questions")) if (text := _text(question))]
    for option in _list(detail.get("options")):
        if isinstance(option, dict) and (title := _text(option.get("title"))):  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType] - any JSON
            said.append(Said(title, _instant(option.get("by"))))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType] - any JSON
    return said


def contact_of(notices: Sequence[Notice]) -> tuple[str, str]:
    """(email or phone, masked) to which this complaint's first notice goes; empty where there is none, or another channel's."""
    for notice in notices[:1]:
        if notice.source in ("email", "phone"):
            return notice.source, mask(notice.source, notice.recipient)
    return "", ""


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType] - any JSON


def _instant(value: Any) -> datetime | None:
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return at if at and at.tzinfo else None
