"""Behind all rules against loops: caps per recipient and complaint. And what follows when a relay says that an address is dead."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import count

import msgspec
import pytest
from sqlalchemy import select

from services.demo.smtp_peer import SmtpPeer
from services.intake.accept import Outcome
from services.notifier.caps import over_the_caps
from services.notifier.compose import DeskIdentity, compose
from services.notifier.deliver import Deliver
from services.notifier.registry import close_senders, find_senders, open_senders
from services.notifier.sender import Letter
from shared.complaint import Channel, Notice, NoticeKind
from shared.ledger import Ledger, notices, outbox
from shared.ledger.notices import Lately
from shared.ledger.tables import metadata
from shared.notice_details import Acknowledgement, to_detail
from shared.policy import Notices, load
from shared.reach import NEXT
from tests.arrivals import SECRET, Desk, desk, form, mail

LIMITS = Notices(acknowledgement=True, progress=True, per_recipient_hour=3, per_recipient_day=5, per_complaint_day=4)
NOW = datetime.now(UTC)
numbers = count(1)


def write(it: Notice) -> Letter:
    return compose(it, desk=DeskIdentity(mail_from="care@shop.example", public_url="https://shop.example"), secret=SECRET)


def notice(*, to: str = "zhang@mail.example", about: str = "", channel: Channel = Channel.EMAIL, age: timedelta = timedelta()) -> Notice:
    number = next(numbers)
    reference = about or f"C261122-{number:06d}"
    return Notice(
        key=f"acknowledgement/{reference}/{number}",
        reference=reference,
        kind=NoticeKind.ACKNOWLEDGEMENT,
        channel=channel,
        source="email",
        account="care@shop.example",
        recipient=to,
        created_at=NOW - age,
        detail=to_detail(Acknowledgement(next_by=NOW + timedelta(hours=6))),
    )


@pytest.fixture
async def relay() -> AsyncIterator[SmtpPeer]:
    async with SmtpPeer() as peer:
        yield peer


@pytest.fixture
async def deliver(ledger: Ledger, relay: SmtpPeer) -> AsyncIterator[Deliver]:
    senders = await open_senders(
        {"smtp": find_senders()["smtp"]}, {"smtp": {"from": "care@shop.example", "host": "127.0.0.1", "port": str(relay.port)}}
    )
    yield Deliver(ledger, senders, write, lambda _key, _at: None, limits=LIMITS)
    await close_senders(senders)


async def store(ledger: Ledger, *new: Notice) -> list[str]:
    async with ledger.write() as tx:
        await notices.add(tx, new)
    return [n.key for n in new]


async def states(ledger: Ledger) -> dict[str, int]:
    async with ledger.read() as tx:
        return await notices.states(tx)


async def test_beyond_the_cap_of_the_hour_a_notice_is_kept_for_people_and_says_why(
    deliver: Deliver, ledger: Ledger, relay: SmtpPeer
) -> None:
    outcomes = await deliver.batch(await store(ledger, *(notice() for _ in range(5))))
    assert relay.count == 3
    assert [o.state for o in outcomes].count("dead") == 2
    assert "per_recipient_hour" in next(o.reason for o in outcomes if o.state == "dead")
    later = await deliver.batch(await store(ledger, notice(), notice(to="li@mail.example")))
    assert [o.state for o in later] == ["dead", "sent"]
    async with ledger.read() as tx:
        assert len(await notices.failed(tx)) == 3


async def test_a_capped_notice_that_a_person_requeues_in_calmer_times_goes_out(deliver: Deliver, ledger: Ledger, relay: SmtpPeer) -> None:
    table = metadata.tables["notices"]
    outcomes = await deliver.batch(await store(ledger, *(notice() for _ in range(4))))
    capped = next(o.key for o in outcomes if o.state == "dead")
    async with ledger.write() as tx:  # two hours pass
        await tx.execute(table.update().values(created_at=NOW - timedelta(hours=2)))
        assert await notices.requeue(tx, capped, NOW - timedelta(minutes=1))
    (outcome,) = await deliver.batch([capped])
    assert (outcome.state, relay.count) == ("sent", 4)


async def test_the_day_and_the_complaint_have_caps_of_their_own(deliver: Deliver, ledger: Ledger) -> None:
    for _ in range(3):
        await deliver.batch(await store(ledger, notice(age=timedelta(hours=2)), notice(age=timedelta(hours=3))))
    assert await states(ledger) == {"sent": 5, "dead": 1}
    about = [notice(to=f"to{n}@mail.example", about="C261122-ABCDEF") for n in range(5)]
    outcomes = await deliver.batch(await store(ledger, *about))
    assert [o.reason for o in outcomes if "per_complaint_day" in o.reason]


async def test_forms_and_calls_are_never_capped(deliver: Deliver, ledger: Ledger, relay: SmtpPeer) -> None:
    await deliver.batch(await store(ledger, *(notice(channel=Channel.WEB_FORM) for _ in range(12))))
    assert relay.count == 12
    (outcome,) = await deliver.batch(await store(ledger, notice()))
    assert outcome.state == "sent"


def test_the_shipped_caps_leave_room_for_a_customer_with_many_orders() -> None:
    shipped = load().notices
    assert over_the_caps([notice() for _ in range(20)], Lately(), shipped) == {}
    assert shipped.per_recipient_hour >= 20


def test_the_earlier_of_a_batch_go_first() -> None:
    wanted = [notice(age=timedelta(minutes=n)) for n in range(4)]
    assert list(over_the_caps(wanted, Lately(), LIMITS)) == [wanted[0].key]
    assert over_the_caps(wanted[:1], Lately(by_recipient={"zhang@mail.example": (2, 4)}), LIMITS) == {}
    assert over_the_caps(wanted[:1], Lately(by_recipient={"zhang@mail.example": (0, 5)}), LIMITS)


async def complain(at: Desk, email: str, phone: str) -> str:
    receipt = await at.one(form("箱子破了", email=email, phone=phone))
    assert receipt.outcome is Outcome.ACCEPTED
    return receipt.reference


async def owed(ledger: Ledger) -> list[tuple[str, str]]:
    table = metadata.tables["outbox"]
    async with ledger.read() as tx:
        return [(r.topic, r.reference) for r in await tx.execute(select(table.c.topic, table.c.reference).order_by(table.c.key))]


@pytest.mark.parametrize(
    ("said", "dead"), [("550 5.1.1 no such user", True), ("550 unknown", True), ("552 5.2.2 mailbox full", False), ("554 5.7.1 no", False)]
)
async def test_a_refused_address_is_told_another_way_and_left_alone_only_when_it_is_dead(
    deliver: Deliver, ledger: Ledger, relay: SmtpPeer, said: str, dead: bool
) -> None:
    relay.faults.refuse = {"gone@mail.example": said}
    async with desk(ledger) as at:
        reference = await complain(at, "gone@mail.example", "+8613800138000")
        key = f"acknowledgement/{reference}"
        async with ledger.write() as tx:
            await outbox.settle(tx, [row["key"] for row in await at.rows("outbox")])
        (outcome,) = await deliver.batch([key])
        assert outcome.state == "dead"
        async with ledger.read() as tx:
            _, other = await notices.of_complaint(tx, reference)
        assert (other.notice.key, other.notice.source, other.state) == (key + NEXT, "phone", "pending")
        assert ("notice", key + NEXT) in await owed(ledger)
        marked = [r["value"] for r in await at.rows("identities") if r["unusable_until"]]
        assert marked == (["gone@mail.example"] if dead else [])
        (event,) = [r for r in await at.rows("events") if r["kind"] == "undeliverable"]
        assert "gone@mail.example" not in event["detail"]
        assert msgspec.json.decode(event["detail"])["next"] == "phone"


async def test_the_second_way_is_the_last_and_then_the_department_has_the_work(deliver: Deliver, ledger: Ledger, relay: SmtpPeer) -> None:
    from shared.complaint import State

    relay.faults.refuse = {"gone@mail.example": "550 5.1.1 no such user"}
    async with desk(ledger) as at:
        receipt = await at.one(mail("箱子破了", sender="gone@mail.example", message_id="m1@mail.example"))
        await at.becomes(receipt.reference, State.AWAITING_CUSTOMER)
        await deliver.batch([f"acknowledgement/{receipt.reference}"])
        (row,) = await at.rows("complaints")
        assert (row["work"], row["state"]) == ("open", "awaiting_customer")
        assert ("assigned", receipt.reference) in await owed(ledger)
        (event,) = [msgspec.json.decode(r["detail"]) for r in await at.rows("events") if r["kind"] == "undeliverable"]
        assert event["untold"] == "no other way to reach the customer"
        assert await at.count("notices") == 1


async def test_a_mail_the_relay_refuses_for_its_content_ends_no_address(deliver: Deliver, ledger: Ledger, relay: SmtpPeer) -> None:
    relay.faults.refuse_content = "554 5.7.1 spam"
    async with desk(ledger) as at:
        reference = await complain(at, "zhang@mail.example", "+8613800138000")
        await deliver.batch([f"acknowledgement/{reference}"])
        assert [r for r in await at.rows("identities") if r["unusable_until"]] == []
        assert await at.count("notices") == 2
