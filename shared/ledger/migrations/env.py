"""Run by Alembic for every command. The connection is the caller's (shared/ledger/migrate.py), already inside its one transaction."""

from __future__ import annotations

from alembic import context

from shared.ledger.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,  # SQLite alters a table by copying it
)
context.run_migrations()
