"""Inserts many rows at once, past SQLAlchemy's per-row work, which would cost more than the database does.

SQLAlchemy writes the statement, once for each table and database; the rows then go to the driver as plain tuples.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Any

from sqlalchemy import Dialect, Insert, Table, Update, insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.ledger.sqlite import SqliteConnection
from shared.ledger.tables import Instant, to_micros


async def run_many(tx: AsyncConnection, statement: Insert | Update, rows: Sequence[Mapping[str, Any]]) -> None:
    """Run a statement, built once, for every row of its named parameters. How many rows it met is not told."""
    if rows:
        text, names, instants, fixed = _prepared(tx.dialect, statement)
        pick = itemgetter(*names)
        await _straight(tx, text, [_in_micros(pick({**fixed, **row}), instants) for row in rows])


async def insert_rows(tx: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that all name every column of the table. Raises IntegrityError when one of them is taken."""
    if not rows:
        return
    statement, names, instants = _shape(tx.dialect, table)
    pick = itemgetter(*names)
    await _straight(tx, statement, [_in_micros(pick(row), instants) for row in rows])


def _in_micros(row: tuple[Any, ...], instants: Sequence[int]) -> tuple[Any, ...]:
    changed = list(row)
    for at in instants:
        if changed[at] is not None:
            changed[at] = to_micros(changed[at])
    return tuple(changed)


async def _straight(tx: AsyncConnection, statement: str, values: Sequence[tuple[Any, ...]]) -> None:
    """To the driver; for SQLite past SQLAlchemy altogether, whose own work on a statement costs as much as thirty rows do."""
    driver = tx.sync_connection.connection.driver_connection if tx.sync_connection else None
    if not isinstance(driver, SqliteConnection):
        await tx.exec_driver_sql(statement, list(values))
        return
    try:
        await driver.run_many(statement, values)
    except sqlite3.Error as error:
        raise DBAPIError.instance(statement, None, error, sqlite3.Error, hide_parameters=True, dialect=tx.dialect) from error


@cache
def _prepared(dialect: Dialect, statement: Insert | Update) -> tuple[str, list[str], list[int], dict[str, Any]]:
    """The text, its parameters in their order, which of them (by place) are instants, and those whose value stands in the statement."""
    compiled: Any = statement.compile(dialect=dialect)
    names: list[str] = list(compiled.positiontup)
    binds = {name: compiled.binds[name] for name in names}
    instants = [at for at, name in enumerate(names) if isinstance(binds[name].type, Instant)]
    return str(compiled), names, instants, {name: bind.value for name, bind in binds.items() if not bind.required}


@cache
def _shape(dialect: Dialect, table: Table) -> tuple[str, list[str], list[int]]:
    """The statement, the columns in its order, and which of them (by place) are instants."""
    compiled = insert(table).compile(dialect=dialect, column_keys=[c.name for c in table.columns])
    names = list(compiled.positiontup or ())  # type: ignore[attr-defined] # SQLCompiler's, which Compiled does not declare
    return str(compiled), names, [at for at, name in enumerate(names) if isinstance(table.c[name].type, Instant)]
