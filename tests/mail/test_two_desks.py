"""Two desks whose mailboxes write to each other stop by themselves, and so does a desk that talks to a machine without manners."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from services.demo.smtp_peer import SmtpPeer
from services.intake.accept import Accept, Rules
from services.intake.adapter import Delivery
from services.intake.door import Door
from services.intake.mail_sources import MailTaker
from services.intake.registry import find_adapters
from services.notifier.compose import DeskIdentity, compose
from services.notifier.deliver import Deliver
from services.notifier.registry import close_senders, find_senders, open_senders
from shared.blobs import Blobs
from shared.complaint import Notice
from shared.ledger import Ledger, notices
from shared.ledger.outbox import Entry, Topic
from shared.policy import load
from tests.arrivals import RULES
from tests.mail.memory import mail

LIMITS = load().notices


class OneDesk:
    """A whole desk for mail: what is put into `take` is accepted, what it answers lies in `relay.mails`."""

    def __init__(self, address: str, ledger: Ledger, take: MailTaker, deliver: Deliver, relay: SmtpPeer, owed: list[Entry]) -> None:
        self.address = address
        self.ledger = ledger
        self.take = take
        self.deliver = deliver
        self.relay = relay
        self.owed = owed

    async def get(self, raw: bytes) -> list[bytes]:
        """Take a mail; the mails it causes."""
        await self.take([Delivery(raw=raw, account=self.address, received_at=datetime.now(UTC), headers={})])
        keys = [entry.reference for entry in self.owed if entry.topic is Topic.NOTICE]
        self.owed.clear()
        before = self.relay.count
        await self.deliver.batch(keys)
        return [received.raw for received in list(self.relay.mails)[before:]]


@contextlib.asynccontextmanager
async def one_desk(address: str, ledger: Ledger, folder: Path) -> AsyncIterator[OneDesk]:
    secret = address.encode()
    rules = Rules(secret=secret, acknowledge=True, window=RULES.window, deadlines=RULES.deadlines, opens_at=RULES.opens_at)
    owed: list[Entry] = []
    accept = Accept(ledger, rules, owed.extend)
    running = asyncio.create_task(accept.run())

    def write(notice: Notice):
        return compose(notice, desk=DeskIdentity(mail_from=address, public_url="https://shop.example"), secret=secret)

    async with SmtpPeer() as relay:
        senders = await open_senders(
            {"smtp": find_senders()["smtp"].__class__()}, {"smtp": {"from": address, "host": "127.0.0.1", "port": str(relay.port)}}
        )
        deliver = Deliver(ledger, senders, write, lambda _key, _at: None, limits=LIMITS, forward=owed.extend)
        take = MailTaker(Door(find_adapters(), {}, accept, ledger, Blobs.open(folder.as_uri())))
        try:
            yield OneDesk(address, ledger, take, deliver, relay, owed)
        finally:
            await close_senders(senders)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def talk(first: OneDesk, second: OneDesk, opening: bytes, mangle=lambda raw: raw, most: int = 400) -> int:
    """Carry every answer to the other desk until both are silent. How many mails went over."""
    turn, other, waiting, carried = first, second, [opening], 0
    while waiting and carried < most:
        answers: list[bytes] = []
        for raw in waiting:
            carried += 1
            answers += await turn.get(mangle(raw))
        waiting, turn, other = answers, other, turn
    assert carried < most, "they still talk"
    return carried


async def test_two_desks_that_answer_each_other_fall_silent_at_once(sqlite_url: str, tmp_path: Path) -> None:
    ours, theirs = Ledger.open(sqlite_url), await copy_of(sqlite_url)
    async with one_desk("care@shop.example", ours, tmp_path) as a, one_desk("help@partner.example", theirs, tmp_path) as b:
        # somebody at the partner forwards a complaint in the name of their own desk
        assert await talk(a, b, mail(1, sender="help@partner.example")) == 2
        assert (a.relay.count, b.relay.count) == (1, 0)
    await ours.close()
    await theirs.close()


async def test_desks_whose_mail_loses_every_sign_of_its_origin_are_stopped_by_the_caps(sqlite_url: str, tmp_path: Path) -> None:
    """A gateway between them strips what tells a machine and makes each answer a new request: only the caps are left."""
    numbers = count(1)

    def mangle(raw: bytes) -> bytes:
        sender = re.search(rb"From: (\S+@\S+)\r\n|From:[^<]*<([^>]+)>", raw)
        assert sender
        return mail(next(numbers), sender=(sender[1] or sender[2]).decode())

    ours, theirs = Ledger.open(sqlite_url), await copy_of(sqlite_url)
    async with one_desk("care@shop.example", ours, tmp_path) as a, one_desk("help@partner.example", theirs, tmp_path) as b:
        carried = await talk(a, b, mail(0, sender="help@partner.example"), mangle)
        assert max(a.relay.count, b.relay.count) == LIMITS.per_recipient_hour
        assert carried <= 2 * LIMITS.per_recipient_hour + 1
        stopped = a if a.relay.count == b.relay.count else b
        async with stopped.ledger.read() as tx:
            (capped,) = await notices.failed(tx)
        assert "per_recipient_hour" in capped.reason
    await ours.close()
    await theirs.close()


async def copy_of(url: str) -> Ledger:
    from shared.ledger.migrate import upgrade

    ledger = Ledger.open(url.replace("ledger.sqlite3", "theirs.sqlite3"))
    await upgrade(ledger)
    return ledger
