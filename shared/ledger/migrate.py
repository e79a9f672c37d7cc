"""Brings a ledger's tables to what this release needs. The scripts lie in migrations/ beside this file and travel in the wheel.

One transaction an upgrade: a failed or killed one leaves the ledger as it was. Services that start together queue on the database's own
lock (SQLite: the write lock; PostgreSQL: an advisory lock): the first migrates, the others find nothing left to do.

Alembic is imported only where there is something to do: it takes 6 MB of memory and a quarter of a second at each start.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from shared.errors import ConfigError
from shared.ledger.engine import Ledger

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0001"
"""The revision this release needs: that of the newest script, as a test makes sure."""
SCRIPTS = Path(__file__).with_name("migrations")
LOCK = 0x4445534B  # "DESK"
"""Key of the advisory lock that migrations take on PostgreSQL."""


def head() -> str:
    """The revision this release needs."""
    return HEAD


async def current(ledger: Ledger) -> str:
    """The revision the ledger is at; empty for one that has no tables yet. Raises TemporaryFailure when it cannot be read."""
    async with ledger.read() as tx:
        return await tx.run_sync(_revision)


async def upgrade(ledger: Ledger) -> bool:
    """Bring the ledger to `head()`; whether there was anything to do.

    Raises ConfigError when the ledger was made by a newer release, TemporaryFailure when it cannot be written.
    """
    if await current(ledger) == HEAD:
        return False
    async with ledger.write() as tx:
        if ledger.dialect == "postgresql":
            await tx.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        return await tx.run_sync(_upgrade)


def _revision(connection: Connection) -> str:
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or ""


def _upgrade(connection: Connection) -> bool:
    before = _revision(connection)
    if before == HEAD:
        return False
    from alembic import command
    from alembic.util import CommandError

    config = _config()
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise ConfigError(
            f"The ledger is at revision '{before}', which this release does not know (it needs '{HEAD}'). "
            "It was written by a newer release: start that release, or open another ledger with DESK_LEDGER_URL."
        ) from error
    return True


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    return config
