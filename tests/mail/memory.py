"""What a mailbox and a door need around them, in memory: a state, a take that remembers, and waiting without sleeping blindly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from services.intake.adapter import Delivery
from services.intake.adapters.email import ADAPTER
from services.intake.mailbox_contract import Outcome, Position, Settled
from shared.errors import SubmissionRejected
from shared.references import dedupe_key


class MemoryState:
    """A MailboxState that forgets at the end of the test."""

    def __init__(self) -> None:
        self.positions: dict[str, Position] = {}
        self.outcomes: dict[tuple[str, int, int], Settled] = {}
        self.troubles: dict[str, str] = {}

    async def position(self, mailbox: str) -> Position | None:
        return self.positions.get(mailbox)

    async def settle(self, mailbox: str, position: Position, settled: Sequence[Settled]) -> None:
        self.positions[mailbox] = position
        for item in settled:
            self.outcomes.setdefault((mailbox, position.uidvalidity, item.uid), item)

    async def settled_uids(self, mailbox: str, uidvalidity: int, above: int = 0) -> set[int]:
        return {uid for name, validity, uid in self.outcomes if name == mailbox and validity == uidvalidity and uid > above}

    async def trouble(self, mailbox: str, error: str) -> None:
        self.troubles[mailbox] = error


class Desk:
    """Takes deliveries as the real desk does: parsed by the adapter, one per dedupe key. `fails` raises before anything is stored."""

    def __init__(self) -> None:
        self.subjects: list[str] = []
        self.keys: set[str] = set()
        self.held: list[tuple[Delivery, str]] = []
        self.batches: list[int] = []
        self.fails: Callable[[Sequence[Delivery]], None] = lambda deliveries: None

    async def take(self, deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        self.fails(deliveries)
        self.batches.append(len(deliveries))
        return [await self.one(delivery) for delivery in deliveries]

    async def one(self, delivery: Delivery) -> Outcome:
        try:
            (parsed,) = ADAPTER.parse(delivery)
        except SubmissionRejected as error:
            await self.quarantine(delivery, error.message)
            return Outcome("quarantined", error.message)
        key = dedupe_key(parsed.submission, delivery.raw)
        if key in self.keys:
            return Outcome("duplicate")
        self.keys.add(key)
        self.subjects.append(parsed.submission.subject)
        return Outcome("accepted")

    async def quarantine(self, delivery: Delivery, reason: str) -> None:
        self.held.append((delivery, reason))


def mail(number: int, body: str = "商品破损，请退款。", sender: str = "zhang@mail.example") -> bytes:
    """A small mail whose subject is its number."""
    return (
        f"From: {sender}\r\nTo: care@shop.example\r\nSubject: {number}\r\nMessage-ID: <m{number}@mail.example>\r\n"
        f"Date: {datetime(2026, 3, 1, 10, 2, 11, tzinfo=UTC):%a, %d %b %Y %H:%M:%S +0000}\r\n"
        f"Content-Type: text/plain; charset=utf-8\r\n\r\n{body} {number}\r\n"
    ).encode()


async def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Return as soon as the condition holds; fail the test when it never does."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in other processes
            await asyncio.sleep(0.01)
