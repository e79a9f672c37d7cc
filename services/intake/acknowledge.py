"""The acknowledgement of a new complaint. Pure; how customers are reached is in shared/reach.py."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from shared.complaint import Complaint, Deadline, Notice, NoticeKind, Submission
from shared.notice_details import Acknowledgement
from shared.reach import UNANSWERABLE, notice_to


def acknowledge(complaint: Complaint, submission: Submission, due: Sequence[Deadline], opens_at: datetime | None) -> Notice | None:
    """The acknowledgement of a new complaint, or None when there is no way to reach the customer, or none that may be answered by itself
    (RFC 3834 section 2: lists, bulk mail, addresses that take no answer).

    opens_at: when people are back, for what came out of hours; None in working time.
    """
    if UNANSWERABLE in submission.extra:
        return None
    detail = Acknowledgement(
        next_by=next((d.due_by for d in due if d.clock == "customer_reply"), complaint.received_at),
        customer_name=submission.customer.name[:80],
        out_of_hours=opens_at is not None,
        opens_at=opens_at,
    )
    key = f"acknowledgement/{complaint.reference}"
    return notice_to(complaint, [submission], NoticeKind.ACKNOWLEDGEMENT, detail, key=key, now=complaint.received_at)
