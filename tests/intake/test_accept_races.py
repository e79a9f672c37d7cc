"""Several intakes on one ledger, given the same arrivals at the same time: each complaint exists once, and everybody gets its reference."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

from services.intake.accept import Arrival, Outcome, Receipt
from shared.ledger import Ledger
from tests.arrivals import Desk, desk, form, mail, message

ROOT = Path(__file__).parents[2]


def crowd() -> list[Arrival]:
    """120 arrivals in which customers, orders, conversations and threads come up again and again."""
    forms = [form(f"第 {n} 次", email=f"c{n % 9}@example.com", order=f"DD{n % 9}") for n in range(40)]
    chats = [message(f"第 {n} 次", person=f"o{n % 7}", number=n) for n in range(40)]
    mails = [mail(f"{n}", sender=f"m{n % 5}@example.com", message_id=f"{n}@x", in_reply_to=f"{n - 5}@x") for n in range(40)]
    return forms + chats + mails


async def give(d: Desk, arrivals: list[Arrival], seed: int) -> dict[str, str]:
    """All arrivals in an order of its own, some at a time. Dedupe material -> reference."""
    shuffled = random.Random(seed).sample(arrivals, len(arrivals))
    told: dict[str, str] = {}
    for start in range(0, len(shuffled), 11):
        part = shuffled[start : start + 11]
        for arrival, answer in zip(part, await d.many(part), strict=True):
            assert isinstance(answer, Receipt), answer
            told[repr(arrival.raw) + arrival.submission.external_id] = answer.reference
    return told


async def check(ledger: Ledger, arrivals: list[Arrival], told: list[dict[str, str]]) -> None:
    assert all(answers == told[0] for answers in told)
    async with desk(ledger) as d:
        rows = await d.rows("submissions")
        assert len(rows) == len(arrivals)
        assert Counter(r["reference"] for r in rows if r["role"] == "complaint") == Counter(
            {c["reference"]: 1 for c in await d.rows("complaints")}
        )
        complaints = {c["reference"]: c for c in await d.rows("complaints")}
        by_version = Counter(e["reference"] for e in await d.rows("events"))
        assert {ref: c["version"] for ref, c in complaints.items()} == dict(by_version)
        per_order = Counter((c["customer_id"], c["order_number"]) for c in complaints.values() if c["order_number"])
        assert set(per_order.values()) == {1}
        per_conversation = Counter(c["conversation"] for c in complaints.values() if c["conversation"])
        assert set(per_conversation.values()) == {1}
        assert await d.count("notices") == len(complaints)


async def test_several_intakes_on_one_ledger_make_each_complaint_once(ledger_url: str):
    arrivals = crowd()
    async with AsyncExitStack() as stack:
        ledgers = [Ledger.open(ledger_url) for _ in range(3)]
        desks = [await stack.enter_async_context(desk(ledger)) for ledger in ledgers]
        told = await asyncio.gather(*(give(d, arrivals, seed) for seed, d in enumerate(desks)))
        await check(ledgers[0], arrivals, list(told))
    for ledger in ledgers:
        await ledger.close()


async def test_several_processes_on_one_sqlite_file_make_each_complaint_once(sqlite_url: str):
    """The write lock is the file's, not the process's."""
    run = [sys.executable, "-m", "tests.intake.one_process", sqlite_url]
    processes = [await asyncio.create_subprocess_exec(*run, str(seed), cwd=ROOT, stdout=subprocess.PIPE) for seed in range(2)]
    spoken = await asyncio.gather(*(p.communicate() for p in processes))
    told = [dict(line.rsplit("\t", 1) for line in out.decode().splitlines()) for out, _ in spoken]
    assert [p.returncode for p in processes] == [0, 0]
    ledger = Ledger.open(sqlite_url)
    await check(ledger, crowd(), told)
    await ledger.close()


async def test_a_duplicate_at_another_intake_gets_the_same_answer(ledger_url: str):
    first, second = Ledger.open(ledger_url), Ledger.open(ledger_url)
    async with desk(first) as a, desk(second) as b:
        one, two = await asyncio.gather(a.one(form("x", email="a@example.com")), b.one(form("x", email="a@example.com")))
    assert one.reference == two.reference
    assert {one.outcome, two.outcome} == {Outcome.ACCEPTED, Outcome.REPEATED}
    await first.close()
    await second.close()
