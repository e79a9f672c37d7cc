"""The spine of intake: what arrived becomes a complaint, a follow-up or a repeat, in one transaction a batch, and gets its receipt.

`look` reads what the ledger knows about a batch, `plan` (pure) decides what each arrival becomes, `write` stores all of it at once.
Uniqueness is the database's: when somebody else was first, the whole batch looks again. Nothing here parses, sends or serves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

import structlog
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from services.intake.arrival import (
    INLINE_RAW,
    Arrival,
    Outcome,
    Ready,
    Receipt,
    Rules,
    named_by_token,
    order_of,
    own_keys_of,
    ready,
    thread_keys_of,
)
from services.intake.machine_mail import Correspondence, Told
from services.intake.plan import Known, Plan, head, plan
from shared.complaint import Complaint, decode_submission
from shared.errors import Raced, TemporaryFailure
from shared.ledger import Ledger, complaints, customers, deadlines, idempotency, notices, outbox, submissions, work
from shared.ledger.outbox import Entry
from shared.references import new_reference, read_reference

__all__ = ["INLINE_RAW", "Accept", "Arrival", "Outcome", "Receipt", "Rules"]

BATCH = 64
TRIES = 8

log = structlog.get_logger()


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Accept:
    """Group commit: what arrives while a transaction runs is taken together by the next one.

    `forward` is called with the outbox entries of each committed batch; it must return at once. `clock` and `draw` (fresh references)
    are the real ones unless somebody wants others.
    """

    def __init__(
        self,
        ledger: Ledger,
        rules: Rules,
        forward: Callable[[Sequence[Entry]], None],
        *,
        clock: Callable[[], datetime] = _utc_now,
        draw: Callable[[datetime], str] = new_reference,
    ) -> None:
        self._ledger = ledger
        self._rules = rules
        self._forward = forward
        self._clock = clock
        self._draw = draw
        self._waiting: list[tuple[Ready, asyncio.Future[Receipt]]] = []
        self._wake = asyncio.Event()
        self._stopped = False

    async def one(self, arrival: Arrival) -> Receipt:
        """The receipt, once the arrival is safely in the ledger.

        Raises Unreadable (it can never be stored), KeyReused, or TemporaryFailure (nothing stored; try again).
        """
        return await self._queue(ready(arrival))

    async def many(self, arrivals: Sequence[Arrival]) -> list[Receipt | BaseException]:
        """One answer an arrival, in order; what one arrival raised does not touch the others."""
        return await asyncio.gather(*(self.one(a) for a in arrivals), return_exceptions=True)

    async def run(self) -> None:
        """Commit batches until cancelled. The batch under way is then finished; what waits is told to come again."""
        try:
            while True:
                await self._wake.wait()
                batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
                if not self._waiting:
                    self._wake.clear()
                if batch:
                    await _finished(asyncio.create_task(self._answer(batch)))
        finally:
            self._stopped = True
            for _, answer in self._waiting:
                if not answer.done():
                    answer.set_exception(_stopping())

    def _queue(self, prepared: Ready) -> asyncio.Future[Receipt]:
        if self._stopped:
            raise _stopping()
        answer: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._waiting.append((prepared, answer))
        self._wake.set()
        return answer

    async def _answer(self, batch: list[tuple[Ready, asyncio.Future[Receipt]]]) -> None:
        try:
            planned = await self._commit([prepared for prepared, _ in batch])
        except Exception as error:
            if len(batch) > 1 and not isinstance(error, TemporaryFailure):
                for single in batch:  # one arrival that cannot be stored must not take the others with it
                    await self._answer([single])
                return
            answers: list[Receipt | Exception] = [_told(error)] * len(batch)
        else:
            answers = planned.answers
            self._forward(planned.outbox)
        for (_, answer), told in zip(batch, answers, strict=True):
            if answer.done():  # nobody waits for it any more
                continue
            if isinstance(told, Exception):
                answer.set_exception(told)
            else:
                answer.set_result(told)

    async def _commit(self, batch: Sequence[Ready]) -> Plan:
        """Raises Raced, from the last refusal, when others were first again and again."""
        refusal: Exception | None = None
        for _ in range(TRIES):
            now = self._clock()
            try:
                async with self._ledger.write() as tx:
                    planned = plan(batch, await look(tx, batch, self._rules, now), self._rules, self._draw)
                    await write(tx, planned, now)
            except (IntegrityError, Raced) as error:
                refusal = error  # somebody else was first with one of these, or a drawn reference was taken: look again
            except TemporaryFailure as error:
                if error.retry_after != 0:
                    raise
                refusal = error
            else:
                return planned
        raise Raced("Others were first with this again and again.") from refusal


def _told(error: Exception) -> Exception:
    """What the sender hears of a failed commit."""
    if not isinstance(error, Raced):
        return error
    log.error("accept.never_first", why=str(error.__cause__)[:300])
    return TemporaryFailure("The ledger is too busy to take this. Send it again in a moment.", retry_after=2)


def _stopping() -> TemporaryFailure:
    return TemporaryFailure("The desk is stopping. Send it again in a moment.", retry_after=5)


async def _finished(work: asyncio.Task[None]) -> None:
    """Wait for it. Who is cancelled meanwhile still waits for its end: a commit under way must give its receipts."""
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        raise


async def look(tx: AsyncConnection, batch: Sequence[Ready], rules: Rules, now: datetime) -> Known:
    """Read all that could bear on these arrivals, and on every key they will leave: a handful of statements for the whole batch."""
    told = [r.submission for r in batch]
    answers = await submissions.first_answers(tx, [r.key for r in batch])
    owners = await customers.owners(tx, {(i.kind, i.value) for s in told for i in s.customer.identities})
    threads = await complaints.by_thread(tx, {key for s in told for key in (*thread_keys_of(s), *own_keys_of(s))})
    keys = await idempotency.find(tx, [r.arrival.idempotency[0] for r in batch if r.arrival.idempotency], now)
    named = {ref for s in told for ref in (named_by_token(s, rules.secret), read_reference(s.subject)) if ref}
    named |= {*threads.values(), *(ref for ref, _ in answers.values()), *(ref for _, ref in keys.values())}
    found = await _with_heads(tx, named)
    wanted: set[tuple[str, str]] = set()
    for s in told:
        if s.order_number:
            wanted |= {(owners[i.kind, i.value].customer_id, order_of(s)) for i in s.customer.identities if (i.kind, i.value) in owners}
            # a follow-up may come from another than the complaint's own customer, and leaves its order number with the latter
            refs = (named_by_token(s, rules.secret), read_reference(s.subject), *(threads.get(key) for key in thread_keys_of(s)))
            wanted |= {(head(found[ref], found).customer_id, order_of(s)) for ref in refs if ref in found}
    matters = await complaints.open_matters(tx, wanted, now)
    found |= await _with_heads(tx, set(matters.values()) - found.keys())
    letters = await _letters(tx, [r for r in batch if r.machine], found, rules.secret, now)
    return Known(answers=answers, owners=owners, threads=threads, matters=matters, complaints=found, keys=keys, letters=letters)


async def _letters(
    tx: AsyncConnection, machines: Sequence[Ready], found: Mapping[str, Complaint], secret: bytes, now: datetime
) -> dict[str, Correspondence]:
    """What was written about the complaints that machines' mail names by a key of ours."""
    named = {ref for r in machines if (ref := named_by_token(r.submission, secret)) and ref in found}
    if not named:
        return {}
    bodies = await complaints.bodies(tx, sorted(named))
    letters: dict[str, Correspondence] = {}
    for ref in named:
        told = tuple(Told(shown.notice, shown.state) for shown in await notices.of_complaint(tx, ref))
        owned = await customers.get(tx, found[ref].customer_id)
        said = tuple(decode_submission(body) for body in bodies.get(ref, ()))
        identities = {(i.kind, i.value) for i in (*(owned[1] if owned else ()), *(i for s in said for i in s.customer.identities))}
        letters[ref] = Correspondence(
            told=told,
            said=said,
            verified=tuple(i for i in owned[1] if i.verified) if owned else (),
            unusable=await work.unusable(tx, identities, now),
        )
    return letters


