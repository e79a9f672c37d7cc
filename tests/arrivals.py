"""Arrivals as customers would cause them, for tests of intake, and a running Accept to give them to."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import select

from services.intake.accept import Accept, Arrival, Rules
from shared.complaint import Bounce, Channel, Complaint, Customer, Deadline, Identity, State, Submission, Thread
from shared.ledger import Ledger, complaints
from shared.ledger.outbox import Entry
from shared.ledger.tables import metadata
from shared.references import new_reference

SECRET = b"a secret of the tests"
AT = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
DESK = "care@shop.example"


def due(at: datetime) -> tuple[Deadline, ...]:
    return (
        Deadline("first_response", at + timedelta(minutes=15), "within 15 minutes in working time"),
        Deadline("customer_reply", at + timedelta(hours=7), "by 18:00 the same day"),
    )


RULES = Rules(secret=SECRET, acknowledge=True, window=timedelta(days=7), deadlines=due, opens_at=lambda _: None)


def form(text: str, *, email: str = "", phone: str = "", order: str = "", at: datetime = AT, **more: Any) -> Arrival:
    """A web form: what the customer typed, so nothing in it is proven."""
    typed = (Identity("email", email) if email else None, Identity("phone", phone) if phone else None)
    submission = Submission(
        channel=Channel.WEB_FORM,
        source="web_form",
        account="shop",
        text=text,
        subject=more.pop("subject", "投诉"),
        order_number=order,
        customer=Customer(name="王小明", identities=tuple(i for i in typed if i)),
    )
    return Arrival(
        submission=submission, raw=more.pop("raw", f"{email}|{order}|{text}".encode("utf-8", "surrogatepass")), received_at=at, **more
    )


def mail(text: str, *, sender: str, message_id: str, at: datetime = AT, order: str = "", **more: Any) -> Arrival:
    """A mail. more: subject, in_reply_to, references, to, automatic, bounce."""
    thread = Thread(
        message_id=message_id,
        in_reply_to=more.get("in_reply_to", ""),
        references=tuple(more.get("references", ())),
        recipients=(more.get("to", DESK),),
    )
    raw = f"{message_id}\n{sender}\n{text}".encode()
    submission = Submission(
        channel=Channel.EMAIL,
        source="email",
        account=DESK,
        text=text,
        subject=more.get("subject", "投诉"),
        external_id=hashlib.sha256(raw).hexdigest(),
        customer=Customer(identities=(Identity("email", sender),)),
        order_number=order,
        thread=thread,
        automatic=more.get("automatic", False),
        bounce=Bounce(recipients=(more["bounce"],), permanent=True) if "bounce" in more else None,
    )
    return Arrival(submission=submission, raw=raw, received_at=at)


def message(text: str, *, person: str, number: int, group: str = "", order: str = "") -> Arrival:
    """A WeChat message, vouched for by the platform."""
    submission = Submission(
        channel=Channel.SOCIAL,
        source="social/wechat",
        account="gh_shop",
        text=text,
        external_id=f"{person}/{number}",
        conversation=group or person,
        customer=Customer(identities=(Identity("wechat", f"gh_shop:{person}", verified=True),)),
        order_number=order,
    )
    return Arrival(submission=submission, raw=text.encode(), received_at=AT)


class Desk:
    """A running Accept over a ledger, and questions to that ledger."""

    def __init__(self, ledger: Ledger, accept: Accept, forwarded: list[Entry]) -> None:
        self.ledger = ledger
        self.accept = accept
        self.one = accept.one
        self.many = accept.many
        self.forwarded = forwarded

    async def complaint(self, reference: str) -> Complaint:
        async with self.ledger.read() as tx:
            return await complaints.get(tx, reference)

    async def count(self, table: str = "complaints") -> int:
        return len(await self.rows(table))

    async def rows(self, table: str) -> list[dict[str, Any]]:
        async with self.ledger.read() as tx:
            return [dict(r) for r in (await tx.execute(select(metadata.tables[table]))).mappings()]

    async def becomes(self, reference: str, state: State) -> None:
        """What the department would do to it."""
        async with self.ledger.write() as tx:
            c = await complaints.get(tx, reference)
            await complaints.save(tx, [(c.version, msgspec.structs.replace(c, state=state, version=c.version + 1, department="logistics"))])


@asynccontextmanager
async def desk(
    ledger: Ledger, rules: Rules = RULES, *, now: Callable[[], datetime] = lambda: AT, draw: Callable[[datetime], str] = new_reference
) -> AsyncIterator[Desk]:
    """Accept at work on a ledger, stopped afterwards."""
    forwarded: list[Entry] = []

    def forward(entries: Sequence[Entry]) -> None:
        forwarded.extend(entries)

    accept = Accept(ledger, rules, forward, clock=now, draw=draw)
    running = asyncio.create_task(accept.run())
    try:
        yield Desk(ledger, accept, forwarded)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
