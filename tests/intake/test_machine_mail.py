"""Bounces, automatic replies and receipts: tied to the notice they speak of, on record, never answered, never a change of state."""

from __future__ import annotations

import msgspec
import pytest
from sqlalchemy import update

from services.intake.accept import Arrival, Outcome
from shared.complaint import Bounce, State
from shared.ledger import Ledger, notices
from shared.ledger.tables import metadata
from shared.reach import NEXT, address_is_dead
from shared.references import message_id, reply_address
from tests.arrivals import AT, SECRET, Desk, desk, form, mail


def report(reference: str, key: str = "", *, status: str = "5.1.1", permanent: bool = True, to: tuple[str, ...] = ()) -> Arrival:
    """A delivery report about a notice of ours, as the mail reader gives it."""
    arrival = mail("Delivery failed", sender="mailer-daemon@mx.example", message_id=f"bounce-{reference}-{status}@mx.example")
    original = message_id(reference, key or f"acknowledgement/{reference}", "shop.example", SECRET)
    return with_(arrival, automatic=True, bounce=Bounce(recipients=to, permanent=permanent, original_id=original, status=status))


def with_(arrival: Arrival, **changes: object) -> Arrival:
    return msgspec.structs.replace(arrival, submission=msgspec.structs.replace(arrival.submission, **changes))


async def sent(at: Desk, key: str) -> None:
    table = metadata.tables["notices"]
    async with at.ledger.write() as tx:
        await tx.execute(update(table).where(table.c.key == key).values(state="sent", sent_at=AT))


async def complain(at: Desk, arrival: Arrival) -> str:
    receipt = await at.one(arrival)
    await sent(at, f"acknowledgement/{receipt.reference}")
    return receipt.reference


async def events(at: Desk, kind: str) -> list[dict[str, object]]:
    return [msgspec.json.decode(row["detail"]) for row in await at.rows("events") if row["kind"] == kind]


async def unusable(at: Desk) -> dict[str, str]:
    return {row["value"]: row["unusable_why"] for row in await at.rows("identities") if row["unusable_until"]}


async def test_a_dead_address_is_left_alone_and_the_notice_goes_to_the_customers_next_one(ledger: Ledger) -> None:
    async with desk(ledger) as at:
        reference = await complain(at, form("箱子破了", email="zhang@mail.example", phone="+8613800138000"))
        receipt = await at.one(report(reference, to=("zhang@mail.example",)))
        assert (receipt.outcome, receipt.reference) == (Outcome.RECORDED, reference)
        assert await unusable(at) == {"zhang@mail.example": "Mail came back (5.1.1)."}
        async with ledger.read() as tx:
            first, second = await notices.of_complaint(tx, reference)
        assert (first.state, "history" in first.reason) == ("dead", True)
        assert (second.notice.key, second.state) == (f"acknowledgement/{reference}{NEXT}", "pending")
        assert (second.notice.source, second.notice.recipient) == ("phone", "+8613800138000")
        assert second.notice.detail == first.notice.detail
        (event,) = await events(at, "bounced")
        assert event == {
            "permanent": True, "status": "5.1.1", "notice": f"acknowledgement/{reference}", "address_unusable": True, "next": "phone",
        }  # fmt: skip
        assert [e.reference for e in at.forwarded if e.topic == "notice"] == [first.notice.key, second.notice.key]
        assert (await at.complaint(reference)).state is State.RECEIVED


async def test_the_same_report_again_or_another_about_the_same_notice_sends_nothing_more(ledger: Ledger) -> None:
    async with desk(ledger) as at:
        reference = await complain(at, form("箱子破了", email="zhang@mail.example", phone="+8613800138000"))
        repeated = report(reference, to=("zhang@mail.example",))
        outcomes = await at.many([repeated, repeated, report(reference, status="5.4.4")])
        assert [getattr(o, "outcome", o) for o in outcomes] == [Outcome.RECORDED, Outcome.REPEATED, Outcome.RECORDED]
        await at.one(report(reference, status="5.1.2"))
        assert await at.count("notices") == 2


async def test_without_another_way_the_department_gets_the_work_again(ledger: Ledger) -> None:
    async with desk(ledger) as at:
        reference = await complain(at, mail("箱子破了", sender="zhang@mail.example", message_id="m1@mail.example"))
        await at.becomes(reference, State.AWAITING_CUSTOMER)
        before = await at.complaint(reference)
        await at.one(report(reference))
        (event,) = await events(at, "bounced")
        assert event["untold"] == "no other way to reach the customer"
        (row,) = await at.rows("complaints")
        assert (row["work"], row["state"]) == ("open", before.state)
        assert [e.reference for e in at.forwarded if e.topic == "assigned"] == [reference]


@pytest.mark.parametrize("status", ["5.2.2", "5.7.1"])
async def test_a_full_mailbox_or_a_refused_letter_is_told_another_way_but_the_address_stays(ledger: Ledger, status: str) -> None:
    async with desk(ledger) as at:
        reference = await complain(at, form("箱子破了", email="zhang@mail.example", phone="+8613800138000"))
        await at.one(report(reference, status=status))
        assert await unusable(at) == {}
        assert await at.count("notices") == 2


async def test_a_delay_is_only_noted(ledger: Ledger) -> None:
    async with desk(ledger) as at:
        reference = await complain(at, form("箱子破了", email="zhang@mail.example", phone="+8613800138000"))
        await at.one(report(reference, status="4.4.1", permanent=False))
        (event,) = await events(at, "bounced")
        assert event == {"permanent": False, "status": "4.4.1", "notice": f"acknowledgement/{reference}"}
        assert (await unusable(at), await at.count("notices")) == ({}, 1)


