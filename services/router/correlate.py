"""Whether a complaint is the same trouble as one that is already open: same customer, same order number, inside the policy's window. Pure.

Intake joins what carries its order number in a field; here are those that named it in their text, and those that came at the same moment.
"""

from __future__ import annotations

from collections.abc import Mapping

from shared.complaint import Complaint
from shared.lifecycle import OPEN


def keys(complaint: Complaint, orders: tuple[str, ...]) -> list[tuple[str, str]]:
    """The open matters a complaint could be about."""
    return [(complaint.customer_id, order[:64]) for order in orders if order]


def find_head(
    complaint: Complaint, orders: tuple[str, ...], matters: Mapping[tuple[str, str], str], known: Mapping[str, Complaint]
) -> Complaint | None:
    """The open complaint that this one repeats, or None. Never itself, never a later one, never another customer's."""
    for key in keys(complaint, orders):
        head = known.get(matters.get(key, ""))
        if head is None or head.reference == complaint.reference or head.state not in OPEN or head.customer_id != complaint.customer_id:
            continue
        if (head.received_at, head.reference) < (complaint.received_at, complaint.reference):
            return head
    return None
