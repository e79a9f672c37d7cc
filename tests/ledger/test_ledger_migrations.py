"""The scripts in migrations/ make exactly the tables of tables.py, once, however many services start together."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine

from shared.errors import ConfigError
from shared.ledger import Ledger
from shared.ledger.migrate import SCRIPTS, current, head, upgrade
from shared.ledger.tables import metadata
from tests.postgres import PrivatePostgres


@pytest.fixture(params=["sqlite", "postgresql"])
async def empty_url(request: pytest.FixtureRequest, tmp_path: Path):
    """A database without tables."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path}/new/ledger.sqlite3"
        return
    server: PrivatePostgres = request.getfixturevalue("postgres")
    engine = create_async_engine(server.url("postgres"), isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text("CREATE DATABASE empty"))
        yield server.url("empty")
        await connection.execute(text("DROP DATABASE empty WITH (FORCE)"))
    await engine.dispose()


async def test_the_migrated_tables_are_the_declared_ones(ledger: Ledger):
    def differences(connection: Connection) -> list[object]:
        # SQLite gives its defaults back in quotes, which Alembic takes for a difference
        defaults = connection.dialect.name == "postgresql"
        return compare_metadata(MigrationContext.configure(connection, opts={"compare_server_default": defaults}), metadata)

    async with ledger.read() as tx:
        assert await tx.run_sync(differences) == []


async def test_partial_indexes_keep_their_conditions(ledger: Ledger):
    where = {
        "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'index'",
        "postgresql": "SELECT indexname, indexdef FROM pg_indexes",
    }
    async with ledger.read() as tx:
        found = {name: sql or "" for name, sql in await tx.execute(text(where[ledger.dialect]))}
    partial = {i.name for t in metadata.sorted_tables for i in t.indexes if i.dialect_options["sqlite"]["where"] is not None}
    assert len(partial) > 5
    assert {name for name in partial if " WHERE " not in found[name]} == set()


async def test_upgrading_twice_changes_nothing(empty_url: str):
    ledger = Ledger.open(empty_url)
    assert await current(ledger) == ""
    assert await upgrade(ledger) is True
    assert await current(ledger) == head()
    assert await upgrade(ledger) is False
    await ledger.close()


async def test_services_that_start_together_migrate_once(empty_url: str):
    services = [Ledger.open(empty_url) for _ in range(4)]
    did = await asyncio.gather(*(upgrade(ledger) for ledger in services))
    assert sorted(did) == [False, False, False, True]
    for ledger in services:
        await ledger.close()


async def test_a_failed_migration_leaves_nothing_behind(empty_url: str):
    ledger = Ledger.open(empty_url)
    async with ledger.write() as tx:
        await tx.execute(text("CREATE TABLE threads (value INTEGER)"))  # in the way of the script's own
    with pytest.raises(Exception, match="threads"):
        await upgrade(ledger)
    async with ledger.read() as tx:
        assert await tx.run_sync(lambda connection: inspect(connection).get_table_names()) == ["threads"]
    await ledger.close()


async def test_a_ledger_of_a_newer_release_is_refused_with_the_mend(empty_url: str):
    ledger = Ledger.open(empty_url)
    await upgrade(ledger)
    async with ledger.write() as tx:
        await tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigError, match=r"9999.*newer release"):
        await upgrade(ledger)
    await ledger.close()


def test_the_newest_script_is_what_the_release_needs() -> None:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    assert ScriptDirectory.from_config(config).get_current_head() == head()
