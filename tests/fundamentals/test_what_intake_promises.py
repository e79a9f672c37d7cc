"""What intake promises, one promise a test, on SQLite and on PostgreSQL. Read from top to bottom as a tutorial."""

from __future__ import annotations

from datetime import timedelta

import pytest

from services.intake.accept import Outcome
from shared.complaint import Channel, Locale, NoticeKind, State
from shared.errors import KeyReused
from shared.ledger import Ledger, complaints, deadlines, notices, outbox, submissions
from shared.references import REFERENCE, reply_address, tracking_token
from tests.arrivals import AT, DESK, SECRET, desk, form, mail, message


async def test_a_complaint_gets_a_reference_and_an_acknowledgement(ledger: Ledger):
    async with desk(ledger) as d:
        receipt = await d.one(form("电饭煲三天没有发货", email="wang@example.com", order="DD20261120001"))
    assert receipt.outcome is Outcome.ACCEPTED
    assert REFERENCE.fullmatch(receipt.reference)
    assert receipt.tracking == tracking_token(receipt.reference, SECRET)
    async with ledger.read() as tx:
        [shown] = await notices.of_complaint(tx, receipt.reference)
    assert (shown.notice.kind, shown.notice.source, shown.notice.recipient) == (NoticeKind.ACKNOWLEDGEMENT, "email", "wang@example.com")
    assert shown.state == "pending"


async def test_everything_about_a_new_complaint_is_stored_together(ledger: Ledger):
    arrival = form("电饭煲三天没有发货", email="wang@example.com", order="DD20261120001")
    async with desk(ledger) as d:
        ref = (await d.one(arrival)).reference
        complaint = await d.complaint(ref)
        assert {e.key for e in d.forwarded} == {f"received/{ref}", f"notice/acknowledgement/{ref}"}
    assert (complaint.state, complaint.channel, complaint.language) == (State.RECEIVED, Channel.WEB_FORM, "zh-CN")
    assert complaint.received_at == AT
    async with ledger.read() as tx:
        [stored] = await submissions.of_complaint(tx, ref)
        [received] = await complaints.history(tx, ref)
        due = await deadlines.of_complaint(tx, ref)
        waiting = await outbox.waiting(tx, before=AT + timedelta(seconds=1))
    assert (stored.submission, stored.role) == (arrival.submission, "complaint")
    assert (received.kind, received.seq) == ("received", 1)
    assert [d.clock for d in due] == ["first_response", "customer_reply"]
    assert len(waiting) == 2


async def test_the_customers_language_is_the_receipts(ledger: Ledger):
    async with desk(ledger) as d:
        assert (await d.one(form("My parcel never arrived", email="a@example.com", subject="Parcel"))).locale is Locale.EN
        assert (await d.one(form("請問我的訂單為什麼還沒有寄出", email="b@example.com", subject="訂單"))).locale is Locale.ZH_TW


async def test_the_same_thing_twice_gets_the_first_answer(ledger: Ledger):
    async with desk(ledger) as d:
        first = await d.one(form("没有收到货", email="wang@example.com"))
        again = await d.one(form("没有收到货", email="wang@example.com", at=AT + timedelta(hours=1)))
        assert await d.count() == 1
        assert await d.count("notices") == 1
    assert again.outcome is Outcome.REPEATED
    assert (again.reference, again.tracking, again.locale) == (first.reference, first.tracking, first.locale)


async def test_a_reply_to_our_letter_goes_to_its_complaint(ledger: Ledger):
    async with desk(ledger) as d:
        first = await d.one(mail("没有收到货", sender="wang@example.com", message_id="1@example.com"))
        to = reply_address(DESK, first.reference, SECRET)
        reply = await d.one(mail("订单号是 123", sender="wang@work.example", message_id="2@example.com", to=to))
        assert reply.outcome is Outcome.FOLLOW_UP
        assert reply.reference == first.reference
        assert (await d.complaint(first.reference)).version == 2
        assert await d.count("notices") == 1


async def test_a_mail_in_the_same_thread_goes_to_its_complaint(ledger: Ledger):
    async with desk(ledger) as d:
        first = await d.one(mail("没有收到货", sender="wang@example.com", message_id="1@example.com"))
        second = await d.one(mail("还在等", sender="wang@example.com", message_id="2@example.com", in_reply_to="1@example.com"))
        third = await d.one(mail("还在等", sender="wang@example.com", message_id="3@example.com", references=["2@example.com"]))
    assert {second.reference, third.reference} == {first.reference}


