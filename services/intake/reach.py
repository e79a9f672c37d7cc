"""The acknowledgement of a new complaint. Pure; how customers are reached is in shared/reach.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shared.complaint import Complaint, Deadline, Locale, Notice, NoticeKind, Submission, Thread
from shared.reach import reach


def acknowledge(complaint: Complaint, submission: Submission, due: Sequence[Deadline]) -> Notice | None:
    """The acknowledgement of a new complaint, or None when there is no way to reach the customer."""
    way = reach(submission)
    if way is None:
        return None
    source, recipient = way
    detail: dict[str, Any] = {}
    reply_by = next((d.due_by for d in due if d.clock == "customer_reply"), None)
    if reply_by:
        detail["reply_by"] = reply_by.isoformat()
    if submission.customer.name:
        detail["name"] = submission.customer.name[:80]
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
        detail=detail,
        subject=submission.subject[:200],
        thread=Thread(message_id=thread.message_id, references=thread.references[-10:]) if thread and source == "email" else None,
    )
