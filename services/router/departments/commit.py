"""Takes actions into the ledger: what is asked while a transaction runs is taken together by the next one (group commit).

`look` reads what a batch needs, `actions.plan` (pure) decides, `write` stores all of it at once; a refused action does not touch the
others. Two steps on one complaint at the same time collide on the key of its next event, and the batch looks again.

The leases of a batch are looked at before its transaction and ended after it, in one round trip each. A crash in between leaves items
in the queue whose work is done: the next claim finds them stale and takes them out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

import msgspec
import structlog
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from services.router.departments.actions import Case, Change, Moment, moves_deadlines, needs_the_customer, plan
from shared.complaint import Deadline
from shared.dialogue import Acted, Action, Claiming
from shared.errors import DeskError, KeyReused, TemporaryFailure, UnknownReference
from shared.ledger import Ledger, complaints, deadlines, idempotency, notices, outbox, work
from shared.ledger.outbox import Entry
from shared.policy import Policy
from shared.queues.contract import Outcome as LeaseEnd
from shared.queues.contract import Queue, Settlement
from shared.queues.department import lease_lost

BATCH = 64
TRIES = 8

log = structlog.get_logger()


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One action somebody asks for. department: the only one whose complaints they may touch, empty for all.

    token: the lease by virtue of which it is asked, in the queue of `department`; empty for an action that needs none. ends: how the lease
    ends with it. idempotency: (key, fingerprint) of a request that carried an Idempotency-Key; its answer holds though the lease has ended.
    """

    reference: str
    action: Action
    actor: str
    department: str = ""
    token: str = ""
    ends: LeaseEnd | None = None
    idempotency: tuple[str, str] | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What an action made: the answer, and the case as it stands now."""

    acted: Acted
    case: Case


class _Found(msgspec.Struct, kw_only=True):
    """What the ledger knew about a batch, kept up to date while the batch is planned."""

    cases: dict[str, Case]
    versions: dict[str, int]
    answered: dict[str, tuple[str, str]]


class Actions:
    """`one` and `many` answer when the ledger has it. forward is given the outbox entries of each committed batch."""

    def __init__(self, ledger: Ledger, policy: Policy, queues: Mapping[str, Queue], forward: Callable[[Sequence[Entry]], None]) -> None:
        self._ledger = ledger
        self._queues = queues
        self._policy = policy
        self._forward = forward
        self._waiting: list[tuple[Request, asyncio.Future[Outcome]]] = []
        self._committer: asyncio.Task[None] | None = None

    async def one(self, request: Request) -> Outcome:
        """Raises what refuses the action (RuleViolation), or TemporaryFailure when nothing was stored."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, future))
        if self._committer is None:
            self._committer = asyncio.create_task(self._commit_all(), name="actions")
        return await future

    async def many(self, requests: Sequence[Request]) -> list[Outcome | BaseException]:
        """One answer a request, in order; what one raised does not touch the others."""
        return await asyncio.gather(*(self.one(r) for r in requests), return_exceptions=True)

    async def _commit_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
                await self._answer(batch)
        finally:
            self._committer = None
            left, self._waiting = self._waiting, []  # none, unless the process is stopping
            for _, future in left:
                if not future.done():
                    future.set_exception(TemporaryFailure("The desk is stopping. Send it again in a moment.", retry_after=5))

    async def _answer(self, batch: list[tuple[Request, asyncio.Future[Outcome]]]) -> None:
        try:
            answers, entries = await self._commit([request for request, _ in batch])
        except Exception as error:
            if len(batch) > 1 and not isinstance(error, TemporaryFailure):
                for single in batch:  # one action that cannot be stored must not take the others with it
                    await self._answer([single])
                return
            answers, entries = [error] * len(batch), []
        except BaseException:
            for _, future in batch:
                if not future.done():
                    future.set_exception(TemporaryFailure("The desk is stopping. Send it again in a moment.", retry_after=5))
            raise
        self._forward(entries)
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    async def _commit(self, requests: Sequence[Request]) -> tuple[list[Outcome | Exception], list[Entry]]:
        refusals = await self._look_at_leases(requests)
        for _ in range(TRIES):
            now = datetime.now(UTC)
            try:
                async with self._ledger.write() as tx:
                    found = await look(tx, requests, now)
                    answers, changes, used = self._plan(requests, refusals, found, now)
                    entries = await write(tx, changes, found.versions, used, now)
            except IntegrityError:
                continue  # somebody else took the next step of one of these complaints: look again
            await self._end_leases(requests, answers, refusals)
            return answers, entries
        raise TemporaryFailure("The ledger is too busy to take this. Send it again in a moment.", retry_after=2)

    async def _look_at_leases(self, requests: Sequence[Request]) -> list[DeskError | None]:
        """What refuses each request for its lease's sake, in their order."""
        refusals: list[DeskError | None] = [None] * len(requests)
        for department, places in _by_queue(requests):
            try:
                lost = set(await self._queues[department].lost([(requests[n].reference, requests[n].token) for n in places]))
            except TemporaryFailure as error:
                for n in places:
                    refusals[n] = error
                continue
            for n in places:
                if requests[n].reference in lost:
                    refusals[n] = lease_lost(requests[n].reference)
        return refusals

    async def _end_leases(
        self, requests: Sequence[Request], answers: Sequence[Outcome | Exception], refusals: Sequence[DeskError | None]
    ) -> None:
        """End the leases of what was taken. Failing to is harmless: the lease runs out and the item is found stale."""
        for department, places in _by_queue(requests):
            ends = [
                Settlement(reference=requests[n].reference, token=requests[n].token, outcome=end)
                for n in places
                if (end := requests[n].ends) is not None and isinstance(answers[n], Outcome) and refusals[n] is None
            ]
            try:
                await self._queues[department].settle_many(ends)
            except TemporaryFailure as error:
                log.warning("lease.left_to_expire", department=department, count=len(ends), reason=error.message)

    def _plan(
        self, requests: Sequence[Request], refusals: Sequence[DeskError | None], found: _Found, now: datetime
    ) -> tuple[list[Outcome | Exception], list[Change], list[idempotency.Answered]]:
        answers: list[Outcome | Exception] = []
        changes: list[Change] = []
        used: list[idempotency.Answered] = []
        for request, refusal in zip(requests, refusals, strict=True):
            try:
                change, repeated = self._take(request, refusal, found, now)
            except DeskError as error:
                answers.append(error)
                continue
            if change.event is not None and not repeated:
                changes.append(change)
            if request.idempotency and not repeated:
                key, fingerprint = request.idempotency
                found.answered[key] = (fingerprint, request.reference)
                used.append(idempotency.Answered(key, fingerprint, request.reference, now))
            case = msgspec.structs.replace(found.cases[request.reference], standing=change.standing)
            found.cases[request.reference] = case
            answers.append(Outcome(acted=acted(change, repeated=repeated), case=case))
        return answers, changes, used

    def _take(self, request: Request, refusal: DeskError | None, found: _Found, now: datetime) -> tuple[Change, bool]:
        """The change, and whether it was taken before under the same key."""
        case = found.cases.get(request.reference)
        if case is None:
            raise UnknownReference(f"There is no complaint {request.reference}. Check the reference; it looks like C261121-7K3QXP.")
        if request.idempotency and request.idempotency[0] in found.answered:
            if found.answered[request.idempotency[0]] != (request.idempotency[1], request.reference):
                raise KeyReused
            return Change(standing=case.standing), True
        elsewhere = request.department not in ("", case.complaint.department)
        if refusal is not None:
            raise refusal
        if request.token and elsewhere:
            raise lease_lost(request.reference)
        if elsewhere:
            raise UnknownReference(
                f"{request.department} has no complaint {request.reference}. Check the reference, and whose key this is."
            )
        return plan(case, request.action, Moment(now=now, actor=request.actor, policy=self._policy)), False


