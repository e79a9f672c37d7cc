"""The router's loops: what is received gets decided in batches; timers and sweeps find what was missed. The only place that runs arq here.

Each batch goes claim -> execute -> settle: read from the stream and the ledger, decide (pure), write in one transaction.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import structlog
from arq import cron
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from services.process import Desk, to_its_end
from services.router import correlate
from services.router.decide import Case, decide, undecidable
from services.timers import run_timers
from shared.complaint import Complaint, Decision, Event, State, decode_submission
from shared.errors import TemporaryFailure
from shared.ledger import complaints, customers, deadlines, idempotency, outbox
from shared.ledger.outbox import Entry, Topic
from shared.lifecycle import after
from shared.queues.stream import StreamEntry
from shared.telemetry import DECIDED, ROUTING

BATCH = 64
TRIES = 8
UNDECIDED_AFTER = timedelta(seconds=10)

log = structlog.get_logger()


class Router:
    """Decides batches of received complaints and keeps the clocks."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def route(self) -> None:
        """Take batches from the stream until cancelled."""
        stream = self._desk.received
        while True:
            entries = await stream.read(BATCH, 1000)
            if not entries:
                continue
            await to_its_end(self._take(entries))

    async def _take(self, entries: Sequence[StreamEntry]) -> None:
        stream = self._desk.received
        try:
            await self._batch_or_singles([entry.key for entry in entries])
        except TemporaryFailure as error:
            # handed out again in a moment; the ledger's state says which are still to be decided
            log.warning("route.waits", error=error.message)
            await asyncio.sleep(1)
            stream.release([entry.id for entry in entries])
        else:
            await stream.settle([entry.id for entry in entries])

    async def _batch_or_singles(self, references: Sequence[str]) -> None:
        """One complaint that cannot be stored must not hold up the others; it stays undecided in the ledger and in the log."""
        try:
            await self.batch(references)
        except TemporaryFailure:
            raise
        except Exception:
            log.exception("route.failed", references=list(references)[:5], count=len(references))
            if len(references) > 1:
                for reference in references:
                    await self._batch_or_singles([reference])

    async def batch(self, references: Sequence[str]) -> int:
        """Decide those of the complaints that are still undecided; how many there were."""
        cases = await self._claim(references)
        decisions = {c.reference: (c, _decide(case, self._desk)) for c, case in cases}
        for _ in range(TRIES):
            try:
                async with self._desk.ledger.write() as tx:
                    entries = await self._settle(tx, decisions)
            except IntegrityError:
                continue  # another router was first with one of them
            self._desk.relay.forward(entries)
            return len(cases)
        raise TemporaryFailure("The ledger is too busy to take the decisions.", retry_after=1)

    async def _claim(self, references: Sequence[str]) -> list[tuple[Complaint, Case]]:
        async with self._desk.ledger.read() as tx:
            found = await complaints.get_many(tx, dict.fromkeys(references))
            waiting = [c for c in found.values() if c.state is State.RECEIVED]
            bodies = await complaints.bodies(tx, [c.reference for c in waiting])
            tiers = await customers.tiers(tx, [c.customer_id for c in waiting])
        return [
            (
                c,
                Case(
                    reference=c.reference,
                    received_at=c.received_at,
                    submissions=[decode_submission(body) for body in bodies[c.reference]],
                    tier=tiers.get(c.customer_id, ""),
                ),
            )
            for c in waiting
        ]

    async def _settle(self, tx: AsyncConnection, decisions: Mapping[str, tuple[Complaint, Decision]]) -> list[Entry]:
        """Write the decisions on complaints that are still as they were read. The outbox entries to forward after the commit."""
        now = datetime.now(UTC)
        keys = {key for c, d in decisions.values() for key in correlate.keys(c, d.order_numbers)}
        matters = await complaints.open_matters(tx, sorted(keys), now)
        undecided = await complaints.undecided_among(tx, decisions)
        current = {reference: read for reference, (read, _) in decisions.items() if undecided.get(reference) == read.version}
        current |= await complaints.get_many(tx, set(matters.values()) - set(current))
        decided: list[tuple[Complaint, datetime | None]] = []
        events: list[Event] = []
        due: list[tuple[str, Any]] = []
        new_matters: dict[tuple[str, str], tuple[str, datetime]] = {}
        entries: list[Entry] = []
        joined: list[tuple[Complaint, Complaint, Decision]] = []
        window = timedelta(days=self._desk.policy.join.window_days)
        for reference, (complaint, decision) in sorted(decisions.items()):
            if undecided.get(reference) != complaint.version:
                continue  # decided by another router, or the customer wrote again: the sweep brings it back
            head = correlate.find_head(complaint, decision.order_numbers, matters, current)
            if head is not None:
                joined.append((complaint, head, decision))
                continue
            changed = _decided(complaint, decision, now)
            current[reference] = changed
            work_by = next((d.due_by for d in decision.deadlines if d.clock == "department_answer"), None)
            decided.append((changed, work_by))
            due += [(reference, d) for d in decision.deadlines]
            events.append(_event(changed, decision, now))
            entries.append(Entry(f"assigned/{reference}/{changed.version}", Topic.ASSIGNED, reference))
            for key in correlate.keys(changed, decision.order_numbers):
                if key not in matters:
                    matters[key] = reference
                    new_matters[key] = (reference, changed.received_at + window)
        await complaints.save_decided(tx, decided)
        await complaints.add_events(tx, events)
        await deadlines.add(tx, due)
        await complaints.add_matters(tx, [(c, o, r, u) for (c, o), (r, u) in new_matters.items()], now)
        for complaint, head, decision in joined:
            entries += await self._join(tx, complaint, head, decision, now)
        await outbox.add(tx, entries, now)
        for changed, _ in decided:
            DECIDED.labels(changed.category, changed.priority, changed.department).inc()
            ROUTING.observe((now - changed.received_at).total_seconds())
        return entries

    async def _join(self, tx: AsyncConnection, complaint: Complaint, head: Complaint, decision: Decision, now: datetime) -> list[Entry]:
        """The later complaint becomes part of the head; the head's department hears of it."""
        later = msgspec.structs.replace(
            complaint,
            state=after(complaint.state, "joined"),
            joined_to=head.reference,
            version=complaint.version + 1,
            updated_at=now,
            decision=decision,
        )
        fresh = (await complaints.get_many(tx, [head.reference]))[head.reference]
        told = msgspec.structs.replace(fresh, state=after(fresh.state, "followed_up"), version=fresh.version + 1, updated_at=now)
        work = {head.reference: {"work": "open"}} if fresh.state is not State.RECEIVED else {}
        await complaints.save(tx, [(complaint.version, later), (fresh.version, told)], work=work)
        orders = ", ".join(decision.order_numbers)
        await complaints.add_events(
            tx,
            [
                Event(later.reference, later.version, now, "joined", "router", {"to": head.reference, "order_numbers": orders}),
                Event(told.reference, told.version, now, "followed_up", "customer", {"joined": later.reference, "channel": later.channel}),
            ],
        )
        await deadlines.meet(tx, [later.reference], ["first_response", "customer_reply"], now)
        return [Entry(f"assigned/{told.reference}/{told.version}", Topic.ASSIGNED, told.reference)] if work else []

    async def sweep_undecided(self) -> int:
        """Complaints that no stream entry brought to us in time go into the stream again."""
        async with self._desk.ledger.read() as tx:
            late = await complaints.undecided(tx, before=datetime.now(UTC) - UNDECIDED_AFTER, limit=2000)
        if late and await self._desk.received.length() < len(late):
            await self._desk.received.add(late)
            log.info("sweep.undecided", found=len(late))
        return len(late)

    async def sweep_deadlines(self) -> int:
        """Clocks that ran out are recorded as breached, once, in the ledger."""
        now = datetime.now(UTC)
        async with self._desk.ledger.write() as tx:
            missed = await deadlines.overdue(tx, now)
            await deadlines.breach(tx, [(reference, d.clock) for reference, d in missed], now)
        if missed:
            log.warning("deadlines.missed", count=len(missed))
        return len(missed)

    async def sweep_queues(self) -> None:
        """Leases that ran out go back to their queues, also where nobody claims."""
        for queue in self._desk.queues.values():
            await queue.reap()

    async def sweep_answers(self) -> None:
        """Idempotency answers past their day are forgotten."""
        async with self._desk.ledger.write() as tx:
            await idempotency.sweep(tx, datetime.now(UTC))

    async def timers(self, sweeps: Sequence[Callable[[], Awaitable[Any]]] = ()) -> None:
        """The clocks of the router, on arq: every few seconds what was missed is looked for. sweeps: further ones to run as often."""
        every = set(range(0, 60, 5))
        jobs = [
            cron(_job(self.sweep_undecided), name="sweep_undecided", second=every, unique=True, timeout=30),
            cron(_job(self.sweep_deadlines), name="sweep_deadlines", second=every, unique=True, timeout=30),
            cron(_job(self.sweep_queues), name="sweep_queues", second=every, unique=True, timeout=30),
            cron(_job(self.sweep_answers), name="sweep_answers", minute={0, 30}, second=0, unique=True, timeout=30),
        ]
        jobs += [cron(_job(sweep), name=sweep.__name__, second=every, unique=True, timeout=30) for sweep in sweeps]
        await run_timers(self._desk.settings, "desk:{router}:timers", cron_jobs=jobs)