async def _with_heads(tx: AsyncConnection, references: Iterable[str]) -> dict[str, Complaint]:
    """These complaints and, link by link, those they were joined to."""
    found: dict[str, Complaint] = {}
    wanted = set(references)
    while wanted:
        found |= await complaints.get_many(tx, sorted(wanted))
        wanted = {c.joined_to for c in found.values() if c.joined_to} - found.keys() - wanted
    return found


async def write(tx: AsyncConnection, planned: Plan, now: datetime) -> None:
    """Store a whole plan. Raises IntegrityError or Raced when somebody else was first with any of it; then nothing is stored.

    Everybody writes the tables in this order and each table in the order of its keys, so that two writers never wait for each other.
    """
    await customers.insert_new(tx, planned.customers, sorted(planned.identities, key=lambda owned: (owned[1].kind, owned[1].value)))
    for kind, value, until, why in sorted(planned.unusable):
        await customers.mark_unusable(tx, kind, value, until, why)
    await complaints.insert_new(tx, list(planned.complaints.values()))
    await submissions.insert_new(tx, sorted(planned.submissions, key=lambda row: row["dedupe_key"]))
    changed = sorted(planned.changed.values(), key=lambda versioned: versioned[1].reference)
    await complaints.save(tx, changed, work={r: {"work": "open", "work_reason": ""} for r in planned.reopened})
    await complaints.add_events(tx, planned.events)
    await complaints.add_threads(tx, [(k, v, r) for (k, v), r in sorted(planned.threads.items())])
    await complaints.move_threads(tx, [(k, v, was, r) for (k, v), (was, r) in sorted(planned.moved_threads.items())])
    await complaints.add_matters(
        tx, [(c, o, r, u) for (c, o), (r, u) in sorted(planned.matters.items())], now, newcomers={who for who, _, _ in planned.customers}
    )
    await complaints.move_matters(tx, [(c, o, was, r, u) for (c, o), (was, r, u) in sorted(planned.moved_matters.items())])
    await deadlines.add(tx, planned.deadlines)
    await notices.add(tx, planned.notices)
    for key, why in sorted(planned.came_back):
        await notices.came_back(tx, key, why)
    await outbox.add(tx, planned.outbox, now)
    await idempotency.add(tx, planned.idempotency, now)
