"""SQLite connections for the asynchronous engine: what may wait goes to a thread, what takes microseconds does not.

Handing a statement to a thread and back costs ten times the statement itself. So a write runs its statements where they stand and leaves
only the two steps that can wait to the thread: taking the write lock, and the commit with its fsync. A read may walk through a million
rows: each of its statements, with its rows, is one trip to the thread. Speaks aiosqlite's interface, which SQLAlchemy's dialect expects.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from shared.errors import ConfigError

#: synchronous=FULL: a commit that returned survives a power cut. The cache lets a ledger of a million complaints keep its index pages.
PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "busy_timeout=10000",
    "cache_size=-65536",
    "foreign_keys=ON",
    "wal_autocheckpoint=65536",  # a net below `Checkpoints`, which keeps the log far shorter
)
WRITE = "BEGIN IMMEDIATE"
READ = "BEGIN"
PATIENCE = 10.0
"""Seconds to wait for the write lock before the ledger counts as busy."""
CHECK_EVERY = 2.0
"""Seconds between two moves of the log. Pages written again and again meanwhile are moved once; measured, a commit takes half the time that
it takes with SQLite's own habit of a checkpoint inside the commit that fills 4 or 16 MB."""
MOMENT = 0.05
"""Seconds a move of the log may wait for others: its last step keeps the writers out while it waits for a reader to end."""
LOOK_EVERY = 0.0005
"""Seconds between two tries for the write lock. SQLite's own waiting looks ever more rarely, up to ten times a second: beside a process
that commits without a pause another one would then wait for seconds (measured: half of its writes over 60 ms, the worst 2.2 s)."""


class SqliteConnection:
    """One connection and the thread that waits for it. A transaction begun with WRITE runs inline, all else in the thread."""

    def __init__(self, path: str, patience: float) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=512)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._patience = patience
        self._writes = False
        for pragma in PRAGMAS:
            self._connection.execute(f"PRAGMA {pragma}")

    @classmethod
    async def open(cls, path: str, patience: float = PATIENCE) -> Self:
        """Raises ConfigError where the file is something else than a SQLite database."""
        try:
            return await asyncio.to_thread(cls, path, patience)
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
                raise ConfigError(f"{path} is not a SQLite ledger. Move it away, or let DESK_LEDGER_URL name another file.") from error
            raise

    def cursor(self) -> SqliteCursor:
        return SqliteCursor(self, self._connection.cursor())

    async def run_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """A statement for many rows, past the cursors that SQLAlchemy wants. Raises sqlite3.Error as it comes."""
        await self.run(statement, lambda: self._connection.executemany(statement, rows))

    async def run(self, statement: str, call: Callable[[], Any]) -> None:
        """One statement's work, here or in the thread."""
        if statement == WRITE:
            if not self._at_once(call):
                await self.wait(lambda: self._take_turn(call))
            self._writes = True
        elif self._writes or statement == READ:
            call()
        else:
            await self.wait(call)

    def _at_once(self, begin: Callable[[], Any]) -> bool:
        """Whether the write lock was free and is ours now: the ordinary case, and no trip to the thread."""
        self._connection.execute("PRAGMA busy_timeout=0")
        try:
            begin()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            return False
        else:
            return True
        finally:
            self._connection.execute("PRAGMA busy_timeout=10000")

    def _take_turn(self, begin: Callable[[], Any]) -> None:
        """Try for the write lock again and again, so that another process's next short pause is enough."""
        give_up_at = time.monotonic() + self._patience
        self._connection.execute("PRAGMA busy_timeout=0")
        try:
            while True:
                try:
                    begin()
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up_at:
                        raise
                    time.sleep(LOOK_EVERY)
                else:
                    return
        finally:
            self._connection.execute("PRAGMA busy_timeout=10000")

    async def wait(self, call: Callable[[], Any]) -> Any:
        """Run in the thread. Who is cancelled meanwhile still waits for the end: nobody else may use the connection before."""
        running = asyncio.get_running_loop().run_in_executor(self._thread, call)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running])
            raise

    async def commit(self) -> None:
        if self._connection.in_transaction:
            await self.wait(self._connection.commit)
        self._writes = False

    async def rollback(self) -> None:
        if self._connection.in_transaction:
            self._connection.rollback()
        self._writes = False

    async def close(self) -> None:
        self.stop()

    def stop(self) -> None:
        self._connection.close()
        self._thread.shutdown(wait=False)

    async def create_function(self, *args: Any, **options: Any) -> None:
        self._connection.create_function(*args, **options)


class Checkpoints:
    """Moves the write-ahead log into the database file, beside the writers instead of inside their commits.

    SQLite would do it in the commit that happens to fill the log, whose callers then wait for tens of megabytes to reach the disk. Any
    number of processes may tend the same ledger.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._log = Path(f"{path}-wal")

    async def run(self) -> None:
        """Look after the log until cancelled."""
        moved_at = 0.0
        while True:
            await asyncio.sleep(CHECK_EVERY)
            # asked for, never opened: closing a file of the ledger would drop all locks that this process holds on it (POSIX)
            written_at = self._log.stat().st_mtime if self._log.exists() else 0.0
            if written_at > moved_at:
                moved_at = written_at
                await asyncio.to_thread(self.once)

    def once(self) -> None:
        """Copy what is there while others write; then, in a moment's lock, the little that came meanwhile, so that the log begins anew."""
        with contextlib.closing(sqlite3.connect(self._path, isolation_level=None, timeout=MOMENT)) as connection:
            for how in ("PASSIVE", "RESTART"):
                with contextlib.suppress(sqlite3.OperationalError):  # another process is at it, or the disk is full: later
                    connection.execute(f"PRAGMA wal_checkpoint({how})").fetchall()


class SqliteCursor:
    """A cursor that brings all its rows at once."""

    def __init__(self, connection: SqliteConnection, cursor: sqlite3.Cursor) -> None:
        self._connection = connection
        self._cursor = cursor
        self._rows: list[Any] = []

    async def __aenter__(self) -> Self:
        return self

    @property
    def description(self) -> Any:
        return self._cursor.description

    @property
    def rowcount(self) -> int:
        return self._cursor.rowcount

    @property
    def lastrowid(self) -> int | None:
        return self._cursor.lastrowid

    async def execute(self, statement: str, parameters: Sequence[Any] = ()) -> None:
        def call() -> None:
            self._cursor.execute(statement, parameters)
            self._rows = self._cursor.fetchall()

        await self._connection.run(statement, call)

    async def executemany(self, statement: str, parameters: Sequence[Sequence[Any]]) -> None:
        await self._connection.run(statement, lambda: self._cursor.executemany(statement, parameters))

    async def fetchall(self) -> list[Any]:
        return self._rows

    async def close(self) -> None:
        self._cursor.close()