def _job(work: Any) -> Any:
    async def job(ctx: dict[Any, Any]) -> None:
        del ctx
        await work()

    return job


def _decide(case: Case, desk: Desk) -> Decision:
    started = time.perf_counter()
    try:
        return decide(case, desk.policy)
    except Exception as error:
        log.exception("decide.failed", reference=case.reference, seconds=time.perf_counter() - started)
        return undecidable(case, desk.policy, error)


def _decided(complaint: Complaint, decision: Decision, now: datetime) -> Complaint:
    return msgspec.structs.replace(
        complaint,
        state=after(complaint.state, "decided"),
        version=complaint.version + 1,
        updated_at=now,
        language=decision.language or complaint.language,
        order_number=complaint.order_number or next(iter(decision.order_numbers), ""),
        category=decision.category,
        priority=decision.priority,
        department=decision.department,
        confidence=decision.confidence,
        review=decision.review,
        decision=decision,
    )


def _event(complaint: Complaint, decision: Decision, now: datetime) -> Event:
    detail = {
        "category": decision.category,
        "priority": decision.priority,
        "department": decision.department,
        "confidence": round(decision.confidence, 3),
        "review": decision.review,
        "policy": decision.policy_hash,
    }
    return Event(complaint.reference, complaint.version, now, "decided", "router", detail)
