"""Opens the ledger on SQLite or PostgreSQL and hands out transactions. Knows nothing of what is stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from shared.errors import ConfigError, TemporaryFailure

#: synchronous=FULL: a commit that returned survives a power cut. The cache lets a ledger of a million complaints keep its index pages.
SQLITE_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "busy_timeout=10000",
    "cache_size=-65536",
    "foreign_keys=ON",
    "wal_autocheckpoint=4000",
)


class Ledger:
    """One database, shared by all services. `write` and `read` are the only ways in."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.dialect = engine.dialect.name
        # SQLite has one writer; queueing here is fairer and cheaper than its busy handler's polling.
        self._writer = asyncio.Lock() if self.dialect == "sqlite" else None

    @classmethod
    def open(cls, url: str, *, pool_size: int = 8) -> Ledger:
        """A ledger by SQLAlchemy URL (sqlite+aiosqlite:///file or postgresql+asyncpg://...). Nothing is connected yet."""
        if url.startswith("sqlite"):
            path = url.split("///", 1)[-1]
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            engine = create_async_engine(url, pool_size=pool_size, connect_args={"timeout": 10})
            _tune_sqlite(engine)
        elif url.startswith("postgresql+asyncpg"):
            engine = create_async_engine(url, pool_size=pool_size, max_overflow=4, pool_pre_ping=False)
        else:
            scheme = url.split(":", 1)[0]
            raise ConfigError(
                f"DESK_LEDGER_URL begins with '{scheme}:', which is not a ledger this desk can open. "
                "Use sqlite+aiosqlite:///path/to/file or postgresql+asyncpg://user:password@host/name."
            )
        return cls(engine)

    @asynccontextmanager
    async def write(self) -> AsyncGenerator[AsyncConnection]:
        """A transaction that commits when the block ends well. Raises TemporaryFailure when the ledger cannot take it.

        IntegrityError passes through: it means that somebody else was first, and the caller looks again.
        """
        if self._writer is None:
            async with _declared(), self.engine.begin() as tx:
                yield tx
            return
        async with self._writer, _declared(), self.engine.connect() as tx:
            await tx.execution_options(desk_begin="BEGIN IMMEDIATE")
            async with tx.begin():
                yield tx

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncConnection]:
        """A consistent view that writes nothing and waits for no writer. Raises TemporaryFailure when the ledger cannot be read."""
        async with _declared(), self.engine.connect() as tx:
            yield tx

    async def close(self) -> None:
        await self.engine.dispose()


def _tune_sqlite(engine: AsyncEngine) -> None:
    def connect(connection: Any, record: Any) -> None:
        del record
        connection.isolation_level = None  # we say BEGIN ourselves
        cursor = connection.cursor()
        for pragma in SQLITE_PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def begin(connection: Any) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("desk_begin", "BEGIN"))

    event.listen(engine.sync_engine, "connect", connect)
    event.listen(engine.sync_engine, "begin", begin)


@asynccontextmanager
async def _declared() -> AsyncGenerator[None]:
    """Turns what a database driver raises when it is down, full or locked into TemporaryFailure."""
    try:
        yield
    except IntegrityError:
        raise
    except (OperationalError, InterfaceError, DBAPIError) as error:
        if isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated or _is_refusal(error):
            raise TemporaryFailure(f"The ledger does not take this now: {_first_line(error)}", retry_after=5) from error
        raise
    except (OSError, TimeoutError) as error:
        raise TemporaryFailure(f"The ledger is not answering: {_first_line(error)}", retry_after=5) from error


def _is_refusal(error: DBAPIError) -> bool:
    """PostgreSQL classes 53 (out of resources), 57 (operator intervention), 40 (rolled back, try again), 25006 (read only), 58 (system)."""
    state = str(getattr(error.orig, "sqlstate", "") or getattr(error.orig, "pgcode", "") or "")
    return state[:2] in {"53", "57", "58", "40", "08"} or state == "25006"


def _first_line(error: BaseException) -> str:
    cause = getattr(error, "orig", None) or error
    return (str(cause).splitlines() or [type(cause).__name__])[0][:200]
