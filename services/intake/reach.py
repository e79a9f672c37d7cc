"""The acknowledgement of a new complaint. Pure; how customers are reached is in shared/reach.py."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from shared.complaint import Complaint, Deadline, Locale, Notice, NoticeKind, Submission, Thread
from shared.notice_details import Acknowledgement, to_detail
from shared.reach import reach


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
