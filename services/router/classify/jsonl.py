"""`desk classify --jsonl`: one JSON line in, one JSON line out, and a bad line never stops the others. Pure: lines in, values out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from services.router.classify.understanding import NO_HINTS, understand
from services.router.prioritise import prioritise
from shared.complaint import Channel, Reason
from shared.policy import Policy

#: Longest line taken, in bytes: a complaint is words, not a file.
LONGEST = 4 << 20
CHANNELS = frozenset(channel.value for channel in Channel)


class Line(msgspec.Struct, frozen=True):
    """One line of input. Unknown fields are overlooked."""

    text: str
    id: str | int | None = None
    subject: str | None = None
    channel: str | None = None


DECODE = msgspec.json.Decoder(Line).decode


def classify_lines(lines: Iterable[bytes], policy: Policy) -> Iterator[dict[str, Any]]:
    """One answer a line, in order; empty lines are skipped. A line that cannot be read gives {"id", "error": {"code", "message"}}."""
    for number, raw in enumerate(lines, start=1):
        if raw.strip():
            yield _answer(raw, number, policy)


def classify_one(text: str, subject: str, channel: str, policy: Policy) -> dict[str, Any]:
    """The answer for one text, without its id."""
    found = understand(subject, text, channel, NO_HINTS, policy)
    urgency = prioritise(found, channel, policy)
    return {
        "category": found.category.value,
        "priority": urgency.priority.value,
        "confidence": found.confidence,
        "department": policy.department_of(found.category),
        "review": found.review,
        "reasons": [told(reason) for reason in (*found.reasons, *urgency.reasons)],
        "language": found.language,
        "order_numbers": list(found.order_numbers),
        "phones": list(found.phones),
        "demand": found.demand or None,
    }


def told(reason: Reason) -> str:
    """A reason as one line of text."""
    return f"{reason.why}「{'」「'.join(reason.words)}」" if reason.words else reason.why


def _answer(raw: bytes, number: int, policy: Policy) -> dict[str, Any]:
    if len(raw) > LONGEST:
        return _refusal(None, "too_large", f"Line {number} has {len(raw):,} bytes; at most {LONGEST:,} are taken. Shorten the text.")
    try:
        line = DECODE(raw.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _refusal(_id_of(raw), "unreadable", f'Line {number}: {error}. Give one JSON object with "text" (a string), in UTF-8.')
    channel = line.channel or Channel.WEB_FORM.value
    if channel not in CHANNELS:
        return _refusal(line.id, "unknown_channel", f"Line {number}: '{channel}' is no channel. Use one of: {', '.join(sorted(CHANNELS))}.")
    return {"id": line.id, **classify_one(line.text, line.subject or "", channel, policy)}


def _id_of(raw: bytes) -> Any:
    """The id of a line that is JSON but not a complaint, so that its sender finds it again."""
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    found: Any = value.get("id") if isinstance(value, dict) else None  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType] - any JSON
    return found if isinstance(found, str | int) else None


def _refusal(identity: Any, code: str, message: str) -> dict[str, Any]:
    return {"id": identity, "error": {"code": code, "message": message}}
