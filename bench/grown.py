"""A ledger that has many complaints already, written in bulk: the past that `growth` works in front of.

Every complaint is one that the desk made (one web form taken and decided for real), copied with other keys and earlier dates, so that row
sizes, texts and states are those of life: most are closed, some still lie with a department. Kept under var/bench.
"""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from shared.ledger import Ledger
from shared.ledger.migrate import HEAD, upgrade

DAYS = 300
PAGE = 5_000
OPEN_SHARE = 100
"""One in so many still lies with its department: thousands of open ones among a million closed."""
DAY = 86_400_000_000
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
TABLES = ("customers", "identities", "complaints", "submissions", "events", "deadlines", "notices", "matters")


def grown(model: Path, count: int, folder: Path) -> Path:
    """A SQLite ledger with `count` complaints of the past, made from the rows of the model; kept in the folder for the next time."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f"grown-{count}-{HEAD}-{shape(model)}.sqlite3"
    if not kept.exists():
        for old in folder.glob(f"grown-{count}-*"):
            old.unlink()
        unfinished = kept.with_suffix(".part")
        unfinished.unlink(missing_ok=True)
        _write(unfinished, model, count)
        unfinished.rename(kept)
    return kept


def shape(model: Path) -> str:
    """Tells one schema from another, also while the first migration is still being changed."""
    import hashlib

    with closing(sqlite3.connect(model)) as source:
        schema = "\n".join(sql for (sql,) in source.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"))
    return hashlib.sha256(schema.encode()).hexdigest()[:8]


def _write(target: Path, model: Path, count: int) -> None:
    async def migrated() -> None:
        ledger = Ledger.open(f"sqlite+aiosqlite:///{target}")
        await upgrade(ledger)
        await ledger.close()

    asyncio.run(migrated())
    templates = list(_templates(model))
    database = sqlite3.connect(target, isolation_level=None)
    for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-400000", "temp_store=MEMORY", "foreign_keys=OFF"):
        database.execute(f"PRAGMA {pragma}")
    for start in range(0, count, PAGE):
        database.execute("BEGIN")
        pages: dict[str, list[tuple[Any, ...]]] = {table: [] for table in TABLES}
        for number in range(start, min(start + PAGE, count)):
            _copy(templates[number % len(templates)], number, count, pages)
        for table, rows in pages.items():
            if rows:
                marks = ",".join("?" * len(rows[0]))
                database.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
        database.execute("COMMIT")
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA optimize")
    database.close()


Template = dict[str, list[dict[str, Any]]]


def _templates(model: Path) -> Iterator[Template]:
    """All rows that belong to one complaint of the model, for each that is decided."""
    with closing(sqlite3.connect(model)) as source:
        source.row_factory = sqlite3.Row
        for row in source.execute("SELECT * FROM complaints WHERE work = 'open'").fetchall():
            found: Template = {"complaints": [dict(row)]}
            for table in TABLES:
                if table == "complaints":
                    continue
                column, value = {
                    "customers": ("id", row["customer_id"]),
                    "identities": ("customer_id", row["customer_id"]),
                    "matters": ("customer_id", row["customer_id"]),
                }.get(table, ("reference", row["reference"]))
                found[table] = [dict(r) for r in source.execute(f"SELECT * FROM {table} WHERE {column} = ?", (value,))]
            yield found


def _copy(template: Template, number: int, count: int, pages: dict[str, list[tuple[Any, ...]]]) -> None:
    """One more complaint of the past. References and customers' ids begin with their day, as the desk's own do."""
    old = template["complaints"][0]
    days_ago = DAYS - number * DAYS // count + 2
    back = days_ago * DAY
    received = old["received_at"] - back
    bits = secrets.randbits(30)
    day = old["reference"][1:7]
    past = f"{int(day[:2]) - 1 - days_ago // 365:02d}{1 + (DAYS - days_ago) // 28 % 12:02d}{1 + (DAYS - days_ago) % 28:02d}"
    reference = f"C{past}-" + "".join(CROCKFORD[bits >> shift & 31] for shift in (25, 20, 15, 10, 5, 0))
    customer = f"U{received // 1_000_000:09x}{number:012x}"
    closed = number % OPEN_SHARE != 0
    fresh = {"reference": reference, "customer_id": customer, "id": customer}
    for table, rows in template.items():
        for row in rows:
            values = {**row, **{name: value for name, value in fresh.items() if name in row}}
            for name, value in row.items():
                if name.endswith(("_at", "_by")) or name in ("at", "until"):
                    values[name] = value - back if value is not None else None
                elif isinstance(value, str) and old["reference"] in value and name != "reference":
                    values[name] = value.replace(old["reference"], reference)
            _finish(table, values, number, closed=closed)
            pages[table].append(tuple(values.values()))


def _finish(table: str, values: dict[str, Any], number: int, *, closed: bool) -> None:
    """What is unique about each, and how a complaint of the past ended."""
    match table:
        case "identities":
            values["value"] = f"past{number}@mail.example" if values["kind"] == "email" else f"+8619{number:09d}"
        case "submissions":
            values["dedupe_key"] = secrets.token_hex(16)
        case "matters":
            values["order_number"] = f"PAST{number:012d}"
        case "complaints" if closed:
            values |= {"state": "closed", "work": "done", "closed_at": values["updated_at"] + DAY}
        case "deadlines" if closed:
            values["met_at"] = values["due_by"] - 1
        case "deadlines":
            values["breached_at"] = values["due_by"] + 1
        case "notices":
            values |= {"state": "sent", "attempts": 1, "sent_at": values["created_at"] + 1}
        case _:
            pass
