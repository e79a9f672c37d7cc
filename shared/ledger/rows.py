"""Inserts many rows at once, past SQLAlchemy's per-row work, which would cost more than the database does.

SQLAlchemy writes the statement, once for each table and database; the rows then go to the driver as plain tuples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Any

from sqlalchemy import Dialect, Insert, Table, Update, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.ledger.tables import Instant, to_micros


async def run_many(tx: AsyncConnection, statement: Insert | Update, rows: Sequence[Mapping[str, Any]]) -> None:
    """Run a statement, built once, for every row of its named parameters. How many rows it met is not told."""
    if rows:
        text, names, instants, fixed = _prepared(tx.dialect, statement)
        pick = itemgetter(*names)
        await tx.exec_driver_sql(text, [pick(_in_micros({**fixed, **row}, instants)) for row in rows])


async def insert_rows(tx: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that all name every column of the table. Raises IntegrityError when one of them is taken."""
    if not rows:
        return
    statement, names, instants = _shape(tx.dialect, table)
    pick = itemgetter(*names)
    values = [pick(_in_micros(row, instants) if instants else row) for row in rows]
    await tx.exec_driver_sql(statement, values)


def _in_micros(row: Mapping[str, Any], instants: Sequence[str]) -> dict[str, Any]:
    changed = dict(row)
    for name in instants:
        if changed[name] is not None:
            changed[name] = to_micros(changed[name])
    return changed


@cache
def _prepared(dialect: Dialect, statement: Insert | Update) -> tuple[str, list[str], list[str], dict[str, Any]]:
    """The text, its parameters in their order, which of them are instants, and those whose value stands in the statement."""
    compiled: Any = statement.compile(dialect=dialect)
    names: list[str] = list(compiled.positiontup)
    binds = {name: compiled.binds[name] for name in names}
    instants = [name for name in names if isinstance(binds[name].type, Instant)]
    return str(compiled), names, instants, {name: bind.value for name, bind in binds.items() if not bind.required}


@cache
def _shape(dialect: Dialect, table: Table) -> tuple[str, list[str], list[str]]:
    """The statement, the columns in its order, and which of them are instants."""
    compiled = insert(table).compile(dialect=dialect, column_keys=[c.name for c in table.columns])
    names = list(compiled.positiontup or ())  # type: ignore[attr-defined] # SQLCompiler's, which Compiled does not declare
    return str(compiled), names, [c.name for c in table.columns if isinstance(c.type, Instant)]
