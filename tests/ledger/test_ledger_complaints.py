"""Complaints, histories, threads, matters, submissions and customers in the ledger, on both databases."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy.exc import IntegrityError

from shared.complaint import (
    Category,
    Channel,
    Customer,
    Decision,
    Event,
    Identity,
    Priority,
    Reason,
    State,
    Submission,
)
from shared.errors import Raced, UnknownReference
from shared.ledger import Ledger, complaints, customers, submissions
from shared.ledger.customers import Owner
from shared.ledger.tables import to_micros
from tests.ledger.rows import AT, REF, complaint

HOUR = timedelta(hours=1)
DECIDED = Decision(
    category=Category.LOGISTICS_LOST,
    priority=Priority.HIGH,
    department="logistics",
    confidence=0.875,
    reasons=(Reason("lost", "签收了却没有收到", ("没有收到",)),),
)


def decided(reference: str = REF, version: int = 2) -> Any:
    return complaint(
        reference,
        state=State.ASSIGNED,
        version=version,
        updated_at=AT + HOUR,
        category=Category.LOGISTICS_LOST,
        priority=Priority.HIGH,
        department="logistics",
        confidence=0.875,
        review=True,
        decision=DECIDED,
    )


async def test_a_complaint_comes_back_as_it_went_in(ledger: Ledger):
    new = complaint(subject="主题 😀", order_number="DD1", linked_to="C261120-BBBBBB", conversation="c")
    async with ledger.write() as tx:
        await complaints.insert_new(tx, [new])
    async with ledger.read() as tx:
        assert await complaints.get(tx, REF) == new
        assert await complaints.get_many(tx, [REF, "C261121-ZZZZZZ"]) == {REF: new}
        assert await complaints.get_many(tx, []) == {}
        assert await complaints.count(tx) == 1


async def test_an_unknown_reference_is_told(ledger: Ledger):
    async with ledger.read() as tx:
        with pytest.raises(UnknownReference, match="C261121-ZZZZZZ"):
            await complaints.get(tx, "C261121-ZZZZZZ")


async def test_a_reference_exists_once(ledger: Ledger):
    async with ledger.write() as tx:
        await complaints.insert_new(tx, [complaint()])
    with pytest.raises(IntegrityError):
        async with ledger.write() as tx:
            await complaints.insert_new(tx, [complaint("C261121-BBBBBB"), complaint()])
    async with ledger.read() as tx:
        assert await complaints.count(tx) == 1


async def test_saving_wants_the_version_that_was_read(ledger: Ledger):
    async with ledger.write() as tx:
        await complaints.insert_new(tx, [complaint()])
        await complaints.save(tx, [(1, decided())], work={REF: {"work": "open", "work_by": AT + HOUR}})
    with pytest.raises(Raced, match=REF):
        async with ledger.write() as tx:
            await complaints.save(tx, [(1, decided())])
    async with ledger.read() as tx:
        assert await complaints.get(tx, REF) == decided()
        [work] = await complaints.open_work(tx)
    assert (work.reference, work.due_by, work.priority) == (REF, AT + HOUR, Priority.HIGH)


async def test_a_batch_of_decisions_opens_the_departments_work(ledger: Ledger):
    refs = [f"C261121-00000{n}" for n in range(5)]
    async with ledger.write() as tx:
        await complaints.insert_new(tx, [complaint(r, received_at=AT + n * HOUR) for n, r in enumerate(refs)])
    async with ledger.read() as tx:
        assert await complaints.undecided(tx, before=AT + 3 * HOUR, limit=10) == refs[:3]
        assert await complaints.undecided(tx, before=AT + 9 * HOUR, limit=2) == refs[:2]
        assert await complaints.open_work(tx) == []
    async with ledger.write() as tx:
        await complaints.save_decided(tx, [(decided(r), AT + HOUR) for r in refs[:3]] + [(decided(refs[3], version=9), None)])
    async with ledger.read() as tx:
        assert await complaints.undecided(tx, before=AT + 9 * HOUR, limit=10) == refs[3:]
        assert [w.reference for w in await complaints.open_work(tx, limit=2)] == refs[:2]
        assert [w.reference for w in await complaints.open_work(tx, after=refs[1])] == [refs[2]]
        assert set(await complaints.work_of(tx, refs)) == set(refs[:3])
        assert await complaints.get(tx, refs[0]) == msgspec.structs.replace(decided(refs[0]))


async def test_a_history_has_each_line_once(ledger: Ledger):
    lines = [Event(REF, n, AT + n * HOUR, "progressed", "agent 王", {"words": "快了", "n": n}) for n in (2, 1, 3)]
    async with ledger.write() as tx:
        await complaints.add_events(tx, lines)
    with pytest.raises(IntegrityError):
        async with ledger.write() as tx:
            await complaints.add_events(tx, [Event(REF, 3, AT, "claimed", "agent 李")])
    async with ledger.read() as tx:
        assert await complaints.history(tx, REF) == sorted(lines, key=lambda e: e.seq)


async def test_a_thread_leads_to_one_complaint(ledger: Ledger):
    async with ledger.write() as tx:
        await complaints.add_threads(tx, [("message_id", "a@x", REF), ("conversation", "a@x", "C261121-BBBBBB")])
        assert await complaints.by_thread(tx, [("message_id", "a@x"), ("message_id", "?")]) == {("message_id", "a@x"): REF}
        assert await complaints.by_thread(tx, []) == {}
        await complaints.move_threads(tx, [("message_id", "a@x", REF, "C261121-CCCCCC")])
    with pytest.raises(Raced):
        async with ledger.write() as tx:
            await complaints.move_threads(tx, [("message_id", "a@x", REF, "C261121-DDDDDD")])
    with pytest.raises(IntegrityError):
        async with ledger.write() as tx:
            await complaints.add_threads(tx, [("message_id", "a@x", REF)])
    async with ledger.read() as tx:
        assert await complaints.by_thread(tx, [("message_id", "a@x")]) == {("message_id", "a@x"): "C261121-CCCCCC"}


async def test_a_customers_order_has_one_open_matter(ledger: Ledger):
    key, until = ("U1", "DD1"), AT + HOUR
    async with ledger.write() as tx:
        await complaints.add_matters(tx, [(*key, REF, until)], AT)
        assert await complaints.open_matters(tx, [key, ("U2", "DD1"), ("U1", "DD2")], AT) == {key: REF}
        assert await complaints.open_matters(tx, [key], until) == {}
    with pytest.raises(IntegrityError):
        async with ledger.write() as tx:
            await complaints.add_matters(tx, [(*key, "C261121-BBBBBB", until)], AT)
    async with ledger.write() as tx:  # an expired one gives way
        await complaints.add_matters(tx, [(*key, "C261121-BBBBBB", until + HOUR)], until)
        await complaints.move_matters(tx, [(*key, "C261121-BBBBBB", "C261121-CCCCCC", until + 2 * HOUR)])
        assert await complaints.open_matters(tx, [key], until + HOUR) == {key: "C261121-CCCCCC"}
    with pytest.raises(Raced):
        async with ledger.write() as tx:
            await complaints.move_matters(tx, [(*key, "C261121-BBBBBB", REF, until)])


async def test_a_closed_complaints_matters_end(ledger: Ledger):
    async with ledger.write() as tx:
        await complaints.insert_new(tx, [complaint(), complaint("C261121-BBBBBB")])
        await complaints.add_matters(tx, [("U1", "DD1", REF, AT + HOUR), ("U1", "DD2", "C261121-BBBBBB", AT + HOUR)], AT)
        await complaints.end_matters(tx, REF)
        assert await complaints.open_matters(tx, [("U1", "DD1"), ("U1", "DD2")], AT) == {("U1", "DD2"): "C261121-BBBBBB"}


def stored(key: str, role: str = "complaint", **more: Any) -> dict[str, Any]:
    told = Submission(channel=Channel.CHAT, source="chat", account="shop", text=key)
    row = {"dedupe_key": key, "reference": REF, "role": role, "received_at": AT, "body": msgspec.json.encode(told).decode()}
    return row | {"raw": b"\x00\xff" + key.encode(), "raw_blob": "", "headers": "{}"} | more


async def test_a_submission_is_kept_once(ledger: Ledger):
    async with ledger.write() as tx:
        await submissions.insert_new(tx, [stored("b", "follow_up", received_at=AT + HOUR), stored("a"), stored("c", "automatic")])
    with pytest.raises(IntegrityError):
        async with ledger.write() as tx:
            await submissions.insert_new(tx, [stored("d"), stored("a")])
    async with ledger.read() as tx:
        assert await submissions.first_answers(tx, ["a", "b", "d"]) == {"a": (REF, "complaint"), "b": (REF, "follow_up")}
        assert await submissions.first_answers(tx, []) == {}
        assert sorted(s.dedupe_key for s in await submissions.of_complaint(tx, REF)) == ["a", "b", "c"]
        assert [len(b) for b in (await complaints.bodies(tx, [REF, "C261121-BBBBBB"])).values()] == [2]


async def test_an_identity_has_one_customer(ledger: Ledger):
    mail, phone = Identity("email", "wang@example.com", verified=True), Identity("phone", "+8613800000000")
    async with ledger.write() as tx:
        await customers.insert_new(
            tx, [("U1", Customer(name="王", tier="gold"), AT), ("U2", Customer(), AT)], [("U1", mail), ("U1", phone)]
        )
    with pytest.raises(IntegrityError):
        async with ledger.write() as tx:
            await customers.insert_new(tx, [], [("U2", mail)])
    async with ledger.read() as tx:
        wanted = [("email", "wang@example.com"), ("phone", "+8613800000000"), ("phone", "wang@example.com")]
        assert await customers.by_identity(tx, wanted) == {wanted[0]: "U1", wanted[1]: "U1"}
        assert await customers.owners(tx, wanted) == {wanted[0]: Owner("U1", verified=True), wanted[1]: Owner("U1", verified=False)}
        known, owned = await customers.get(tx, "U1") or (None, [])
        assert known is not None
        assert (known.name, known.tier, known.created_at) == ("王", "gold", AT)
        assert set(owned) == {mail, phone}
        assert await customers.get(tx, "U3") is None
        assert await customers.tiers(tx, ["U1", "U2", "U3"]) == {"U1": "gold"}


async def test_an_unusable_address_becomes_usable_again_by_itself(ledger: Ledger):
    mail, phone = Identity("email", "wang@example.com"), Identity("phone", "+8613800000000")
    async with ledger.write() as tx:
        await customers.insert_new(tx, [("U1", Customer(), AT)], [("U1", mail), ("U1", phone)])
        await customers.mark_unusable(tx, "email", "wang@example.com", AT + HOUR, "550 no such user")
    async with ledger.read() as tx:
        assert await customers.usable(tx, "U1", AT) == [phone]
        assert set(await customers.usable(tx, "U1", AT + 2 * HOUR)) == {mail, phone}


async def test_many_keys_at_once_and_odd_ones(ledger: Ledger):
    odd = ["it's", 'say "hi"', "a\\b", "汉字", "😀", "100%", "[1]", "{}", ""]
    keys = [("message_id", v) for v in odd] + [("message_id", f"{n}@x") for n in range(5000)]
    async with ledger.write() as tx:
        await complaints.add_threads(tx, [(k, v, REF) for k, v in keys])
        assert set(await complaints.by_thread(tx, keys)) == set(keys)


def test_a_naive_time_never_reaches_the_ledger():
    with pytest.raises(ValueError, match="time zone"):
        to_micros(AT.replace(tzinfo=None))
