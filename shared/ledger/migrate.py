"""Brings a ledger's tables to what this release needs. The scripts lie in migrations/ beside this file and travel in the wheel.

One transaction an upgrade: a failed or killed one leaves the ledger as it was. Services that start together queue on the database's own
lock (SQLite: the write lock; PostgreSQL: an advisory lock): the first migrates, the others find nothing left to do.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text

from shared.errors import ConfigError
from shared.ledger.engine import Ledger

SCRIPTS = Path(__file__).with_name("migrations")
LOCK = 0x4445534B  # "DESK"
"""Key of the advisory lock that migrations take on PostgreSQL."""


def head() -> str:
    """The revision this release needs."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


async def current(ledger: Ledger) -> str:
    """The revision the ledger is at; empty for one that has no tables yet. Raises TemporaryFailure when it cannot be read."""
    async with ledger.read() as tx:
        return await tx.run_sync(lambda connection: MigrationContext.configure(connection).get_current_revision() or "")


async def upgrade(ledger: Ledger) -> bool:
    """Bring the ledger to `head()`; whether there was anything to do.

    Raises ConfigError when the ledger was made by a newer release, TemporaryFailure when it cannot be written.
    """
    async with ledger.write() as tx:
        if ledger.dialect == "postgresql":
            await tx.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        return await tx.run_sync(_upgrade)


def _upgrade(connection: Connection) -> bool:
    before = MigrationContext.configure(connection).get_current_revision() or ""
    if before == head():
        return False
    config = _config()
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise ConfigError(
            f"The ledger is at revision '{before}', which this release does not know (it needs '{head()}'). "
            "It was written by a newer release: start that release, or open another ledger with DESK_LEDGER_URL."
        ) from error
    return True


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    return config