async def test_a_mail_that_names_the_reference_in_its_subject_goes_to_its_complaint(ledger: Ledger):
    async with desk(ledger) as d:
        first = await d.one(mail("没有收到货", sender="wang@example.com", message_id="1@example.com"))
        spoken = first.reference.lower().replace("-", " ")
        second = await d.one(mail("还在等", sender="wang@example.com", message_id="2@example.com", subject=f"关于 {spoken}"))
    assert second.reference == first.reference


async def test_a_stranger_who_guesses_a_number_never_gets_into_a_complaint(ledger: Ledger):
    async with desk(ledger) as d:
        first = await d.one(mail("没有收到货", sender="wang@example.com", message_id="1@example.com", order="DD1"))
        guesses = [
            mail("让我看看", sender="thief@example.com", message_id="2@example.com", subject=first.reference),
            mail("让我看看", sender="thief@example.com", message_id="3@example.com", in_reply_to="1@example.com"),
            mail("让我看看", sender="thief@example.com", message_id="4@example.com", order="DD1"),
            mail("让我看看", sender="thief@example.com", message_id="5@x", to=f"care+{first.reference.lower()}.00000000@shop.example"),
        ]
        for guess in guesses:
            receipt = await d.one(guess)
            assert receipt.outcome is Outcome.ACCEPTED
            assert receipt.reference != first.reference
        assert (await d.complaint(first.reference)).version == 1


async def test_who_types_another_persons_address_gets_no_link_into_the_complaint(ledger: Ledger):
    async with desk(ledger) as d:
        first = await d.one(form("没有收到货", email="wang@example.com", order="DD1"))
        typed = form("我也是", email="wang@example.com", order="DD1")
        receipts = [await d.one(typed), await d.one(typed)]
    assert [r.outcome for r in receipts] == [Outcome.FOLLOW_UP, Outcome.REPEATED]
    assert first.tracking
    assert [r.tracking for r in receipts] == ["", ""]


async def test_the_platforms_word_for_the_sender_gives_the_link_again(ledger: Ledger):
    async with desk(ledger) as d:
        first = await d.one(message("没有收到货", person="o1", number=1))
        second = await d.one(message("快点", person="o1", number=2))
        again = await d.one(message("快点", person="o1", number=2))
    assert (second.outcome, again.outcome) == (Outcome.FOLLOW_UP, Outcome.REPEATED)
    assert first.tracking == second.tracking == again.tracking != ""


async def test_the_same_customer_and_order_number_join_across_channels(ledger: Ledger):
    async with desk(ledger) as d:
        first = await d.one(form("没有收到货", email="wang@example.com", order="DD1"))
        second = await d.one(mail("订单 DD1 没有收到", sender="wang@example.com", message_id="1@example.com", order="DD1"))
        other = await d.one(form("另一个订单坏了", email="wang@example.com", order="DD2"))
    assert second.reference == first.reference
    assert other.reference != first.reference


async def test_an_order_number_joins_only_inside_the_window(ledger: Ledger):
    later = AT + timedelta(days=8)
    async with desk(ledger) as d:
        first = await d.one(form("没有收到货", email="wang@example.com", order="DD1"))
    async with desk(ledger, now=lambda: later) as d:
        second = await d.one(form("又坏了", email="wang@example.com", order="DD1", at=later))
        third = await d.one(form("快点", email="wang@example.com", order="DD1", at=later))
    assert second.reference != first.reference
    assert third.reference == second.reference


async def test_a_reply_to_a_closed_complaint_opens_a_new_one_that_names_it(ledger: Ledger):
    async with desk(ledger) as d:
        first = await d.one(mail("没有收到货", sender="wang@example.com", message_id="1@example.com", order="DD1"))
        await d.becomes(first.reference, State.CLOSED)
        to = reply_address(DESK, first.reference, SECRET)
        second = await d.one(mail("又来了", sender="wang@example.com", message_id="2@example.com", to=to, order="DD1"))
        assert second.outcome is Outcome.ACCEPTED
        assert (await d.complaint(second.reference)).linked_to == first.reference
        third = await d.one(mail("快点", sender="wang@example.com", message_id="3@example.com", order="DD1"))
        assert third.reference == second.reference


async def test_a_platform_conversation_goes_on_with_the_complaint_after_a_closed_one(ledger: Ledger):
    async with desk(ledger) as d:
        first = await d.one(message("没有收到货", person="o1", number=1))
        await d.becomes(first.reference, State.CLOSED)
        second = await d.one(message("又坏了", person="o1", number=2))
        third = await d.one(message("快点", person="o1", number=3))
    assert second.reference != first.reference
    assert third.reference == second.reference


