"""The spine of the notifier on real ledgers and a real SMTP peer: a notice goes out once, whatever crashes and whoever competes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from services.demo.smtp_peer import SmtpPeer
from services.notifier.compose import DeskIdentity, compose
from services.notifier.deliver import AT_RISK, DELAYS, GIVE_UP_AFTER, LEASE, Deliver, again
from services.notifier.registry import close_senders, find_senders, open_senders
from services.notifier.sender import Letter, Sender, Sent
from shared.complaint import Channel, Notice, NoticeKind
from shared.errors import TemporaryFailure
from shared.ledger import Ledger, notices
from shared.ledger.notices import Claimed
from shared.notice_details import Acknowledgement, to_detail

SECRET = b"a key of the tests"
DESK = DeskIdentity(mail_from="care@shop.example", public_url="https://shop.example")


def notice(number: int, *, recipient: str = "customer@mail.example", source: str = "email", age: timedelta = timedelta()) -> Notice:
    at = datetime.now(UTC) - age
    reference = f"C261122-00000{number}"
    return Notice(
        key=f"acknowledgement/{reference}",
        reference=reference,
        kind=NoticeKind.ACKNOWLEDGEMENT,
        channel=Channel.EMAIL,
        source=source,
        account="care@shop.example",
        recipient=recipient,
        created_at=at,
        detail=to_detail(Acknowledgement(next_by=at + timedelta(hours=6))),
    )


async def store(ledger: Ledger, *new: Notice) -> list[str]:
    async with ledger.write() as tx:
        await notices.add(tx, new)
    return [n.key for n in new]


async def state_of(ledger: Ledger, reference: str) -> notices.Shown:
    async with ledger.read() as tx:
        (shown,) = await notices.of_complaint(tx, reference)
    return shown


def write(it: Notice) -> Letter:
    return compose(it, desk=DESK, secret=SECRET)


class World:
    """A relay and as many notifiers as a test wants."""

    def __init__(self, ledger: Ledger, relay: SmtpPeer) -> None:
        self.ledger = ledger
        self.relay = relay
        self.postponed: list[tuple[str, datetime]] = []
        self.opened: list[dict[str, object]] = []

    async def notifier(self, name: str = "") -> Deliver:
        senders = await open_senders(
            {"smtp": find_senders()["smtp"]}, {"smtp": {"from": "care@shop.example", "host": "127.0.0.1", "port": str(self.relay.port)}}
        )
        self.opened.append(dict(senders))
        return Deliver(self.ledger, senders, write, lambda key, at: self.postponed.append((key, at)), holder=name)


@pytest.fixture
async def world(ledger: Ledger) -> AsyncIterator[World]:
    async with SmtpPeer() as relay:
        made = World(ledger, relay)
        yield made
        for senders in made.opened:
            await close_senders(senders)  # type: ignore[arg-type]


async def test_a_notice_reaches_the_customer_once_however_often_it_is_asked_for(world: World, ledger: Ledger) -> None:
    keys = await store(ledger, notice(1), notice(2))
    deliver = await world.notifier()
    await deliver.batch(keys + keys)
    await deliver.batch(keys)
    assert world.relay.count == 2
    assert (await state_of(ledger, "C261122-000001")).state == "sent"


async def test_two_batches_at_once_never_both_send_a_notice(world: World, ledger: Ledger) -> None:
    keys = await store(ledger, *(notice(n) for n in range(1, 9)))
    deliver = await world.notifier()
    await asyncio.gather(*(deliver.batch(keys) for _ in range(5)))
    assert world.relay.count == 8
    assert max(world.relay.message_ids.values()) == 1


async def test_a_busy_relay_is_asked_again_later_and_the_timer_hears_when(world: World, ledger: Ledger) -> None:
    keys = await store(ledger, notice(1))
    world.relay.faults.busy = 1
    deliver = await world.notifier()
    (outcome,) = await deliver.batch(keys)
    assert outcome.state == "pending"
    assert [key for key, _ in world.postponed] == keys
    assert await deliver.batch(keys) == []  # not due yet
    shown = await state_of(ledger, "C261122-000001")
    assert (shown.state, shown.attempts) == ("pending", 1)


async def test_an_attempt_that_a_crash_cut_off_goes_out_again_under_the_same_message_id(world: World, ledger: Ledger) -> None:
    keys = await store(ledger, notice(1))
    past = datetime.now(UTC)
    async with ledger.write() as tx:  # a notifier that claimed it and died
        assert await notices.claim(tx, keys, past, past)
    deliver = await world.notifier()
    (outcome,) = await deliver.batch(keys)
    assert outcome.state == "sent"
    assert list(world.relay.message_ids) == [write(notice(1)).message_id]


async def test_a_claimed_notice_belongs_to_its_notifier_until_the_lease_ends(world: World, ledger: Ledger) -> None:
    keys = await store(ledger, notice(1))
    now = datetime.now(UTC)
    async with ledger.write() as tx:
        assert await notices.claim(tx, keys, now, now + LEASE)
    assert await (await world.notifier()).batch(keys) == []
    assert world.relay.count == 0


async def test_a_restarted_notifier_takes_up_at_once_what_it_had_in_hand_and_nobody_elses(world: World, ledger: Ledger) -> None:
    keys = await store(ledger, notice(1), notice(2))
    now = datetime.now(UTC)
    async with ledger.write() as tx:
        assert await notices.claim(tx, keys[:1], now, now + LEASE, "notifier-1")
        assert await notices.claim(tx, keys[1:], now, now + LEASE, "notifier-2")
    again = await world.notifier("notifier-1")
    assert await again.resume() == 1
    assert [outcome.key for outcome in await again.batch(keys)] == keys[:1]
    assert world.relay.count == 1


async def test_a_chat_message_with_unknown_outcome_is_shown_to_the_staff_instead_of_sent_twice(world: World, ledger: Ledger) -> None:
    keys = await store(ledger, notice(1, source="social/telegram", recipient="777"))
    past = datetime.now(UTC)
    async with ledger.write() as tx:
        await notices.claim(tx, keys, past, past)
    telegram = find_senders()["telegram"]  # never opened: it must not even be asked
    deliver = Deliver(ledger, {"social/telegram": telegram}, write, lambda _key, _at: None)
    (outcome,) = await deliver.batch(keys)
    assert outcome.state == "uncertain"
    assert "requeue" in outcome.reason


async def test_a_dead_address_ends_the_notice_with_the_relays_own_words(world: World, ledger: Ledger) -> None:
    world.relay.faults.refuse = {"gone@mail.example": "550 5.1.1 no such user"}
    keys = await store(ledger, notice(1, recipient="gone@mail.example"))
    (outcome,) = await (await world.notifier()).batch(keys)
    assert outcome.state == "dead"
    assert outcome.reason


async def test_a_source_without_a_sender_waits_for_the_operator(world: World, ledger: Ledger) -> None:
    keys = await store(ledger, notice(1, source="social/wechat", recipient="openid"))
    (outcome,) = await (await world.notifier()).batch(keys)
    assert outcome.state == "pending"
    assert "DESK_SENDERS" in outcome.reason


def test_the_ladder_of_retries_respects_the_peers_wish_and_ends() -> None:
    now = datetime.now(UTC)
    failure = TemporaryFailure("busy")
    for attempt, seconds in enumerate((*DELAYS, DELAYS[-1]), 1):
        outcome = again(Claimed(notice(1), attempt, False), failure, now)
        assert outcome.next_at == now + timedelta(seconds=seconds)
    patient = again(Claimed(notice(1), 1, False), TemporaryFailure("slow down", retry_after=120), now)
    assert patient.next_at == now + timedelta(seconds=120)
    old = again(Claimed(notice(1, age=GIVE_UP_AFTER + timedelta(minutes=1)), 9, False), failure, now)
    assert old.state == "dead"


class Unrepeatable(Sender):
    """Takes letters that must not be sent twice, and sees how many are in hand at a time."""

    name = "unrepeatable"
    sources = ("social/telegram",)

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.sent: list[str] = []
        self.in_hand: list[int] = []

    async def send(self, letter: Letter) -> Sent:
        async with self.ledger.read() as tx:
            self.in_hand.append((await notices.states(tx)).get("sending", 0))
        self.sent.append(letter.notice.key)
        return Sent()


async def test_few_letters_that_must_not_be_repeated_are_at_risk_at_once_and_all_go_out(ledger: Ledger) -> None:
    keys = await store(ledger, *(notice(n, source="social/telegram", recipient=str(n)) for n in range(1, 10)))
    sender = Unrepeatable(ledger)
    outcomes = await Deliver(ledger, {"social/telegram": sender}, write, lambda _key, _at: None).batch(keys)
    assert sorted(outcome.key for outcome in outcomes) == sorted(sender.sent) == sorted(keys)
    assert max(sender.in_hand) == AT_RISK
    assert {(await state_of(ledger, key.split("/")[1])).attempts for key in keys} == {1}
