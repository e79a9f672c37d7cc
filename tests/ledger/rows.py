"""Small rows for tests of the ledger."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from shared.complaint import Channel, Complaint, Notice, NoticeKind, State

AT = datetime(2026, 11, 21, 3, 0, 0, 123456, tzinfo=UTC)
REF = "C261121-AAAAAA"


def complaint(reference: str = REF, **more: Any) -> Complaint:
    fixed: dict[str, Any] = {
        "state": State.RECEIVED,
        "channel": Channel.EMAIL,
        "source": "email",
        "account": "care@shop.example",
        "customer_id": "U1",
        "received_at": AT,
        "updated_at": AT,
    }
    return Complaint(reference=reference, **(fixed | more))


def notice(key: str = f"acknowledgement/{REF}", **more: Any) -> Notice:
    fixed: dict[str, Any] = {
        "reference": REF,
        "kind": NoticeKind.ACKNOWLEDGEMENT,
        "channel": Channel.EMAIL,
        "source": "email",
        "account": "care@shop.example",
        "recipient": "wang@example.com",
        "created_at": AT,
    }
    return Notice(key=key, **(fixed | more))
