"""A ledger that is down, full, locked or read-only says so with the one error that is retried, and keeps nothing half."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from services.intake.accept import Receipt
from shared.errors import ConfigError, TemporaryFailure
from shared.ledger import Ledger, complaints, outbox
from shared.ledger.migrate import upgrade
from shared.ledger.outbox import Entry, Topic
from tests.arrivals import desk, form
from tests.ledger.rows import AT, complaint
from tests.postgres import PrivatePostgres, private_postgres

MANY = [form("没有收到货" * 50, email=f"c{n}@example.com") for n in range(40)]


async def test_what_fails_inside_a_transaction_leaves_nothing(ledger: Ledger):
    with pytest.raises(ZeroDivisionError):
        async with ledger.write() as tx:
            await complaints.insert_new(tx, [complaint()])
            raise ZeroDivisionError
    async with ledger.read() as tx:
        assert await complaints.count(tx) == 0


async def test_who_is_cancelled_inside_a_transaction_leaves_nothing_and_frees_the_ledger(ledger: Ledger):
    inside = asyncio.Event()

    async def stuck() -> None:
        async with ledger.write() as tx:
            await complaints.insert_new(tx, [complaint()])
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(stuck())
    await inside.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with ledger.write() as tx:
        assert await complaints.count(tx) == 0
        await complaints.insert_new(tx, [complaint()])


async def test_a_read_goes_on_while_somebody_writes(ledger: Ledger):
    async with ledger.write() as tx:
        await complaints.insert_new(tx, [complaint()])
        async with asyncio.timeout(5), ledger.read() as other:
            assert await complaints.count(other) == 0


async def test_many_writers_in_one_process_take_turns(ledger: Ledger):
    async def write(n: int) -> None:
        async with ledger.write() as tx:
            await outbox.add(tx, [Entry(str(n), Topic.RECEIVED, str(n))], AT)

    await asyncio.gather(*(write(n) for n in range(50)))
    async with ledger.read() as tx:
        assert (await tx.execute(text("SELECT count(*) FROM outbox"))).scalar_one() == 50


async def test_a_taken_key_passes_through_without_what_customers_wrote(ledger: Ledger):
    with pytest.raises(IntegrityError) as refused:
        async with ledger.write() as tx:
            await complaints.insert_new(tx, [complaint(subject="my secret"), complaint()])
    assert "my secret" not in str(refused.value)


@pytest.fixture
async def full_sqlite(sqlite_url: str) -> AsyncIterator[Ledger]:
    """A SQLite ledger whose disk has room for a few pages more."""
    ledger = Ledger.open(sqlite_url, pool_size=1)
    async with ledger.read() as tx:
        pages = (await tx.execute(text("PRAGMA page_count"))).scalar_one()
        await tx.execute(text(f"PRAGMA max_page_count = {pages + 4}"))
    yield ledger
    await ledger.close()


async def test_a_full_disk_is_a_temporary_failure_and_nothing_is_half_stored(full_sqlite: Ledger):
    async with desk(full_sqlite) as d:
        answers = await d.many(MANY)
        assert {type(a) for a in answers} == {TemporaryFailure}
        assert "full" in str(answers[0])
        for table in ("complaints", "submissions", "events", "outbox", "notices", "customers"):
            assert await d.count(table) == 0
        async with full_sqlite.read() as tx:  # somebody made room
            await tx.execute(text("PRAGMA max_page_count = 100000"))
        assert {type(a) for a in await d.many(MANY)} == {Receipt}


async def test_a_locked_file_is_a_temporary_failure(sqlite_url: str):
    ledger = Ledger.open(sqlite_url, patience=0.05)
    blocker = sqlite3.connect(sqlite_url.split("///")[1], isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(TemporaryFailure, match="locked"):
        async with ledger.write() as tx:
            await complaints.insert_new(tx, [complaint()])
    blocker.rollback()
    async with ledger.write() as tx:
        await complaints.insert_new(tx, [complaint()])
    blocker.close()
    await ledger.close()


async def test_a_read_only_file_is_a_temporary_failure(sqlite_url: str):
    ledger = Ledger.open(sqlite_url, pool_size=1)
    async with ledger.read() as tx:
        await tx.execute(text("PRAGMA query_only = 1"))  # what a file mounted read-only answers, also to root
    with pytest.raises(TemporaryFailure, match="readonly"):
        async with ledger.write() as tx:
            await complaints.insert_new(tx, [complaint()])
    await ledger.close()


async def test_a_file_that_is_no_database_is_told(tmp_path: Path):
    path = tmp_path / "ledger.sqlite3"
    path.write_bytes(b"no database at all" * 100)
    ledger = Ledger.open(f"sqlite+aiosqlite:///{path}")
    with pytest.raises(ConfigError, match="not a SQLite ledger"):
        await upgrade(ledger)
    await ledger.close()


async def test_a_url_that_is_no_ledger_is_the_operators_fault(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    for url, why in (
        ("mysql://x/y", "mysql"),
        ("sqlite:///x", "sqlite"),
        ("sqlite+aiosqlite://", "no file"),
        (f"sqlite+aiosqlite:///{tmp_path}/file/ledger", "folder"),
    ):
        with pytest.raises(ConfigError, match=why):
            Ledger.open(url)


@pytest.fixture
def own_postgres():
    """A server of one test's own, to be broken."""
    with private_postgres() as server:
        yield server


async def test_a_postgres_that_goes_away_and_comes_back(own_postgres: PrivatePostgres):
    ledger = Ledger.open(own_postgres.url("postgres"))
    await upgrade(ledger)
    async with desk(ledger) as d:
        first = await d.one(MANY[0])
        own_postgres.stop("immediate")
        answers = await d.many(MANY[:3])
        assert {type(a) for a in answers} == {TemporaryFailure}
        own_postgres.start()
        back = [a for _ in range(3) for a in await d.many(MANY[:3])][-3:]  # dead connections of the pool are found out one by one
        assert all(isinstance(a, Receipt) for a in back)
        assert isinstance(back[0], Receipt)
        assert back[0].reference == first.reference
        assert await d.count() == 3
    await ledger.close()


async def test_a_read_only_postgres_is_a_temporary_failure(own_postgres: PrivatePostgres):
    ledger = Ledger.open(own_postgres.url("postgres"))
    await upgrade(ledger)
    async with ledger.write() as tx:
        await tx.execute(text("ALTER DATABASE postgres SET default_transaction_read_only = on"))
    await ledger.close()  # new connections see it
    with pytest.raises(TemporaryFailure, match="read-only"):
        async with ledger.write() as tx:
            await complaints.insert_new(tx, [complaint()])
    await ledger.close()
