"""How to reach a customer: the way they came, else their e-mail, else their telephone; and the notice that goes there. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime

import msgspec

from shared.complaint import Channel, Complaint, Identity, Locale, Notice, NoticeKind, Submission, Thread
from shared.notice_details import NoticeDetail, to_detail

UNANSWERABLE = "unanswerable_because"
"""Key of Submission.extra by which an adapter says that no machine may answer this, and why (a mailing list, bulk mail, noreply). It is a
complaint like any other, since a shop's own shared mailbox may be a list; only the acknowledgement is left out."""
REPLY_TO_THE_SAME = (Channel.EMAIL, Channel.SOCIAL, Channel.CHAT)
LONGEST_CHAIN = 10
BY_TAG = {locale.value: locale for locale in Locale}


def reach(submission: Submission, unusable: Collection[tuple[str, str]] = ()) -> tuple[str, str] | None:
    """(source, recipient) under which the customer can be written to, or None.

    unusable: (kind, value) of identities that must not be written to now, since mail to them came back.
    """
    by_kind = {i.kind: i.value for i in reversed(submission.customer.identities) if (i.kind, i.value) not in unusable}
    if submission.channel is Channel.EMAIL:
        return ("email", by_kind["email"]) if "email" in by_kind else None
    if submission.channel in REPLY_TO_THE_SAME and submission.conversation:
        return submission.source, submission.conversation
    if "email" in by_kind:
        return "email", by_kind["email"]
    if "phone" in by_kind:
        return "phone", by_kind["phone"]
    return None


def notice_to(
    complaint: Complaint,
    submissions: Sequence[Submission],
    kind: NoticeKind,
    detail: NoticeDetail,
    *,
    key: str,
    now: datetime,
    unusable: Collection[tuple[str, str]] = (),
) -> Notice | None:
    """A notice to the customer of a complaint, on the channel it began on, or None when there is no way to reach them.

    submissions: what the customer sent, oldest first. Where the first one's way is unusable the later ones' are tried. Mail answers the
    customer's latest mail, so that it lies in the conversation they see.
    """
    for submission in submissions:
        way = reach(submission, unusable)
        if way is None:
            continue
        source, recipient = way
        return Notice(
            key=key,
            reference=complaint.reference,
            kind=kind,
            channel=submission.channel,
            source=source,
            account=submission.account,
            recipient=recipient,
            created_at=now,
            locale=locale_of(complaint.language),
            detail=to_detail(detail),
            subject=submissions[0].subject[:200],
            thread=_latest_thread(submissions) if source == "email" else None,
        )
    return None


NEXT = "/next"
"""Ends the key of a notice that goes another way because the first did not arrive. There is one such try, never a chain."""


def another_way(
    notice: Notice, submissions: Sequence[Submission], verified: Sequence[Identity], unusable: Collection[tuple[str, str]], *, now: datetime
) -> Notice | None:
    """The same notice to another identity of the customer, or None where there is none or it was the second try.

    submissions: what the customer sent, oldest first: every identity in them was given for this very complaint. verified: further
    identities that a channel vouches for. unusable: (kind, value) of identities that must not be written to, the failed one among them.
    """
    if notice.key.endswith(NEXT):
        return None
    tried = (notice.source, notice.recipient)
    for submission in submissions:
        for source, recipient in ways(submission, unusable):
            if (source, recipient) != tried:
                channel = submission.channel if source == submission.source else notice.channel
                return msgspec.structs.replace(
                    notice,
                    key=notice.key + NEXT,
                    channel=channel,
                    source=source,
                    account=submission.account if source == submission.source else notice.account,
                    recipient=recipient,
                    created_at=now,
                    thread=notice.thread if source == "email" else None,
                )
    for identity in verified:
        usable = identity.verified and identity.kind in ("email", "phone") and (identity.kind, identity.value) not in unusable
        if usable and (identity.kind, identity.value) != tried:
            return msgspec.structs.replace(
                notice, key=notice.key + NEXT, source=identity.kind, recipient=identity.value, created_at=now, thread=None
            )
    return None


def ways(submission: Submission, unusable: Collection[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Every (source, recipient) under which a submission's customer can be written to, the best first."""
    if submission.channel in (Channel.SOCIAL, Channel.CHAT) and submission.conversation:
        yield submission.source, submission.conversation
    for kind in ("email", "phone"):
        for identity in submission.customer.identities:
            if identity.kind == kind and (kind, identity.value) not in unusable:
                yield kind, identity.value


def address_is_dead(status: str) -> bool:
    """Whether a permanent failure of this status (RFC 3463; "" where none was told) speaks of the address itself.

    A full mailbox (x.2.2, x.2.3), a system in trouble (x.3), a routing fault (x.4 but 5.4.1 and 5.4.4), a content or policy refusal
    (x.6, x.7) say that this letter did not arrive, not that the address is dead.
    """
    subject = status[1:]
    if not subject or subject in (".4.1", ".4.4"):
        return True
    return not (subject in (".2.2", ".2.3") or subject.startswith((".3.", ".4.", ".6.", ".7.")))


def name_of(submissions: Sequence[Submission]) -> str:
    """How the customer signs, as far as any submission says."""
    return next((s.customer.name[:300] for s in submissions if s.customer.name), "")


def locale_of(language: str) -> Locale:
    """The language we write in; zh-CN where the complaint's language is none of ours."""
    return BY_TAG.get(language, Locale.ZH_CN)


def _latest_thread(submissions: Sequence[Submission]) -> Thread | None:
    for submission in reversed(submissions):
        if submission.thread and submission.thread.message_id:
            return Thread(message_id=submission.thread.message_id, references=submission.thread.references[-LONGEST_CHAIN:])
    return None
