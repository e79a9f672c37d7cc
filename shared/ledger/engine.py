"""Opens the ledger on SQLite or PostgreSQL and hands out transactions. Knows nothing of what is stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, event, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from shared.errors import ConfigError, TemporaryFailure
from shared.ledger import sqlite

#: Our statements are short and their keys scattered: no compiling of plans, and an index costs what it costs on a solid-state disk.
POSTGRES = {"server_settings": {"application_name": "complaint-desk", "jit": "off", "random_page_cost": "1.1"}}


class Ledger:
    """One database, shared by all services. `write` and `read` are the only ways in."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.dialect = engine.dialect.name
        # SQLite has one writer; queueing here is fairer and cheaper than its busy handler's polling.
        self._writer = asyncio.Lock() if self.dialect == "sqlite" else None
        self._checkpoints = sqlite.Checkpoints(engine.url.database or "") if self.dialect == "sqlite" else None

    @classmethod
    def open(cls, url: str, *, pool_size: int = 8, patience: float = sqlite.PATIENCE) -> Ledger:
        """A ledger by SQLAlchemy URL (sqlite+aiosqlite:///file or postgresql+asyncpg://...). Nothing is connected yet.

        patience: seconds to wait for SQLite's one write lock. Raises ConfigError.
        """
        # hide_parameters: an error that is logged must not carry what customers wrote
        if url.startswith("sqlite+aiosqlite:"):
            path = _sqlite_file(url)
            creator = partial(sqlite.SqliteConnection.open, path, patience)
            engine = create_async_engine(url, pool_size=pool_size, hide_parameters=True, async_creator=creator)
            event.listen(engine.sync_engine, "begin", _begin)
        elif url.startswith("postgresql+asyncpg:"):
            engine = create_async_engine(url, pool_size=pool_size, max_overflow=4, hide_parameters=True, connect_args=POSTGRES)
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
            await tx.execution_options(desk_begin=sqlite.WRITE)
            async with tx.begin():
                yield tx

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncConnection]:
        """A consistent view that writes nothing and waits for no writer. Raises TemporaryFailure when the ledger cannot be read."""
        async with _declared(), self.engine.connect() as tx:
            yield tx

    async def tend(self) -> None:
        """What the database wants done now and then, until cancelled; for a loop of every service. PostgreSQL looks after itself."""
        if self._checkpoints is None:
            await asyncio.Event().wait()
        else:
            await self._checkpoints.run()

    async def close(self) -> None:
        await self.engine.dispose()


def _sqlite_file(url: str) -> str:
    """The file of a SQLite URL; its folder is made. Raises ConfigError."""
    path = make_url(url).database or ""
    if not path or path == ":memory:":
        raise ConfigError(f"DESK_LEDGER_URL '{url}' names no file. Use sqlite+aiosqlite:///path/to/file.")
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"The folder of the ledger {path} cannot be made: {error.strerror}. Mend it, or DESK_LEDGER_URL.") from error
    return path


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("desk_begin", sqlite.READ))


@asynccontextmanager
async def _declared() -> AsyncGenerator[None]:
    """Turns what a database driver raises when it is down, full or locked into TemporaryFailure."""
    try:
        yield
    except IntegrityError:
        raise
    except (OperationalError, InterfaceError, DBAPIError) as error:
        state = _sqlstate(error)
        if state[:2] == "40":  # two writers waited for each other and this one gave way; at once it will go well
            raise TemporaryFailure("Another writer was in the way. Try again.", retry_after=0) from error
        if isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated or _is_refusal(state):
            raise TemporaryFailure(f"The ledger does not take this now: {_first_line(error)}", retry_after=5) from error
        raise
    except (OSError, TimeoutError) as error:
        raise TemporaryFailure(f"The ledger is not answering: {_first_line(error)}", retry_after=5) from error


def _sqlstate(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", "") or "")


def _is_refusal(state: str) -> bool:
    """PostgreSQL classes 08 (connection), 53 (out of resources), 57 (operator intervention), 58 (system); 25006 (read only)."""
    return state[:2] in {"08", "53", "57", "58"} or state == "25006"


def _first_line(error: BaseException) -> str:
    cause = getattr(error, "orig", None) or error
    return (str(cause).splitlines() or [type(cause).__name__])[0][:200]
