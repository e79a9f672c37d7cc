"""How many complaints a second `Accept` commits, alone: no HTTP, no parsing. On SQLite and PostgreSQL, in batches of 1, 32 and 64.

`python -m bench.ledger [--grow N] [--seconds S] [--json]`. --grow measures again with N complaints more in the ledger.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import randrange
from typing import Any

from services.intake.accept import Accept, Arrival, Rules, write
from services.intake.arrival import ready
from services.intake.plan import Known, plan
from shared.complaint import Channel, Customer, Deadline, Identity, Submission
from shared.ledger import Ledger
from shared.ledger.migrate import upgrade
from shared.ledger.outbox import Entry
from shared.references import new_reference

TEXT = "你好，我上个月在你们店买的电饭煲到现在还没有收到，客服一直说在路上，物流三天没有更新了，请尽快处理，谢谢！" * 6


def rules() -> Rules:
    def due(at: datetime) -> tuple[Deadline, ...]:
        return (
            Deadline("first_response", at + timedelta(minutes=15), "within 15 minutes in working time"),
            Deadline("customer_reply", at + timedelta(hours=6), "by 18:00 the same day"),
            Deadline("resolution", at + timedelta(hours=48), "complex complaints within 48 hours"),
        )

    return Rules(secret=b"bench", acknowledge=True, window=timedelta(days=7), deadlines=due, opens_at=lambda _: None)


def arrival(n: int) -> Arrival:
    """A form of about 1 KB from a customer of its own about an order of its own."""
    now = datetime.now(UTC)
    submission = Submission(
        channel=Channel.WEB_FORM,
        source="web_form",
        account="shop",
        text=TEXT,
        subject="电饭煲没有收到",
        customer=Customer(name="王小明", identities=(Identity("email", f"customer{n}@example.com"), Identity("phone", f"+86138{n:08d}"))),
        order_number=f"20261121{n:08d}",
        product="电饭煲",
        demand="尽快发货",
    )
    return Arrival(submission=submission, raw=f"{n}\n{TEXT}".encode(), received_at=now)


async def accepted(ledger: Ledger, batch: int, seconds: float, first: int) -> dict[str, float]:
    """Keep exactly `batch` arrivals waiting for `seconds`."""
    forwarded: list[Entry] = []

    def forward(entries: Sequence[Entry]) -> None:
        forwarded[:] = entries

    accept = Accept(ledger, rules(), forward)
    running = asyncio.create_task(accept.run())
    done, n = 0, first
    cpu, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        answers = await accept.many([arrival(n + i) for i in range(batch)])
        failed = [a for a in answers if isinstance(a, BaseException)]
        if failed:
            raise failed[0]
        done, n = done + batch, n + batch
    after = resource.getrusage(resource.RUSAGE_SELF)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    used = after.ru_utime + after.ru_stime - cpu.ru_utime - cpu.ru_stime
    return {"complaints_per_second": round(done / elapsed), "cpu_microseconds": round(used / done * 1e6), "next": n}


async def fill(ledger: Ledger, number: int, first: int) -> None:
    """Put that many complaints of the past into the ledger, without the look a live batch takes."""
    now = datetime.now(UTC)
    for start in range(first, first + number, 2000):
        batch = [ready(arrival(n)) for n in range(start, min(start + 2000, first + number))]
        async with ledger.write() as tx:
            # spread over the days of years, since 200,000 draws for one day would meet the ledger's refusal of a taken one
            await write(tx, plan(batch, Known(), rules(), lambda at: new_reference(at - timedelta(days=randrange(3000)))), now)


async def measure(name: str, url: str, seconds: float, grow: int = 0) -> list[dict[str, Any]]:
    ledger = Ledger.open(url)
    await upgrade(ledger)
    rows: list[dict[str, Any]] = []
    first = 0
    for held in dict.fromkeys((0, grow)):
        await fill(ledger, held, first)
        first += held
        for batch in (1, 32, 64):
            row = await accepted(ledger, batch, seconds, first)
            first = int(row.pop("next"))
            rows.append({"ledger": name, "held": held, "batch": batch, **row})
    await ledger.close()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--grow", type=int, default=0, help="measure again with so many complaints in the ledger")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", choices=["sqlite", "postgresql"])
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with ExitStack() as stack:
        if options.only != "postgresql":
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="desk-bench-"))
            rows += asyncio.run(measure("sqlite", f"sqlite+aiosqlite:///{Path(folder) / 'ledger.sqlite3'}", options.seconds, options.grow))
        if options.only != "sqlite":
            from tests.postgres import private_postgres

            server = stack.enter_context(private_postgres())
            rows += asyncio.run(measure("postgresql", server.url("postgres"), options.seconds, options.grow))
    for row in rows:
        print(json.dumps(row) if options.json else "  ".join(f"{k} {v}" for k, v in row.items()))


if __name__ == "__main__":
    main()
