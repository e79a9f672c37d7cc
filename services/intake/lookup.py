"""Finds a complaint by the secret link its customer holds, and reads what that customer may see."""

from __future__ import annotations

import hmac
from datetime import datetime

from services.intake.progress import Progress, progress
from services.process import Desk
from shared.complaint import Complaint
from shared.errors import UnknownReference
from shared.ledger import complaints, deadlines
from shared.references import REFERENCE, tracking_token

UNKNOWN = "There is no complaint under this link. Check that it was copied whole, or write to us again with your order number."


async def find(desk: Desk, reference: str, token: str) -> Complaint:
    """The complaint under a link. Raises UnknownReference, the same for a wrong token as for a reference that does not exist."""
    # The token is checked first, so that nobody learns from the time it takes which references there are.
    if not REFERENCE.fullmatch(reference) or not token.isascii() or not hmac.compare_digest(tracking_token(reference, desk.secret), token):
        raise UnknownReference(UNKNOWN)
    async with desk.ledger.read() as tx:
        found = await complaints.get_many(tx, [reference])
    if reference not in found:
        raise UnknownReference(UNKNOWN)
    return found[reference]


async def head_of(desk: Desk, complaint: Complaint) -> Complaint:
    """The complaint that a joined one was joined to (both are the same customer's), or itself."""
    if not complaint.joined_to:
        return complaint
    async with desk.ledger.read() as tx:
        return await complaints.get(tx, complaint.joined_to)


async def read_progress(desk: Desk, complaint: Complaint, now: datetime) -> Progress:
    """How it stands, by its own reference even where it was joined to another."""
    shown = await head_of(desk, complaint)
    async with desk.ledger.read() as tx:
        history = await complaints.history(tx, shown.reference)
        due = await deadlines.of_complaint(tx, shown.reference)
    return progress(shown, history, due, now)
