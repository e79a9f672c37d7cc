"""How to reach the customer who sent a submission, and the acknowledgement that goes there. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from shared.complaint import Channel, Complaint, Deadline, Locale, Notice, NoticeKind, Submission, Thread
from shared.notice_details import Acknowledgement, to_detail

REPLY_TO_THE_SAME = (Channel.EMAIL, Channel.SOCIAL, Channel.CHAT)


def reach(submission: Submission) -> tuple[str, str] | None:
    """(source, recipient) the customer can be written to: the way they came, else their e-mail, else their telephone."""
    by_kind = {i.kind: i.value for i in reversed(submission.customer.identities)}
    if submission.channel is Channel.EMAIL:
        return ("email", by_kind["email"]) if "email" in by_kind else None
    if submission.channel in REPLY_TO_THE_SAME and submission.conversation:
        return submission.source, submission.conversation
    if "email" in by_kind:
        return "email", by_kind["email"]
    if "phone" in by_kind:
        return "phone", by_kind["phone"]
    return None


def acknowledge(complaint: Complaint, submission: Submission, due: Sequence[Deadline], opens_at: datetime | None) -> Notice | None:
    """The acknowledgement of a new complaint, or None when there is no way to reach the customer.

    opens_at: when people are back, for what came out of hours; None in working time.
    """
    way = reach(submission)
    if way is None:
        return None
    source, recipient = way
    detail = Acknowledgement(
        next_by=next((d.due_by for d in due if d.clock == "customer_reply"), complaint.received_at),
        customer_name=submission.customer.name[:80],
        out_of_hours=opens_at is not None,
        opens_at=opens_at,
    )
    thread = submission.thread
    return Notice(
        key=f"acknowledgement/{complaint.reference}",
        reference=complaint.reference,
        kind=NoticeKind.ACKNOWLEDGEMENT,
        channel=submission.channel,
        source=source,
        account=submission.account,
        recipient=recipient,
        created_at=complaint.received_at,
        locale=Locale(complaint.language),
        detail=to_detail(detail),
        subject=submission.subject[:200],
        thread=Thread(message_id=thread.message_id, references=thread.references[-10:]) if thread and source == "email" else None,
    )
