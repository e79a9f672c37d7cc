"""What tends the ledger must not take the locks from those who write: one process that loses them, and two write at once."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from shared.ledger import Ledger
from tests.queues.waiting import wait_until

ANOTHER_WRITER = """
import sqlite3, sys
try:
    sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0).execute("BEGIN IMMEDIATE")
except sqlite3.OperationalError as error:
    print(error)
else:
    print("two write at once")
"""


async def another_writer(path: Path) -> str:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", ANOTHER_WRITER, str(path), stdout=asyncio.subprocess.PIPE)
    said, _ = await asyncio.wait_for(process.communicate(), 30)
    return said.decode().strip()


async def test_a_writer_keeps_the_ledger_to_itself_while_the_log_is_tended(sqlite_url: str) -> None:
    """A process that closes a file gives up all its locks on it, those of SQLite too (fcntl(2), "Advisory record locking")."""
    ledger = Ledger.open(sqlite_url)
    path = Path(sqlite_url.removeprefix("sqlite+aiosqlite:///"))
    async with ledger.write() as tx:
        await tx.exec_driver_sql("CREATE TABLE scratch (n INTEGER)")
    async with ledger.write() as tx:
        await tx.exec_driver_sql("INSERT INTO scratch VALUES (1)")
        assert await another_writer(path) == "database is locked"
        tending = asyncio.create_task(ledger.tend())

        async def moved() -> bool:
            return path.stat().st_mtime_ns > path.with_name(path.name + "-wal").stat().st_mtime_ns

        await wait_until(moved, "the log is moved")
        assert await another_writer(path) == "database is locked"
        tending.cancel()
        await asyncio.gather(tending, return_exceptions=True)
    assert await another_writer(path) == "two write at once", "the lock ends with the transaction"
    await ledger.close()