async def test_a_follow_up_brings_the_complaint_back_to_its_department(ledger: Ledger):
    async with desk(ledger) as d:
        first = await d.one(message("没有收到货", person="o1", number=1))
        await d.becomes(first.reference, State.AWAITING_CUSTOMER)
        await d.one(message("订单号 DD1", person="o1", number=2))
        assert (await d.complaint(first.reference)).state is State.INVESTIGATING
        assert d.forwarded[-1].topic is outbox.Topic.ASSIGNED
        [row] = await d.rows("complaints")
    assert row["work"] == "open"


async def test_an_auto_reply_is_recorded_and_never_answered(ledger: Ledger):
    async with desk(ledger) as d:
        first = await d.one(mail("没有收到货", sender="wang@example.com", message_id="1@example.com"))
        to = reply_address(DESK, first.reference, SECRET)
        auto = await d.one(mail("我在休假", sender="wang@example.com", message_id="2@example.com", to=to, automatic=True))
        assert (auto.outcome, auto.reference) == (Outcome.RECORDED, first.reference)
        after = await d.complaint(first.reference)
        assert (after.state, after.updated_at) == (State.RECEIVED, AT)
        assert await d.count("notices") == 1
    async with ledger.read() as tx:
        assert [e.kind for e in await complaints.history(tx, first.reference)] == ["received", "auto_replied"]


async def test_a_machines_mail_that_belongs_nowhere_is_held_and_opens_nothing(ledger: Ledger):
    async with desk(ledger) as d:
        receipt = await d.one(mail("我在休假", sender="robot@example.com", message_id="1@example.com", automatic=True))
        assert (receipt.outcome, receipt.reference) == (Outcome.HELD, "")
        assert [await d.count(t) for t in ("complaints", "submissions", "customers", "notices")] == [0, 0, 0, 0]


async def test_a_bounce_is_tied_to_the_complaint_of_the_letter_it_speaks_of(ledger: Ledger):
    async with desk(ledger) as d:
        first = await d.one(mail("没有收到货", sender="wang@example.com", message_id="1@example.com"))
        to = reply_address(DESK, first.reference, SECRET)
        bounce = await d.one(mail("", sender="mailer-daemon@mx.example", message_id="2@mx.example", to=to, bounce="wang@example.com"))
    assert (bounce.outcome, bounce.reference) == (Outcome.RECORDED, first.reference)


async def test_a_request_repeated_with_its_idempotency_key_gets_the_first_answer(ledger: Ledger):
    key = ("key-1", "fingerprint of the body")
    async with desk(ledger) as d:
        first = await d.one(form("没有收到货", email="wang@example.com", idempotency=key))
        again = await d.one(form("没有收到货", email="wang@example.com", idempotency=key))
        assert await d.count() == 1
    assert (again.outcome, again.reference, again.tracking) == (first.outcome, first.reference, first.tracking)
    assert again.replayed


async def test_an_idempotency_key_with_another_body_is_refused(ledger: Ledger):
    async with desk(ledger) as d:
        await d.one(form("没有收到货", email="wang@example.com", idempotency=("key-1", "one")))
        with pytest.raises(KeyReused):
            await d.one(form("别的事", email="wang@example.com", idempotency=("key-1", "two")))
        assert await d.count() == 1


async def test_an_idempotency_key_is_forgotten_after_a_day(ledger: Ledger):
    tomorrow = AT + timedelta(hours=25)
    async with desk(ledger) as d:
        await d.one(form("没有收到货", email="wang@example.com", idempotency=("key-1", "one")))
    async with desk(ledger, now=lambda: tomorrow) as d:
        receipt = await d.one(form("别的事", email="wang@example.com", at=tomorrow, idempotency=("key-1", "two")))
    assert receipt.outcome is Outcome.ACCEPTED


async def test_two_submissions_in_one_delivery_are_both_kept(ledger: Ledger):
    """They share their bytes and the request's idempotency key; `part` tells them apart."""
    key = ("key-1", "the body")
    both = [form(text, email="wang@example.com", raw=b"one body", idempotency=key, part=n) for n, text in enumerate(("一", "二"))]
    async with desk(ledger) as d:
        first = [r.reference for r in await d.many(both) if not isinstance(r, BaseException)]
        again = [r.reference for r in await d.many(both) if not isinstance(r, BaseException)]
        assert await d.count() == 2
    assert first == again
    assert len(set(first)) == 2
