"""SQLite's log is moved into the database beside the writers: nothing is lost, nobody is refused, and the log does not grow for ever."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import text

from shared.ledger import Ledger, outbox
from shared.ledger.outbox import Entry, Topic
from shared.ledger.sqlite import Checkpoints

WRITERS, COMMITS = 3, 40


async def test_the_log_is_moved_while_others_write(sqlite_url: str, tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    ledgers = [Ledger.open(sqlite_url) for _ in range(WRITERS)]
    checkpoints = Checkpoints(str(path))
    writing = True

    async def write(number: int) -> None:
        for commit in range(COMMITS):
            async with ledgers[number].write() as tx:
                now = datetime.now(UTC)
                await outbox.add(tx, [Entry(f"{number}/{commit}/{n}", Topic.RECEIVED, "x" * 64) for n in range(50)], now)

    async def move() -> None:
        while writing:
            await asyncio.to_thread(checkpoints.once)

    moving = asyncio.create_task(move())
    await asyncio.gather(*(write(number) for number in range(WRITERS)))
    writing = False
    await moving
    async with ledgers[0].read() as tx:
        assert (await tx.execute(text("SELECT count(*) FROM outbox"))).scalar_one() == WRITERS * COMMITS * 50
        assert (await tx.execute(text("PRAGMA integrity_check"))).scalar_one() == "ok"
    await asyncio.to_thread(checkpoints.once)
    async with ledgers[0].write() as tx:  # the log begins anew, so that one commit does not lengthen it
        before = Path(f"{path}-wal").stat().st_size
        await outbox.add(tx, [Entry("last", Topic.RECEIVED, "x")], datetime.now(UTC))
    assert Path(f"{path}-wal").stat().st_size == before
    for ledger in ledgers:
        await ledger.close()


async def test_a_ledger_is_tended_until_cancelled(sqlite_url: str, tmp_path: Path) -> None:
    ledger = Ledger.open(sqlite_url)
    async with ledger.write() as tx:
        await outbox.add(tx, [Entry("one", Topic.RECEIVED, "x")], datetime.now(UTC))
    path = tmp_path / "ledger.sqlite3"
    size = path.stat().st_size
    tending = asyncio.create_task(ledger.tend())
    give_up_at = asyncio.get_running_loop().time() + 20
    while path.stat().st_mtime_ns <= Path(f"{path}-wal").stat().st_mtime_ns and asyncio.get_running_loop().time() < give_up_at:  # noqa: ASYNC110 - what is waited for is a file on the disk
        await asyncio.sleep(0.05)
    assert path.stat().st_mtime_ns > Path(f"{path}-wal").stat().st_mtime_ns
    assert path.stat().st_size >= size
    tending.cancel()
    await asyncio.gather(tending, return_exceptions=True)
    await ledger.close()
