"""What machines' mail says of our own notices: it did not arrive, it was read, somebody is away. Pure; it never changes a state.

Only a keyed Message-ID or reply address ties such mail to a complaint, so nobody can end an address by writing a bounce of his own
about somebody else's complaint, and only addresses that we wrote to are believed to be dead.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

import msgspec

from services.intake.arrival import original_of
from shared.complaint import Bounce, Identity, Notice, Submission
from shared.reach import address_is_dead, another_way
from shared.references import notice_named

RECEIPTS = ("read", "delivered")


class Told(msgspec.Struct, frozen=True):
    """A notice as the ledger has it."""

    notice: Notice
    state: str


class Correspondence(msgspec.Struct, frozen=True, kw_only=True):
    """What we and the customer wrote about one complaint, and the identities that may not or may be written to."""

    told: tuple[Told, ...] = ()
    said: tuple[Submission, ...] = ()
    verified: tuple[Identity, ...] = ()
    unusable: Collection[tuple[str, str]] = ()


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What follows from one machine's mail.

    came_back: key of the notice that did not arrive. unusable: (kind, value, until, why). notice: the same to the customer by another
    way. stuck: the notice did not arrive and there is no other way, so that the department must find one.
    """

    kind: str
    detail: dict[str, Any]
    came_back: str = ""
    unusable: tuple[str, str, datetime, str] | None = None
    notice: Notice | None = None
    stuck: bool = False


def find(submission: Submission, known: Correspondence, secret: bytes, now: datetime, unusable_for: timedelta) -> Finding:
    """What a machine's mail about this complaint means."""
    key = notice_named(original_of(submission), (t.notice.key for t in known.told), secret)
    if submission.bounce:
        return _bounced(submission.bounce, known, key, now, unusable_for)
    if (receipt := submission.extra.get("receipt", "")) in RECEIPTS:
        return Finding(kind=receipt, detail=_without_blanks({"notice": key}))
    return Finding(kind="auto_replied", detail=_without_blanks({"why": submission.extra.get("automatic_because", ""), "notice": key}))


def _bounced(bounce: Bounce, known: Correspondence, key: str, now: datetime, unusable_for: timedelta) -> Finding:
    letter = _letter(bounce, known, key)
    notice = letter.notice if letter else None
    detail = {"permanent": bounce.permanent, "status": bounce.status, "notice": notice.key if notice else ""}
    if not bounce.permanent or letter is None or notice is None or letter.state == "dead":
        return Finding(kind="bounced", detail=_without_blanks(detail))
    ended = ("email", notice.recipient)
    # a mailbox that forwards to a dead one is not itself dead, although this letter was lost
    ours = not bounce.recipients or notice.recipient in bounce.recipients
    mark = None
    if ours and address_is_dead(bounce.status):
        detail["address_unusable"] = True
        mark = (*ended, now + unusable_for, f"Mail came back{f' ({bounce.status})' if bounce.status else ''}.")
    other = another_way(notice, known.said, known.verified, {*known.unusable, ended}, now=now)
    if other is not None and any(t.notice.key == other.key for t in known.told):
        other = None
    detail |= {"next": other.source} if other else {"untold": "no other way to reach the customer"}
    return Finding(kind="bounced", detail=_without_blanks(detail), came_back=notice.key, unusable=mark, notice=other, stuck=other is None)


def _letter(bounce: Bounce, known: Correspondence, key: str) -> Told | None:
    """The notice a bounce speaks of: the one its Message-ID names, else the last one to an address it names, else the last."""
    mails = [t for t in known.told if t.notice.source == "email" and t.state in ("sent", "sending", "uncertain", "dead")]
    if key:
        return next((t for t in mails if t.notice.key == key), None)
    return next((t for t in reversed(mails) if not bounce.recipients or t.notice.recipient in bounce.recipients), None)


def _without_blanks(detail: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in detail.items() if value != ""}
