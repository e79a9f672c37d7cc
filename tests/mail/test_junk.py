"""The junk folder: what answers us is taken, all else waits in quarantine for a person, and nothing in it is ever answered by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Row, select

from services.intake.accept import Accept
from services.intake.adapter import Delivery
from services.intake.adapters.email import ADAPTER
from services.intake.door import Door
from services.intake.mail_sources import JunkTaker, LedgerState, MailTaker, read_mailboxes
from services.intake.mailbox import Mailbox
from services.intake.registry import find_adapters
from shared.blobs import Blobs
from shared.ledger import Ledger
from shared.ledger.tables import metadata
from shared.references import reply_address
from tests.arrivals import AT, RULES, SECRET
from tests.mail.dovecot import Dovecot, running
from tests.mail.memory import mail, wait_until


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Dovecot]:
    with running() as server:
        yield server


async def rows(ledger: Ledger, table: str) -> list[Row[Any]]:
    async with ledger.read() as tx:
        return list((await tx.execute(select(metadata.tables[table]))).all())


async def test_junk_waits_for_a_person_and_a_customers_answer_does_not(dovecot: Dovecot, ledger: Ledger, tmp_path: Path) -> None:
    accept = Accept(ledger, RULES, lambda _: None)
    committing = asyncio.create_task(accept.run())
    take = MailTaker(Door(find_adapters(), {}, accept, ledger, Blobs.open(tmp_path.as_uri())))
    (first,) = await take([Delivery(raw=mail(1), account="care@shop.example", received_at=AT, headers={})])
    box = {"host": dovecot.host, "port": dovecot.port, "user": "care", "password": "secret", "ssl": False, "start": "all", "junk": "Junk"}
    inbox, junk = read_mailboxes(msgspec.json.encode([box]).decode())
    assert (inbox.is_junk, junk.is_junk, junk.after, junk.idle_seconds, junk.poll_seconds) == (False, True, "leave", 0.0, 900.0)
    dovecot.empty()
    dovecot.make_folder("care", "Junk")
    answer = mail(2).replace(b"care@shop.example", reply_address("care@shop.example", first.reference, SECRET).encode())
    dovecot.append("care", mail(3, body="加微信领取奖金"), answer, folder="Junk")
    mailbox = Mailbox(junk, LedgerState(ledger), JunkTaker(take, SECRET), take.hold)
    task = asyncio.create_task(mailbox.run())
    await wait_until(lambda: sum(mailbox.counts.values()) == 2)
    await mailbox.stop()
    await asyncio.wait_for(task, 10)
    committing.cancel()
    await asyncio.gather(committing, return_exceptions=True)
    assert mailbox.counts == {"accepted": 1, "quarantined": 1}
    stored = [(row.role, row.reference) for row in await rows(ledger, "submissions")]
    assert sorted(stored) == [("complaint", first.reference), ("follow_up", first.reference)]
    (held,) = await rows(ledger, "quarantine")
    assert "junk folder" in held.message
    assert dovecot.count_seen("care", "Junk") == 0


@pytest.mark.parametrize(("sender", "automatic"), [("", True), ("<>", True), ("zhang@mail.example", False)])
def test_mail_that_came_through_the_door_without_an_envelope_sender_is_a_machines(sender: str, automatic: bool) -> None:
    delivery = Delivery(raw=mail(1), account="care@shop.example", received_at=AT, headers={"x-envelope-from": sender})
    (parsed,) = ADAPTER.parse(delivery)
    assert parsed.submission.automatic is automatic
    assert ("automatic_because" in parsed.submission.extra) is automatic
