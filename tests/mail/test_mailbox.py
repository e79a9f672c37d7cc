"""A mailbox on a real Dovecot: nothing lost, nothing doubled, whatever happens to the connection, the mailbox or a single mail."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence

import pytest

from services.intake.adapter import Delivery
from services.intake.mailbox import Mailbox
from services.intake.mailbox_contract import MailboxOptions, Outcome
from shared.errors import TemporaryFailure
from tests.mail.dovecot import Dovecot, running
from tests.mail.memory import Desk, MemoryState, mail, wait_until


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    with running() as dovecot:
        yield dovecot


@pytest.fixture
def dovecot(server: Dovecot) -> Dovecot:
    server.empty()
    return server


@pytest.fixture
def state() -> MemoryState:
    return MemoryState()


@pytest.fixture
def desk() -> Desk:
    return Desk()


def options(dovecot: Dovecot, **changes: object) -> MailboxOptions:
    chosen: dict[str, object] = {"start": "all", "idle_seconds": 20.0, "poll_seconds": 0.05, **changes}
    return MailboxOptions(
        host=dovecot.host, port=dovecot.port, user="care", password="secret", ssl=False, account="care@shop.example", **chosen
    )  # type: ignore[arg-type] - test options by name


@contextlib.asynccontextmanager
async def watching(chosen: MailboxOptions, state: MemoryState, desk: Desk, take: object = None) -> AsyncIterator[Mailbox]:
    mailbox = Mailbox(chosen, state, take or desk.take, desk.quarantine, backoff=(0.05, 0.2))  # type: ignore[arg-type] - any callable
    task = asyncio.create_task(mailbox.run())
    try:
        yield mailbox
    finally:
        await mailbox.stop()
        await asyncio.wait_for(task, 10)


def numbers(desk: Desk) -> list[int]:
    return [int(subject) for subject in desk.subjects]


async def test_what_is_in_the_mailbox_is_taken_in_order_and_marked_seen(dovecot: Dovecot, state: MemoryState, desk: Desk) -> None:
    dovecot.append("care", *(mail(n) for n in range(120)))
    async with watching(options(dovecot), state, desk):
        await wait_until(lambda: len(state.outcomes) == 120)
        await wait_until(lambda: dovecot.count_seen("care") == 120)
    assert numbers(desk) == list(range(120))
    assert desk.batches == [50, 50, 20]


async def test_mail_that_arrives_while_idle_is_taken_at_once(dovecot: Dovecot, state: MemoryState, desk: Desk) -> None:
    async with watching(options(dovecot), state, desk) as mailbox:
        await wait_until(lambda: mailbox.idling)
        dovecot.append("care", mail(1))
        await wait_until(lambda: numbers(desk) == [1], 10)
        await wait_until(lambda: mailbox.idling)
        dovecot.append("care", mail(2))
        await wait_until(lambda: numbers(desk) == [1, 2], 10)


async def test_without_idle_it_polls(dovecot: Dovecot, state: MemoryState, desk: Desk) -> None:
    async with watching(options(dovecot, idle_seconds=0.0), state, desk) as mailbox:
        await wait_until(lambda: mailbox.connected)
        dovecot.append("care", mail(1))
        await wait_until(lambda: numbers(desk) == [1])
        assert not mailbox.idling


async def test_a_first_visit_from_now_leaves_the_past_alone(dovecot: Dovecot, state: MemoryState, desk: Desk) -> None:
    dovecot.append("care", mail(1), mail(2))
    chosen = options(dovecot, start="now")
    async with watching(chosen, state, desk) as mailbox:
        await wait_until(lambda: mailbox.idling)
        dovecot.append("care", mail(3))
        await wait_until(lambda: numbers(desk) == [3])
    standing = await Mailbox(chosen, state, desk.take, desk.quarantine).standing()
    assert (standing.exists, standing.ours, standing.waiting, standing.missing) == (3, 1, 0, ())


async def test_after_a_restart_it_goes_on_where_it_was(dovecot: Dovecot, state: MemoryState, desk: Desk) -> None:
    dovecot.append("care", mail(1))
    async with watching(options(dovecot), state, desk):
        await wait_until(lambda: numbers(desk) == [1])
    dovecot.append("care", mail(2))
    async with watching(options(dovecot), state, desk):
        await wait_until(lambda: numbers(desk) == [1, 2])
    assert sorted(item.status for item in state.outcomes.values()) == ["accepted", "accepted"]


async def test_a_crash_between_storing_and_remembering_gives_duplicates_not_losses(
    dovecot: Dovecot, state: MemoryState, desk: Desk
) -> None:
    dovecot.append("care", mail(1), mail(2))
    crashed: list[bool] = []

    async def dies_after_commit(deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        outcomes = await desk.take(deliveries)
        if not crashed:
            crashed.append(True)
            raise TemporaryFailure("the process died here")
        return outcomes

    async with watching(options(dovecot), state, desk, dies_after_commit):
        await wait_until(lambda: len(state.outcomes) == 2)
    assert numbers(desk) == [1, 2]
    assert {item.status for item in state.outcomes.values()} == {"duplicate"}


async def test_while_nothing_can_be_stored_the_mail_waits(dovecot: Dovecot, state: MemoryState, desk: Desk) -> None:
    down = [True]

    def fail(_: Sequence[Delivery]) -> None:
        if down[0]:
            raise TemporaryFailure("the ledger is down")

    desk.fails = fail
    dovecot.append("care", mail(1))
    async with watching(options(dovecot), state, desk) as mailbox:
        await wait_until(lambda: "ledger is down" in mailbox.last_error)
        assert not state.outcomes
        assert dovecot.count_seen("care") == 0
        down[0] = False
        await wait_until(lambda: numbers(desk) == [1])


async def test_a_connection_killed_in_the_middle_of_a_fetch_loses_nothing(dovecot: Dovecot, state: MemoryState, desk: Desk) -> None:
    dovecot.append("care", *(mail(n, body="很长的正文。" * 5000) for n in range(60)))
    killed: list[int] = []

    def kill_once(_: Sequence[Delivery]) -> None:
        # with batches of five, the next FETCH follows at once and finds a dead connection
        if len(killed) < 3:
            killed.append(dovecot.kill_sessions())

    desk.fails = kill_once
    async with watching(options(dovecot, batch=5), state, desk):
        await wait_until(lambda: len(state.outcomes) == 60, 40)
    assert sum(killed) >= 3
    assert sorted(numbers(desk)) == list(range(60))


async def test_a_connection_killed_while_idle_is_made_again(dovecot: Dovecot, state: MemoryState, desk: Desk) -> None:
    async with watching(options(dovecot), state, desk) as mailbox:
        await wait_until(lambda: mailbox.idling)
        assert dovecot.kill_sessions() >= 1
        dovecot.append("care", mail(1))
        await wait_until(lambda: numbers(desk) == [1])


async def test_bad_mails_never_stop_the_good_ones(dovecot: Dovecot, state: MemoryState, desk: Desk) -> None:
    def poison(deliveries: Sequence[Delivery]) -> None:
        if any(b"poison" in delivery.raw for delivery in deliveries):
            raise ValueError("a defect of ours")

    desk.fails = poison
    dovecot.append("care", mail(1), b"\x00\x01 no mail at all", mail(2), mail(3, body="poison"), mail(4))
    async with watching(options(dovecot), state, desk) as mailbox:
        await wait_until(lambda: len(state.outcomes) == 5)
    assert numbers(desk) == [1, 2, 4]
    assert [item.status for _, item in sorted(state.outcomes.items())] == ["accepted", "quarantined", "accepted", "quarantined", "accepted"]
    assert mailbox.counts == {"accepted": 3, "quarantined": 2}
    assert len(desk.held) == 2
    assert dovecot.count_seen("care") == 3


async def test_a_mail_over_the_size_limit_is_quarantined_by_its_header(dovecot: Dovecot, state: MemoryState, desk: Desk) -> None:
    dovecot.append("care", mail(1), mail(2, body="x" * 50_000), mail(3))
    async with watching(options(dovecot, max_bytes=20_000), state, desk):
        await wait_until(lambda: len(state.outcomes) == 3)
    assert numbers(desk) == [1, 3]
    ((delivery, reason),) = desk.held
    assert b"Subject: 2" in delivery.raw
    assert b"xxx" not in delivery.raw
    assert "still in the mailbox" in reason


async def test_a_rebuilt_mailbox_is_read_again_without_doubles(dovecot: Dovecot, state: MemoryState, desk: Desk) -> None:
    dovecot.append("care", mail(1), mail(2))
    async with watching(options(dovecot), state, desk):
        await wait_until(lambda: len(state.outcomes) == 2)
    before = state.positions["care@shop.example/INBOX"].uidvalidity
    dovecot.rebuild("care")
    dovecot.append("care", mail(3))
    async with watching(options(dovecot), state, desk):
        await wait_until(lambda: len(state.outcomes) == 5)
    after = state.positions["care@shop.example/INBOX"].uidvalidity
    assert after != before
    assert numbers(desk) == [1, 2, 3]
    assert sorted(item.status for (_, validity, _), item in state.outcomes.items() if validity == after) == [
        "accepted",
        "duplicate",
        "duplicate",
    ]


async def test_taken_mail_can_be_moved_away(dovecot: Dovecot, state: MemoryState, desk: Desk) -> None:
    dovecot.make_folder("care", "Done")
    dovecot.append("care", mail(1), mail(2))
    async with watching(options(dovecot, after="move", move_to="Done"), state, desk):
        await wait_until(lambda: len(dovecot.flags("care", "Done")) == 2)
    assert dovecot.flags("care") == []


async def test_a_cap_for_the_hour_keeps_a_full_mailbox_from_flooding(dovecot: Dovecot, state: MemoryState, desk: Desk) -> None:
    dovecot.append("care", *(mail(n) for n in range(30)))
    async with watching(options(dovecot, max_per_hour=10, batch=5), state, desk) as mailbox:
        await wait_until(lambda: len(state.outcomes) == 10)
        await wait_until(mailbox.over_the_hour)
    assert numbers(desk) == list(range(10))


async def test_a_mail_that_lost_its_outcome_is_found_by_the_count(dovecot: Dovecot, state: MemoryState, desk: Desk) -> None:
    dovecot.append("care", mail(1), mail(2), mail(3))
    chosen = options(dovecot)
    async with watching(chosen, state, desk):
        await wait_until(lambda: len(state.outcomes) == 3)
    lost = sorted(state.outcomes)[1]
    del state.outcomes[lost]
    standing = await Mailbox(chosen, state, desk.take, desk.quarantine).standing()
    assert standing.missing == (lost[2],)


async def test_a_wrong_password_says_what_to_do(dovecot: Dovecot, state: MemoryState, desk: Desk) -> None:
    wrong = MailboxOptions(host=dovecot.host, port=dovecot.port, user="care", password="wrong", ssl=False)
    async with watching(wrong, state, desk) as mailbox:
        await wait_until(lambda: "app password" in mailbox.last_error)


async def test_two_accounts_take_the_same_mail_each_once(dovecot: Dovecot, desk: Desk) -> None:
    dovecot.append("care", mail(1))
    dovecot.append("sales", mail(1))
    other = MailboxOptions(host=dovecot.host, port=dovecot.port, user="sales", password="secret", ssl=False, start="all")
    first, second = MemoryState(), MemoryState()
    async with watching(options(dovecot), first, desk), watching(other, second, desk):
        await wait_until(lambda: len(first.outcomes) == len(second.outcomes) == 1)
    assert numbers(desk) == [1, 1]


async def test_mail_that_arrives_while_another_is_taken_is_not_left_until_the_next_look(
    dovecot: Dovecot, state: MemoryState, desk: Desk
) -> None:
    """The server announces it in its answer to one of our own commands, and IDLE says nothing of what was announced before."""
    dovecot.append("care", mail(1))

    async def take(deliveries: Sequence[Delivery]) -> list[Outcome]:
        if numbers(desk) == []:
            await asyncio.to_thread(dovecot.append, "care", mail(2))
        return await desk.take(deliveries)

    async with watching(options(dovecot, idle_seconds=60.0), state, desk, take):
        await wait_until(lambda: numbers(desk) == [1, 2], 10)
