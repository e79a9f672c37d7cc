"""How to reach a customer: the way they came, else their e-mail, else their telephone; and the notice that goes there. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from shared.complaint import Channel, Complaint, Locale, Notice, NoticeKind, Submission, Thread
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
