"""What all tests share: the `--bless` option, and a fresh ledger for each test on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from shared.ledger import Ledger
from shared.ledger.migrate import upgrade
from shared.ledger.tables import metadata
from tests.postgres import PrivatePostgres, private_postgres


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bless", action="store_true", help="rewrite expected files with what came out; the diff is the review")


@pytest.fixture
def bless(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--bless"))


async def _migrated(url: str) -> None:
    ledger = Ledger.open(url)
    await upgrade(ledger)
    await ledger.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PrivatePostgres]:
    """One cluster a session with a migrated database `ready`, emptied after each test that used it."""
    with private_postgres() as server:
        asyncio.run(_statement(server, "CREATE DATABASE ready"))
        asyncio.run(_migrated(server.url("ready")))
        yield server


async def _statement(server: PrivatePostgres, statement: str, database: str = "postgres") -> None:
    engine = create_async_engine(server.url(database), isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text(statement))
    await engine.dispose()


@pytest.fixture(scope="session")
def sqlite_ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, from which each test's own is copied."""
    path = tmp_path_factory.mktemp("ready") / "ledger.sqlite3"
    asyncio.run(_migrated(f"sqlite+aiosqlite:///{path}"))
    return path


@pytest.fixture
def postgres_url(postgres: PrivatePostgres) -> Iterator[str]:
    """A migrated PostgreSQL database without a row."""
    yield postgres.url("ready")
    asyncio.run(_statement(postgres, EMPTY, "ready"))


EMPTY = "; ".join(
    (
        "DO $$ BEGIN PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'ready' AND pid <> pg_backend_pid()",
        *(f"DELETE FROM {table.name}" for table in metadata.sorted_tables),
        "END $$",
    )
)


@pytest.fixture
def sqlite_url(sqlite_ready: Path, tmp_path: Path) -> str:
    """A fresh migrated SQLite file."""
    path = tmp_path / "ledger.sqlite3"
    shutil.copy(sqlite_ready, path)
    return f"sqlite+aiosqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest) -> str:
    """A fresh migrated ledger's URL; each test that asks for it runs on both databases."""
    return str(request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url"))


@pytest.fixture
async def ledger(ledger_url: str) -> AsyncIterator[Ledger]:
    opened = Ledger.open(ledger_url)
    yield opened
    await opened.close()
