"""Batches: answers in order, arrivals that know of each other, one bad arrival, stopping; and batches equal one by one."""

from __future__ import annotations

import asyncio
import shutil
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from services.intake.accept import BATCH, Accept, Arrival, Outcome, Receipt
from services.intake.arrival import ready
from shared.complaint import Identity, State
from shared.errors import KeyReused, TemporaryFailure, Unreadable
from shared.ledger import Ledger, complaints
from shared.references import new_reference, reply_address
from tests.arrivals import AT, DESK, RULES, SECRET, desk, form, mail, message


def receipts(answers: list[Receipt | BaseException]) -> list[Receipt]:
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return [a for a in answers if isinstance(a, Receipt)]


async def test_answers_come_in_the_order_of_the_arrivals(ledger: Ledger):
    many = [form(f"第 {n} 件", email=f"c{n}@example.com") for n in range(BATCH * 2 + 7)]
    async with desk(ledger) as d:
        got = receipts(await d.many(many))
        for n in (0, BATCH - 1, BATCH, len(many) - 1):
            stored = next(row for row in await d.rows("submissions") if row["reference"] == got[n].reference)
            assert stored["raw"] == many[n].raw
    assert len({r.reference for r in got}) == len(many)


async def test_a_follow_up_in_the_batch_of_its_complaint_finds_it(ledger: Ledger):
    async with desk(ledger) as d:
        got = receipts(
            await d.many(
                [
                    message("没有收到货", person="o1", number=1),
                    message("快点", person="o1", number=2),
                    message("快点啊", person="o1", number=3),
                    message("快点", person="o1", number=2),
                ]
            )
        )
        assert (await d.complaint(got[0].reference)).version == 3
        assert len(d.forwarded) == 2
    assert [r.outcome for r in got] == [Outcome.ACCEPTED, Outcome.FOLLOW_UP, Outcome.FOLLOW_UP, Outcome.REPEATED]
    assert len({r.reference for r in got}) == 1
    async with ledger.read() as tx:
        assert [e.seq for e in await complaints.history(tx, got[0].reference)] == [1, 2, 3]


async def test_two_follow_ups_in_one_batch_raise_the_version_step_by_step(ledger: Ledger):
    async with desk(ledger) as d:
        first = await d.one(message("没有收到货", person="o1", number=1))
        receipts(await d.many([message("快点", person="o1", number=2), message("快点啊", person="o1", number=3)]))
        assert (await d.complaint(first.reference)).version == 3


async def test_one_bad_arrival_does_not_take_the_others_with_it(ledger: Ledger):
    too_long = form("没有收到货", email="x" * 400 + "@example.com")
    refused = form("别的事", email="c@example.com", idempotency=("k", "two"))
    async with desk(ledger) as d:
        await d.one(form("一件事", email="c@example.com", idempotency=("k", "one")))
        answers = await d.many([form("一", email="a@example.com"), too_long, refused, form("二", email="b@example.com")])
        assert await d.count() == 3
    assert [type(a) for a in answers] == [Receipt, Unreadable, KeyReused, Receipt]
    assert "customer.identities.value" in str(answers[1])


async def test_one_arrival_that_breaks_the_transaction_is_answered_alone(ledger: Ledger):
    """Whatever no check foresaw; here its reference cannot be drawn."""
    bad = AT + timedelta(seconds=1)

    def draw(at: datetime) -> str:
        if at == bad:
            raise RuntimeError("cannot draw")
        return new_reference(at)

    async with desk(ledger, draw=draw) as d:
        answers = await d.many(
            [form("一", email="a@example.com"), form("坏", email="x@example.com", at=bad), form("二", email="b@example.com")]
        )
        assert await d.count() == 2
    assert [type(a) for a in answers] == [Receipt, RuntimeError, Receipt]


async def test_a_taken_reference_is_drawn_again(ledger: Ledger):
    """By the ledger where an earlier complaint has it, in the plan where one of the same batch has."""
    draws = [f"C261121-{letter * 6}" for letter in "AAABCCD"]
    async with desk(ledger, draw=lambda _: draws.pop(0)) as d:
        first = await d.one(form("一", email="a@example.com"))
        rest = receipts(await d.many([form("二", email="b@example.com"), form("三", email="c@example.com")]))
        assert await d.count() == 3
    assert [first.reference, *(r.reference for r in rest)] == ["C261121-AAAAAA", "C261121-CCCCCC", "C261121-DDDDDD"]


