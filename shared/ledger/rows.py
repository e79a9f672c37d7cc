"""Inserts many rows at once, past SQLAlchemy's per-row work, which would cost more than the database does.

SQLAlchemy writes the statement, once for each table and database; the rows then go to the driver as plain tuples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Any

from sqlalchemy import Dialect, Table, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.ledger.tables import Instant, to_micros


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
def _shape(dialect: Dialect, table: Table) -> tuple[str, list[str], list[str]]:
    """The statement, the columns in its order, and which of them are instants."""
    compiled = insert(table).compile(dialect=dialect, column_keys=[c.name for c in table.columns])
    names = list(compiled.positiontup or ())  # type: ignore[attr-defined] # SQLCompiler's, which Compiled does not declare
    return str(compiled), names, [c.name for c in table.columns if isinstance(c.type, Instant)]
