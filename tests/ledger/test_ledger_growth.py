"""A ledger that grows stays quick: on SQLite no hot statement reads a table from end to end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.complaint import Deadline
from shared.ledger import Ledger, complaints, customers, deadlines, idempotency, mailboxes, notices, outbox, quarantine, submissions
from shared.ledger.mailboxes import Position
from tests.ledger.rows import AT

REFS = ["C261121-AAAAAA", "C261121-BBBBBB"]
PAIRS = [("email", "a@example.com"), ("phone", "+8613800000000")]

HOT: dict[str, Callable[[AsyncConnection], Awaitable[Any]]] = {
    "first answers": lambda tx: submissions.first_answers(tx, REFS),
    "owners": lambda tx: customers.owners(tx, PAIRS),
    "tiers": lambda tx: customers.tiers(tx, REFS),
    "usable": lambda tx: customers.usable(tx, "U1", AT),
    "threads": lambda tx: complaints.by_thread(tx, PAIRS),
    "matters": lambda tx: complaints.open_matters(tx, PAIRS, AT),
    "expired matters": lambda tx: complaints.add_matters(tx, [("U1", "DD1", REFS[0], AT)], AT),
    "end of matters": lambda tx: complaints.end_matters(tx, REFS[0]),
    "complaints": lambda tx: complaints.get_many(tx, REFS),
    "undecided": lambda tx: complaints.undecided(tx, before=AT, limit=500),
    "open work": lambda tx: complaints.open_work(tx, after="C2"),
    "work of": lambda tx: complaints.work_of(tx, REFS),
    "history": lambda tx: complaints.history(tx, REFS[0]),
    "bodies": lambda tx: complaints.bodies(tx, REFS),
    "overdue": lambda tx: deadlines.overdue(tx, AT),
    "meet": lambda tx: deadlines.meet(tx, REFS, ["resolution"], AT),
    "breach": lambda tx: deadlines.breach(tx, [(REFS[0], "resolution")], AT),
    "replace": lambda tx: deadlines.replace(tx, [(REFS[0], Deadline("resolution", AT))]),
    "claim": lambda tx: notices.claim(tx, REFS, AT, AT + timedelta(minutes=1)),
    "unfinished": lambda tx: notices.unfinished(tx, before=AT),
    "notices of": lambda tx: notices.of_complaint(tx, REFS[0]),
    "outbox": lambda tx: outbox.waiting(tx, before=AT),
    "settle": lambda tx: outbox.settle(tx, REFS),
    "idempotency": lambda tx: idempotency.find(tx, REFS, AT),
    "forget": lambda tx: idempotency.sweep(tx, AT),
    "replayed": lambda tx: quarantine.set_state(tx, REFS, "replayed"),
    "mailbox counts": lambda tx: mailboxes.counts(tx, "care", "INBOX", 1),
    "mailbox position": lambda tx: mailboxes.set_position(tx, "care", "INBOX", Position(1, 1, AT)),
}


@pytest.mark.parametrize("what", HOT)
async def test_no_hot_statement_reads_a_whole_table(sqlite_url: str, what: str):
    ledger = Ledger.open(sqlite_url)
    statements: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE")):
            statements.append((statement, parameters))

    event.listen(ledger.engine.sync_engine, "before_cursor_execute", note)
    async with ledger.write() as tx:
        await HOT[what](tx)
        asked = list(statements)
        plans = [step for q, p in asked for (_, _, _, step) in await tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {q}", p)]
    assert asked
    assert [step for step in plans if step.startswith("SCAN") and "json_each" not in step] == []
    await ledger.close()