async def test_a_reference_that_is_always_taken_is_a_temporary_failure(ledger: Ledger):
    async with desk(ledger, draw=lambda _: "C261121-AAAAAA") as d:
        await d.one(form("一", email="a@example.com"))
        with pytest.raises(TemporaryFailure, match="too busy"):
            await d.one(form("二", email="b@example.com"))
        assert await d.count("submissions") == 1


async def test_text_no_database_takes_is_mended_and_kept(ledger: Ledger):
    nasty = form("零\0字节 和半个 \ud83d 字符", email="a@example.com", subject="主题\0", order="DD\0" + "1" * 100, headers={"x": "a\0b"})
    async with desk(ledger) as d:
        receipt = await d.one(nasty)
        again = await d.one(nasty)
        [stored] = await d.rows("submissions")
        assert (await d.complaint(receipt.reference)).subject == "主题\ufffd"
    assert again.reference == receipt.reference
    assert stored["raw"] == nasty.raw
    assert "零\ufffd字节" in stored["body"]


async def test_other_mail_with_the_same_message_id_is_kept_too(ledger: Ledger):
    """Message-IDs are not unique in the wild; the second mail must be neither lost nor refused for ever."""
    async with desk(ledger) as d:
        one = await d.one(mail("一", sender="a@example.com", message_id="same@example.com"))
        two = await d.one(mail("二", sender="b@example.com", message_id="same@example.com"))
        assert await d.count() == 2
        reply = await d.one(mail("三", sender="a@example.com", message_id="3@example.com", in_reply_to="same@example.com"))
    assert two.outcome is Outcome.ACCEPTED
    assert reply.reference == one.reference


async def test_a_reply_from_another_address_with_a_known_order_number_is_kept(ledger: Ledger):
    """The order number is already taken by the complaint's own customer."""
    async with desk(ledger) as d:
        first = await d.one(form("没有收到货", email="wang@example.com", order="DD1"))
        to = reply_address(DESK, first.reference, SECRET)
        reply = await d.one(mail("订单 DD1", sender="wang@work.example", message_id="1@x", to=to, order="DD1"))
        assert (reply.outcome, reply.reference) == (Outcome.FOLLOW_UP, first.reference)
        assert await d.count("customers") == 1


async def test_members_of_a_group_each_have_their_own_complaint(ledger: Ledger):
    async with desk(ledger) as d:
        a1 = await d.one(message("没有收到货", person="a", number=1, group="g"))
        b1 = await d.one(message("我也是", person="b", number=1, group="g"))
        a2 = await d.one(message("快点", person="a", number=2, group="g"))
        b2 = await d.one(message("快点", person="b", number=2, group="g"))
        assert await d.count() == 2
    assert (a1.reference, b1.reference) == (a2.reference, b2.reference)


async def test_what_somebody_types_never_ties_a_proven_identity_to_another_customer(ledger: Ledger):
    """A thief with an account of his own who also types the victim's address must not become the victim."""
    thief = message("你好", person="thief", number=1)
    typed = Identity("email", "wang@example.com")
    customer = replace(thief.submission.customer, identities=(typed, *thief.submission.customer.identities))
    forged = replace(thief, submission=replace(thief.submission, customer=customer))
    async with desk(ledger) as d:
        victim = await d.one(form("没有收到货", email="wang@example.com", order="DD1"))
        await d.one(forged)
        later = await d.one(message("给我看看", person="thief", number=2, order="DD1"))
        assert later.reference != victim.reference


async def test_a_chain_of_joined_complaints_leads_to_its_end(ledger: Ledger):
    async with desk(ledger) as d:
        refs = [(await d.one(mail(str(n), sender="a@example.com", message_id=f"{n}@x"))).reference for n in range(3)]
        async with ledger.write() as tx:
            for ref, into in pairwise(refs):
                c = await complaints.get(tx, ref)
                await complaints.save(tx, [(1, replace(c, state=State.JOINED, joined_to=into, version=2))])
        receipt = await d.one(mail("还在等", sender="a@example.com", message_id="9@x", in_reply_to="0@x"))
        auto = await d.one(mail("休假", sender="a@example.com", message_id="10@x", in_reply_to="0@x", automatic=True))
        assert (receipt.outcome, receipt.reference) == (Outcome.FOLLOW_UP, refs[2])
        assert auto.reference == refs[2]
        assert await d.count() == 3


