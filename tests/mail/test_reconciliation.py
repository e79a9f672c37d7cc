"""Every mail is accounted for: the count against the server's, the alarm where they differ, and the dry run that takes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest
from prometheus_client import REGISTRY

from services.intake.accept import Accept
from services.intake.door import Door
from services.intake.mail_sources import LedgerState, MailTaker
from services.intake.mailbox import Mailbox
from services.intake.mailbox_contract import NEVER, MailboxOptions
from services.intake.reconcile import Reconciler
from services.intake.registry import find_adapters
from shared.blobs import Blobs
from shared.ledger import Ledger, mailboxes
from tests.arrivals import RULES
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


def options(dovecot: Dovecot, **changes: object) -> MailboxOptions:
    plain = MailboxOptions(
        host=dovecot.host, port=dovecot.port, user="care", password="secret", ssl=False, account="care@shop.example", start="all"
    )
    return msgspec.structs.replace(plain, poll_seconds=0.05, **changes)


@contextlib.asynccontextmanager
async def watching(mailbox: Mailbox) -> AsyncIterator[Mailbox]:
    task = asyncio.create_task(mailbox.run())
    try:
        yield mailbox
    finally:
        await mailbox.stop()
        await asyncio.wait_for(task, 10)


@contextlib.asynccontextmanager
async def intake(ledger: Ledger, tmp_path: Path) -> AsyncIterator[MailTaker]:
    accept = Accept(ledger, RULES, lambda entries: None)
    committing = asyncio.create_task(accept.run())
    try:
        yield MailTaker(Door(find_adapters(), {}, accept, ledger, Blobs.open(tmp_path.as_uri())))
    finally:
        committing.cancel()
        await asyncio.gather(committing, return_exceptions=True)


def gap() -> float | None:
    return REGISTRY.get_sample_value("desk_mailbox_gap", {"account": "care@shop.example", "folder": "INBOX"})


async def test_a_lost_outcome_is_an_alarm_until_it_is_found_again(dovecot: Dovecot) -> None:
    state, desk = MemoryState(), Desk()
    dovecot.append("care", *(mail(n) for n in range(6)))
    async with watching(Mailbox(options(dovecot), state, desk.take, desk.quarantine)) as mailbox:
        await wait_until(lambda: len(state.outcomes) == 6)
        reconciler = Reconciler([mailbox])
        standing = await reconciler.check(mailbox)
        assert standing is not None
        assert (standing.missing, gap()) == ((), 0)
        assert reconciler.parts() == {"mailbox care@shop.example/INBOX": "ok"}
        lost, outcome = sorted(state.outcomes.items())[2]
        del state.outcomes[lost]
        fresh = Reconciler([mailbox])
        found = await fresh.check(mailbox)
        assert found is not None
        assert (found.missing, gap()) == ((lost[2],), 1)
        assert "1 mails without an outcome" in fresh.parts()["mailbox care@shop.example/INBOX"]
        state.outcomes[lost] = outcome
        await fresh.check(mailbox)
        assert gap() == 0
        assert fresh.parts() == {"mailbox care@shop.example/INBOX": "ok"}


async def test_the_comparison_runs_beside_the_watch_and_looks_only_at_what_is_new(dovecot: Dovecot) -> None:
    state, desk = MemoryState(), Desk()
    dovecot.append("care", *(mail(n) for n in range(3)))
    asked: list[int] = []

    class Counting(MemoryState):
        async def settled_uids(self, mailbox: str, uidvalidity: int, above: int = 0) -> set[int]:
            asked.append(above)
            return await super().settled_uids(mailbox, uidvalidity, above)

    state = Counting()
    async with watching(Mailbox(options(dovecot), state, desk.take, desk.quarantine)) as mailbox:
        await wait_until(lambda: len(state.outcomes) == 3 and mailbox.connected)
        reconciler = Reconciler([mailbox], every=0.05)
        asked.clear()
        running_beside = asyncio.create_task(reconciler.run())
        await wait_until(lambda: len(asked) >= 2)
        running_beside.cancel()
        await asyncio.gather(running_beside, return_exceptions=True)
        assert asked[0] == 0
        assert asked[1] == state.positions["care@shop.example/INBOX"].last_uid


async def test_a_mailbox_that_cannot_be_read_says_so_where_people_look(dovecot: Dovecot, ledger: Ledger, tmp_path: Path) -> None:
    dovecot.append("care", mail(1))
    state = LedgerState(ledger)
    async with intake(ledger, tmp_path) as take:
        async with watching(Mailbox(options(dovecot), state, take, take.hold)):
            await wait_until(lambda: dovecot.count_seen("care") == 1)
        wrong = Mailbox(options(dovecot, password="changed"), state, take, take.hold, backoff=(0.05, 0.1))
        async with watching(wrong):
            await wait_until(lambda: "app password" in wrong.last_error)
            assert "app password" in Reconciler([wrong]).parts()["mailbox care@shop.example/INBOX"]
    async with ledger.read() as tx:
        position = await mailboxes.position(tx, "care@shop.example", "INBOX")
    assert position is not None
    assert "app password" in position.last_error


async def test_the_instant_of_reading_to_the_end_is_kept_only_when_nothing_waits(dovecot: Dovecot) -> None:
    state, desk = MemoryState(), Desk()
    dovecot.append("care", *(mail(n) for n in range(6)))
    slow = options(dovecot, max_per_hour=4, batch=4, idle_seconds=0.0)
    async with watching(Mailbox(slow, state, desk.take, desk.quarantine)) as mailbox:
        await wait_until(mailbox.over_the_hour)
        assert state.positions[slow.name].last_ok_at.year == 1980
        # a mailbox rebuilt now must give all of it again, however old the mails are
    dovecot.rebuild("care")
    async with watching(Mailbox(options(dovecot), state, desk.take, desk.quarantine)):
        await wait_until(lambda: len(desk.subjects) == 6)
        await wait_until(lambda: state.positions[slow.name].last_ok_at.year > 2020)
    assert sorted(desk.subjects) == [str(n) for n in range(6)]


async def test_mail_from_before_a_rebuilt_mailbox_is_not_missed_by_the_count(dovecot: Dovecot) -> None:
    state, desk = MemoryState(), Desk()
    dovecot.append("care", mail(1))
    async with watching(Mailbox(options(dovecot), state, desk.take, desk.quarantine)):
        await wait_until(lambda: len(state.outcomes) == 1)
    dovecot.rebuild("care")
    assert len(dovecot.flags("care")) == 1  # the mail we know has its new number now
    with dovecot.login("care") as client:  # a migration brought back years of mail, among the new numbers
        client.append("INBOX", None, '"01-Mar-2019 10:00:00 +0800"', mail(99))
    async with watching(Mailbox(options(dovecot), state, desk.take, desk.quarantine)) as mailbox:
        await wait_until(lambda: len(state.outcomes) == 3)
        standing = await mailbox.twin().standing()
    assert desk.subjects == ["1"]
    assert standing.missing == ()
    assert sorted(item.status for item in state.outcomes.values()) == ["accepted", "duplicate", "ignored"]


async def test_the_dry_run_counts_and_takes_nothing(dovecot: Dovecot) -> None:
    state, desk = MemoryState(), Desk()
    dovecot.append("care", mail(1), mail(2, body="x" * 30_000))
    chosen = options(dovecot, max_bytes=20_000)
    preview = await Mailbox(chosen, state, desk.take, desk.quarantine).preview()
    assert (preview.exists, preview.waiting, preview.too_large) == (2, 2, 1)
    assert preview.oldest is not None
    assert preview.size > 30_000
    assert (state.positions, desk.subjects, dovecot.count_seen("care")) == ({}, [], 0)
    from_now = await Mailbox(msgspec.structs.replace(chosen, start="now"), state, desk.take, desk.quarantine).preview()
    assert from_now.waiting == 0


def desk_command(ledger_url: str, home: Path, boxes: list[dict[str, object]], *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DESK_")}
    environment |= {"DESK_LEDGER_URL": ledger_url, "DESK_HOME": str(home), "DESK_MAILBOXES": json.dumps(boxes)}
    return subprocess.run([sys.executable, "-m", "services.cli", *words], env=environment, capture_output=True, text=True, timeout=50)


async def test_the_commands_tell_people_how_their_mailboxes_stand(dovecot: Dovecot, sqlite_url: str, tmp_path: Path) -> None:
    box: dict[str, object] = {
        "host": dovecot.host, "port": dovecot.port, "user": "care", "password": "secret", "ssl": False, "start": "all", "max_per_hour": 2,
    }  # fmt: skip
    dovecot.append("care", mail(1), mail(2), mail(3))

    async def run(*words: str, **changes: object) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(desk_command, sqlite_url, tmp_path, [box | changes], *words)

    tried = await run("mailbox", "try")
    assert (tried.returncode, "3 would be fetched" in tried.stdout, "about 2 hours" in tried.stdout) == (0, True, True)
    ledger = Ledger.open(sqlite_url)
    state = LedgerState(ledger)
    chosen = msgspec.structs.replace(options(dovecot), account="care")
    async with intake(ledger, tmp_path) as take, watching(Mailbox(chosen, state, take, take.hold)):
        await wait_until(lambda: dovecot.count_seen("care") == 3)
    well = await run("mailbox", "status")
    assert (well.returncode, well.stderr) == (0, "")
    assert "3 outcomes: 3 accepted, 0 duplicate" in well.stdout
    async with ledger.write() as tx:
        await mailboxes.record(tx, "care", "INBOX", 1, [(1, "ignored", "another UIDVALIDITY")], NEVER)
        await tx.exec_driver_sql("DELETE FROM mails WHERE uid = 2")
    await ledger.close()
    bad = await run("mailbox", "status", "INBOX")
    assert bad.returncode == 1
    assert "1 mails have no outcome: UID 2" in bad.stdout
    unreachable = await run("mailbox", "status", password="wrong")
    assert (unreachable.returncode, "app password" in unreachable.stdout) == (1, True)
    unknown = await run("mailbox", "status", "nobody")
    assert (unknown.returncode, "There are: care/INBOX" in unknown.stderr) == (2, True)