def _by_queue(requests: Sequence[Request]) -> Iterator[tuple[str, list[int]]]:
    """Where in the batch the requests with a lease are, department by department."""
    places: dict[str, list[int]] = {}
    for n, request in enumerate(requests):
        if request.token:
            places.setdefault(request.department, []).append(n)
    yield from places.items()


async def look(tx: AsyncConnection, requests: Sequence[Request], now: datetime) -> _Found:
    """Read all that the batch's plans need, one statement a table."""
    references = {r.reference for r in requests}
    standings = await work.standing(tx, references)
    to_customer = {r.reference for r in requests if needs_the_customer(r.action)}
    said = await work.submissions_of(tx, to_customer)
    told = {r.reference for r in requests if not isinstance(r.action, Claiming)}
    addresses = {(i.kind, i.value) for ref in told for s in said.get(ref, ()) for i in s.submission.customer.identities}
    unusable = await work.unusable(tx, addresses, now)
    due = await work.deadlines_of(tx, {r.reference for r in requests if moves_deadlines(r.action)})
    keys = [r.idempotency[0] for r in requests if r.idempotency]
    cases = {
        reference: Case(standing=standing, said=said.get(reference, ()), unusable=unusable, deadlines=due.get(reference, ()))
        for reference, standing in standings.items()
    }
    versions = {reference: standing.complaint.version for reference, standing in standings.items()}
    return _Found(cases=cases, versions=versions, answered=await idempotency.find(tx, keys, now))


async def write(
    tx: AsyncConnection, changes: Sequence[Change], versions: Mapping[str, int], used: Sequence[idempotency.Answered], now: datetime
) -> list[Entry]:
    """Store a batch; its outbox entries. Raises IntegrityError when somebody else was first with any of it; then nothing is stored."""
    await complaints.add_events(tx, [c.event for c in changes if c.event])  # first: it is what refuses whoever comes second
    last = {c.standing.complaint.reference: c.standing for c in changes}
    await work.save(tx, [(versions[reference], standing) for reference, standing in last.items()])
    met: dict[tuple[str, ...], list[str]] = {}
    due: dict[tuple[str, str], Deadline] = {}
    for c in changes:
        reference = c.standing.complaint.reference
        for clock in c.met:
            due.pop((reference, clock), None)  # an earlier step of this batch set it, this one stops it
        due |= {(reference, d.clock): d for d in c.due}
        if c.met:
            met.setdefault(c.met, []).append(reference)
    for clocks, references in met.items():
        await deadlines.meet(tx, references, clocks, now)
    await deadlines.replace(tx, [(reference, d) for (reference, _), d in due.items()])
    await notices.add(tx, [c.notice for c in changes if c.notice])
    for c in changes:
        if c.ended:
            await complaints.end_matters(tx, c.standing.complaint.reference)
    entries = [entry for c in changes for entry in c.outbox]
    await outbox.add(tx, entries, now)
    await idempotency.add(tx, used, now)
    return entries


def acted(change: Change, *, repeated: bool = False) -> Acted:
    """The answer to whoever took the action."""
    complaint = change.standing.complaint
    return Acted(
        reference=complaint.reference,
        state=complaint.state,
        version=complaint.version,
        work=change.standing.work,
        notice=change.notice.key if change.notice else "",
        repeated=repeated,
    )