async def test_stopping_finishes_the_batch_under_way_and_refuses_the_rest(ledger: Ledger):
    accept = Accept(ledger, RULES, lambda _: None, clock=lambda: AT)
    running = asyncio.create_task(accept.run())
    waiting = [asyncio.create_task(accept.one(form(str(n), email=f"c{n}@example.com"))) for n in range(BATCH + 3)]
    await asyncio.sleep(0)  # all wait
    await asyncio.sleep(0)  # the first batch is taken
    running.cancel()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    await asyncio.gather(running, return_exceptions=True)
    assert all(isinstance(a, Receipt) for a in answers[:BATCH])
    assert [type(a) for a in answers[BATCH:]] == [TemporaryFailure] * 3
    with pytest.raises(TemporaryFailure, match="stopping"):
        await accept.one(form("late", email="late@example.com"))


async def test_a_caller_who_goes_away_leaves_the_complaint_stored(ledger: Ledger):
    async with desk(ledger) as d:
        gone = asyncio.create_task(d.one(form("没有收到货", email="a@example.com")))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        again = await d.one(form("没有收到货", email="a@example.com"))
        assert again.outcome is Outcome.REPEATED
        assert len(d.forwarded) == 2


def test_a_naive_time_is_our_own_fault_and_said_at_once():
    with pytest.raises(ValueError, match="time zone"):
        ready(form("x", email="a@example.com", at=datetime(2026, 1, 1)))  # noqa: DTZ001 - that is the point


PEOPLE = ("ann", "bob")
arrivals = st.one_of(
    st.builds(
        lambda who, order, text: form(text, email=f"{who}@example.com", order=order),
        st.sampled_from(PEOPLE),
        st.sampled_from(("", "DD1")),
        st.sampled_from("xyz"),
    ),
    st.builds(
        lambda who, n, back, auto: mail(
            "z", sender=f"{who}@example.com", message_id=f"{n}@x", in_reply_to=f"{back}@x" if back != n else "", automatic=auto
        ),
        st.sampled_from(PEOPLE),
        st.integers(1, 4),
        st.integers(1, 4),
        st.booleans(),
    ),
    st.builds(lambda who, n: message("w", person=who, number=n), st.sampled_from(PEOPLE), st.integers(1, 3)),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(sequence=st.lists(arrivals, max_size=12), cuts=st.sets(st.integers(0, 12), max_size=4))
async def test_batches_leave_the_same_ledger_as_one_by_one(sqlite_ready: Path, tmp_path: Path, sequence: list[Arrival], cuts: set[int]):
    edges = [0, *sorted(c for c in cuts if 0 < c < len(sequence)), len(sequence)]
    batched = [sequence[a:b] for a, b in pairwise(edges)]
    one_by_one, together = (Path(shutil.copy(sqlite_ready, tmp_path / f"{uuid4()}.sqlite3")) for _ in range(2))
    assert await outcome(one_by_one, [[a] for a in sequence]) == await outcome(together, batched)


async def outcome(path: Path, batches: list[list[Arrival]]) -> tuple[list[tuple[str, str]], list[dict[str, Any]]]:
    """The receipts and the rows of a fresh ledger, with the drawn names replaced by their order."""
    ledger = Ledger.open(f"sqlite+aiosqlite:///{path}")
    drawn: list[str] = []

    def draw(_: datetime) -> str:
        drawn.append(f"C261121-{len(drawn):06d}")
        return drawn[-1]

    async with desk(ledger, draw=draw) as d:
        told = [r for batch in batches for r in receipts(await d.many(batch))]
        names = {row["id"]: f"customer of {row['created_at']}" for row in await d.rows("customers")}
        tables = ("complaints", "submissions", "events", "deadlines", "notices", "outbox", "threads", "matters", "identities")
        rows = [{k: names.get(v, v) for k, v in row.items()} | {"table": t} for t in tables for row in await d.rows(t)]
    await ledger.close()
    return [(r.outcome, r.reference) for r in told], sorted(rows, key=repr)