async def test_nobody_ends_somebody_elses_address_with_a_report_of_his_own(ledger: Ledger) -> None:
    async with desk(ledger) as at:
        reference = await complain(at, form("箱子破了", email="zhang@mail.example", phone="+8613800138000"))
        forged = with_(
            mail("Delivery failed", sender="mailer-daemon@evil.example", message_id="b@evil.example", subject=f"Undelivered {reference}"),
            automatic=True,
            bounce=Bounce(
                recipients=("zhang@mail.example",),
                permanent=True,
                original_id=f"{reference.lower()}.aaaaaaaa.0123456789abcdef@shop.example",
            ),
        )
        assert (await at.one(forged)).outcome is Outcome.HELD
        # one that knows the key of another complaint ends no address we did not write to there
        own = await complain(at, form("另一件", email="mallory@evil.example"))
        await at.one(report(own, key="progress/none/3", to=("zhang@mail.example",)))
        assert await unusable(at) == {}


async def test_a_forwarding_mailbox_is_not_taken_for_dead(ledger: Ledger) -> None:
    async with desk(ledger) as at:
        reference = await complain(at, form("箱子破了", email="zhang@mail.example", phone="+8613800138000"))
        await at.one(report(reference, to=("old-account@elsewhere.example",)))
        assert (await unusable(at), await at.count("notices")) == ({}, 2)


async def test_later_notices_avoid_the_dead_address_until_the_mark_ends(ledger: Ledger) -> None:
    async with desk(ledger) as at:
        reference = await complain(at, form("箱子破了", email="zhang@mail.example", phone="+8613800138000"))
        await at.one(report(reference))
        (row,) = [r for r in await at.rows("identities") if r["kind"] == "email"]
        assert (row["unusable_until"] - AT).days == 60


async def test_automatic_replies_and_read_receipts_are_on_record_and_change_nothing(ledger: Ledger) -> None:
    async with desk(ledger) as at:
        reference = await complain(at, mail("箱子破了", sender="zhang@mail.example", message_id="m1@mail.example"))
        key = f"acknowledgement/{reference}"
        ours = message_id(reference, key, "shop.example", SECRET)
        away = mail("我在休假", sender="zhang@mail.example", message_id="m2@mail.example", in_reply_to=ours, automatic=True)
        receipt = with_(
            mail("Read", sender="zhang@mail.example", message_id="m3@mail.example"),
            automatic=True, extra={"receipt": "read", "receipt_for": ours},
        )  # fmt: skip
        for arrival in (away, receipt):
            assert (await at.one(arrival)).outcome is Outcome.RECORDED
        assert [row["kind"] for row in await at.rows("events")] == ["received", "auto_replied", "read"]
        assert (await events(at, "read")) == [{"notice": key}]
        assert (await at.count("notices"), await at.count("complaints"), (await at.complaint(reference)).state) == (1, 1, State.RECEIVED)
        assert [e.topic for e in at.forwarded] == ["received", "notice"]


async def test_a_verified_address_of_the_customer_is_another_way_a_typed_one_of_another_complaint_is_not(ledger: Ledger) -> None:
    async with desk(ledger) as at:
        reference = await complain(at, mail("箱子破了", sender="zhang@mail.example", message_id="m1@mail.example"))
        owner = (await at.complaint(reference)).customer_id
        table = metadata.tables["identities"]
        typed = {"kind": "phone", "value": "+8613800138000", "customer_id": owner, "verified": False, "unusable_why": ""}
        proven = {"kind": "phone", "value": "+8613900139000", "customer_id": owner, "verified": True, "unusable_why": ""}
        async with ledger.write() as tx:
            await tx.execute(table.insert(), [typed, proven])
        await at.one(report(reference))
        assert [r["recipient"] for r in await at.rows("notices") if r["key"].endswith(NEXT)] == ["+8613900139000"]


def test_which_failures_speak_of_the_address() -> None:
    dead = ("", "5.1.1", "5.1.10", "5.2.1", "5.4.4", "5.4.1", "5.0.0", "5.5.0")
    alive = ("5.2.2", "5.2.3", "5.3.0", "5.4.6", "5.6.1", "5.7.1", "5.7.26")
    assert {status: address_is_dead(status) for status in (*dead, *alive)} == dict.fromkeys(dead, True) | dict.fromkeys(alive, False)


def test_the_reader_gives_the_status_code(request: pytest.FixtureRequest) -> None:
    from services.intake.mail.read import MAX_BYTES, read_mail

    raw = (request.path.parent.parent / "mail/corpus/bounce_dsn_failed.eml").read_bytes()
    bounce = read_mail(raw, MAX_BYTES).bounce
    assert bounce is not None
    assert bounce.status.startswith("5.")


async def test_a_bounce_without_the_original_names_its_complaint_by_the_address_it_came_back_to(ledger: Ledger) -> None:
    async with desk(ledger) as at:
        reference = await complain(at, form("箱子破了", email="zhang@mail.example", phone="+8613800138000"))
        back = mail(
            "退信", sender="postmaster@qq.example", message_id="b@qq.example", to=reply_address("care@shop.example", reference, SECRET)
        )
        await at.one(with_(back, automatic=True, bounce=Bounce(recipients=(), permanent=True)))
        assert await unusable(at) == {"zhang@mail.example": "Mail came back."}
        assert await at.count("notices") == 2
