"""Deadlines, outbox, quarantine, idempotency, mailboxes and API keys in the ledger, on both databases."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from shared.complaint import Deadline
from shared.errors import NotAllowed
from shared.ledger import Ledger, accounts, deadlines, idempotency, mailboxes, outbox, quarantine
from shared.ledger.idempotency import Answered
from shared.ledger.mailboxes import Position
from shared.ledger.outbox import Entry, Topic
from shared.ledger.quarantine import Held, held_id
from tests.ledger.rows import AT, REF

HOUR = timedelta(hours=1)


async def test_a_complaint_has_one_deadline_a_clock(ledger: Ledger):
    async with ledger.write() as tx:
        await deadlines.add(tx, [(REF, Deadline("resolution", AT + HOUR, "一天之内"))])
    with pytest.raises(IntegrityError):
        async with ledger.write() as tx:
            await deadlines.add(tx, [(REF, Deadline("resolution", AT + 2 * HOUR))])
    async with ledger.write() as tx:
        await deadlines.replace(tx, [(REF, Deadline("resolution", AT + 3 * HOUR)), (REF, Deadline("customer_reply", AT))])
        await deadlines.replace(tx, [])
    async with ledger.read() as tx:
        assert [(d.clock, d.due_by) for d in await deadlines.of_complaint(tx, REF)] == [
            ("customer_reply", AT),
            ("resolution", AT + 3 * HOUR),
        ]


async def test_a_missed_deadline_is_found_once_and_a_met_one_never(ledger: Ledger):
    other = "C261121-BBBBBB"
    async with ledger.write() as tx:
        await deadlines.add(
            tx, [(r, Deadline(c, AT + n * HOUR)) for r in (REF, other) for n, c in enumerate(("first_response", "resolution"))]
        )
        await deadlines.meet(tx, [REF], ["first_response"], AT)
        await deadlines.meet(tx, [], ["resolution"], AT)
        assert await deadlines.overdue(tx, AT) == []
        assert [r for r, _ in await deadlines.overdue(tx, AT + HOUR)] == [other]
        assert [(r, d.clock) for r, d in await deadlines.overdue(tx, AT + 2 * HOUR, limit=1)] == [(other, "first_response")]
        await deadlines.breach(tx, [(other, "first_response")], AT + HOUR)
        await deadlines.breach(tx, [], AT)
        assert await deadlines.overdue(tx, AT + HOUR) == []
        await deadlines.meet(tx, [other], ["first_response"], AT + 2 * HOUR)  # late, and the breach stays
        [first, _] = await deadlines.of_complaint(tx, other)
    assert (first.breached_at, first.met_at) == (AT + HOUR, AT + 2 * HOUR)


async def test_an_outbox_entry_waits_until_it_is_settled(ledger: Ledger):
    entries = [Entry("received/a", Topic.RECEIVED, "a"), Entry("notice/n", Topic.NOTICE, "n"), Entry("assigned/a/2", Topic.ASSIGNED, "a")]
    async with ledger.write() as tx:
        await outbox.add(tx, entries[:2], AT)
        await outbox.add(tx, entries[2:], AT + HOUR)
        await outbox.add(tx, [], AT)
    with pytest.raises(IntegrityError):
        async with ledger.write() as tx:
            await outbox.add(tx, entries[:1], AT)
    async with ledger.write() as tx:
        assert {e.key for e in await outbox.waiting(tx, before=AT + HOUR)} == {"received/a", "notice/n"}
        assert len(await outbox.waiting(tx, before=AT + 2 * HOUR, limit=2)) == 2
        await outbox.settle(tx, ["received/a", "notice/n", "unknown"])
        await outbox.settle(tx, [])
        assert await outbox.waiting(tx, before=AT + 2 * HOUR) == entries[2:]


def held(raw: bytes = b"\xff\x00 broken", **more: Any) -> Held:
    fixed: dict[str, Any] = {
        "adapter": "email",
        "account": "care",
        "code": "unreadable",
        "message": "cannot be read",
        "headers": {"a": "b"},
    }
    fixed |= {"count": 1, "first_at": AT, "last_at": AT, "state": "held"}
    return Held(id=held_id("email", "care", raw), raw=raw, **(fixed | more))


async def test_the_same_bytes_held_twice_are_one_row_that_counts(ledger: Ledger):
    async with ledger.write() as tx:
        await quarantine.hold(tx, held())
        await quarantine.hold(tx, held(b"other"))
        await quarantine.hold(tx, held(last_at=AT + HOUR, message="still cannot be read"))
        [newest, _] = await quarantine.listed(tx)
        assert newest == held(count=2, last_at=AT + HOUR, message="still cannot be read")
        assert await quarantine.count_held(tx) == 2
        assert await quarantine.get(tx, "unknown") is None


async def test_several_processes_hold_the_same_bytes_at_once(ledger_url: str):
    ledgers = [Ledger.open(ledger_url) for _ in range(4)]

    async def hold(ledger: Ledger) -> None:
        for _ in range(5):
            async with ledger.write() as tx:
                await quarantine.hold(tx, held())

    await asyncio.gather(*(hold(ledger) for ledger in ledgers))
    async with ledgers[0].read() as tx:
        [kept] = await quarantine.listed(tx)
    assert kept.count == 20
    for ledger in ledgers:
        await ledger.close()


async def test_what_was_replayed_and_comes_again_is_seen_again(ledger: Ledger):
    again, thrown = held(), held(b"spam")
    async with ledger.write() as tx:
        for one in (again, thrown):
            await quarantine.hold(tx, one)
        await quarantine.set_state(tx, [again.id], "replayed")
        await quarantine.set_state(tx, [thrown.id], "discarded")
        assert await quarantine.count_held(tx) == 0
        assert [h.id for h in await quarantine.listed(tx, state="discarded")] == [thrown.id]
        for one in (again, thrown):
            await quarantine.hold(tx, one)
        assert [(h.id, h.count) for h in await quarantine.listed(tx)] == [(again.id, 2)]


async def test_an_idempotency_key_has_one_answer_for_a_day(ledger: Ledger):
    key = idempotency.scoped("client", "POST /complaints", "key-1")
    answer = Answered(key, idempotency.fingerprint(b"body"), REF, AT)
    tomorrow = AT + timedelta(hours=24)
    async with ledger.write() as tx:
        await idempotency.add(tx, [answer], AT)
        await idempotency.add(tx, [], AT)
        assert await idempotency.find(tx, [key, "other"], AT + HOUR) == {key: (idempotency.fingerprint(b"body"), REF)}
        assert await idempotency.find(tx, [key], tomorrow) == {}
    with pytest.raises(IntegrityError):
        async with ledger.write() as tx:
            await idempotency.add(tx, [answer], AT + HOUR)
    async with ledger.write() as tx:  # an expired one gives way
        await idempotency.add(tx, [Answered(key, "new", REF, tomorrow)], tomorrow)
        await idempotency.sweep(tx, tomorrow)
        assert await idempotency.find(tx, [key], tomorrow) == {key: ("new", REF)}
        await idempotency.sweep(tx, tomorrow + timedelta(hours=24))
        assert await idempotency.find(tx, [key], AT) == {}


def test_clients_cannot_collide_in_their_idempotency_keys():
    assert idempotency.scoped("a", "r", "k") != idempotency.scoped("b", "r", "k") != idempotency.scoped("b", "s", "k")


async def test_every_mail_of_a_mailbox_ends_one_way(ledger: Ledger):
    async with ledger.write() as tx:
        assert await mailboxes.position(tx, "care", "INBOX") is None
        await mailboxes.set_position(tx, "care", "INBOX", Position(7, 10, AT))
        await mailboxes.set_position(tx, "care", "INBOX", Position(7, 4_000_000_000, AT + HOUR))
        await mailboxes.record(
            tx, "care", "INBOX", 7, [(1, "accepted", ""), (2, "quarantined", "unreadable"), (3, "ignored", "our own")], AT
        )
        await mailboxes.record(tx, "care", "INBOX", 7, [(2, "accepted", "")], AT)
        await mailboxes.record(tx, "care", "INBOX", 8, [(1, "duplicate", "")], AT)
        await mailboxes.record(tx, "care", "INBOX", 7, [], AT)
    async with ledger.read() as tx:
        assert await mailboxes.position(tx, "care", "INBOX") == Position(7, 4_000_000_000, AT + HOUR)
        assert await mailboxes.counts(tx, "care", "INBOX", 7) == {"accepted": 2, "ignored": 1}
        assert await mailboxes.counts(tx, "care", "Spam", 7) == {}


async def test_an_api_key_opens_until_it_is_revoked(ledger: Ledger):
    key_id, key, digest = accounts.new_key()
    owner = accounts.ApiKey(id=key_id, name="仓库", scope="department", department="warehouse", created_at=AT)
    async with ledger.write() as tx:
        await accounts.add(tx, owner, digest)
    async with ledger.read() as tx:
        assert await accounts.find(tx, key) == owner
        for wrong in ("", "desk", f"desk_{key_id}_x", key + "x", key.replace("desk", "disk"), "desk__"):
            with pytest.raises(NotAllowed) as refused:
                await accounts.find(tx, wrong)
            assert refused.value.status == 401
    async with ledger.write() as tx:
        assert await accounts.revoke(tx, key_id, AT + HOUR) is True
        assert await accounts.revoke(tx, key_id, AT + HOUR) is False
        [shown] = await accounts.listed(tx)
        assert shown.revoked_at == AT + HOUR
        with pytest.raises(NotAllowed):
            await accounts.find(tx, key)
