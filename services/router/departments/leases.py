"""The departments' desk: a queue's leases and the ledger's truth brought together, for the HTTP API and the workbench alike.

Whatever changes a complaint goes through commit.py; what is only the queue's (extend, retry) goes to the queue. Nothing here knows HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec
import structlog
from prometheus_client import Counter

from services.process import Desk
from services.router.departments import views
from services.router.departments.actions import Stale
from services.router.departments.commit import Actions, Outcome, Request
from shared.dialogue import (
    Acted,
    Action,
    Bury,
    Claiming,
    ClaimRequest,
    Claims,
    Extended,
    Finish,
    Leased,
    Page,
    QueueView,
    Refused,
    Settle,
    Settled,
    SettleOne,
    WholeStory,
)
from shared.errors import DeskError, RuleViolation, TemporaryFailure, UnknownReference
from shared.ledger import complaints, deadlines, notices, work
from shared.ledger.work import Standing
from shared.queues.contract import Dead, Done, Lease, Place, Retry, Settlement
from shared.queues.contract import Outcome as LeaseEnd
from shared.queues.department import DepartmentQueue, lease_lost

CLAIMED = Counter("desk_claims_total", "Complaints handed to departments.", ["department"])
STALE = Counter("desk_claims_stale_total", "Items that were met in a queue though there was nothing more to do.", ["department"])
ACTED = Counter("desk_actions_total", "Actions on complaints, by kind and how they ended.", ["action", "outcome"])
DEAD_AT_ONCE = 1000
NOT_OURS = "-"

log = structlog.get_logger()


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who acts. department: the only one whose complaints they may touch, empty for the operator. client: scopes Idempotency-Keys."""

    name: str
    department: str = ""
    client: str = ""

    def may_touch(self, department: str) -> bool:
        return self.department in ("", department)


class Departments:
    """Everything departments do. One a process; any number of processes may serve the same departments."""

    def __init__(self, desk: Desk) -> None:
        self._ledger = desk.ledger
        self._queues = desk.queues
        self._stopping = desk.stopping
        self.policy = desk.policy
        self.actions = Actions(desk.ledger, desk.policy, desk.queues, desk.relay.forward)

    def queue(self, department: str, caller: Caller) -> DepartmentQueue:
        """Raises UnknownReference for a department that is not there or not the caller's: which of the two is not said."""
        queue = self._queues.get(department)
        if queue is None or not caller.may_touch(department):
            raise UnknownReference(f"This key opens no department '{department}'. Check the address, or ask the operator for another key.")
        return queue

    async def claim(
        self, department: str, wanted: ClaimRequest, caller: Caller, gone: Callable[[], Awaitable[object]] | None = None
    ) -> Claims:
        """Leases on what is most pressing, up to `wanted.n`, waiting up to `wanted.wait` for the first.

        gone: returns when the caller has hung up while waiting; then nothing is claimed, since nobody would work it. A process that is
        stopping keeps nobody waiting.
        """
        queue = self.queue(department, caller)
        actor = f"{department}/{wanted.worker or caller.name}"[:128]
        loop = asyncio.get_running_loop()
        give_up_at, withdrawn = loop.time() + wanted.wait, 0
        while True:
            leases = await queue.claim(wanted.n, wanted.lease_seconds, actor)
            if leases:
                given, stale = await self._hand_out(queue, leases, actor)
                withdrawn += stale
                if given:
                    return Claims(leases=tuple(given), withdrawn=withdrawn)
                if stale:
                    continue
                return Claims(leases=(), withdrawn=withdrawn)
            left = give_up_at - loop.time()
            if left <= 0 or not await _awaited(queue.wait(left), [self._stopping.wait(), *([gone()] if gone else [])]):
                return Claims(leases=(), withdrawn=withdrawn)

    async def _hand_out(self, queue: DepartmentQueue, leases: Sequence[Lease], actor: str) -> tuple[list[Leased], int]:
        """The leases that stand for work to be done, in their order, and how many did not and left the queue."""
        department = queue.department
        claiming = Claiming(department=department)
        requests = [Request(reference=lease.reference, action=claiming, actor=actor) for lease in leases]
        given: list[Leased] = []
        stale: list[Settlement] = []
        untaken: list[Settlement] = []
        failure: BaseException | None = None
        for lease, outcome in zip(leases, await self.actions.many(requests), strict=True):
            match outcome:
                case Outcome():
                    given.append(_leased(department, lease, outcome))
                case Stale() | UnknownReference():
                    stale.append(Settlement(reference=lease.reference, token=lease.token, outcome=Done()))
                case TemporaryFailure():
                    failure = outcome
                    untaken.append(Settlement(reference=lease.reference, token=lease.token, outcome=Retry()))
                case _:
                    # Our fault, and it would be again: the lease is left to run out, and after some of them it becomes a dead letter.
                    failure = outcome
                    log.error("claim.failed", reference=lease.reference, exc_info=outcome)
        await _quietly(queue, [*stale, *untaken])
        CLAIMED.labels(department).inc(len(given))
        STALE.labels(department).inc(len(stale))
        if failure is not None and not given:
            raise failure
        return given, len(stale)

    async def extend(self, reference: str, token: str, lease_seconds: float, caller: Caller) -> Extended:
        """Raises LeaseLost."""
        queue, bare = self._of_token(reference, token, caller)
        return Extended(reference=reference, expires_at=views.instant(await queue.extend(reference, bare, lease_seconds)))

    async def act(
        self,
        reference: str,
        token: str,
        action: Action,
        caller: Caller,
        *,
        ends: LeaseEnd | None = None,
        idempotency: tuple[str, str] | None = None,
    ) -> Acted:
        """Take an action by virtue of a lease; `ends` says how the lease ends with it. Raises LeaseLost and what refuses the action."""
        queue, bare = self._of_token(reference, token, caller)
        request = _by_lease(reference, action, queue.department, bare, caller, ends)
        answer = (await self._counted([msgspec.structs.replace(request, idempotency=idempotency) if idempotency else request]))[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer.acted

    async def settle(self, reference: str, settlement: Settle, caller: Caller, *, idempotency: tuple[str, str] | None = None) -> Acted:
        """End a lease. Raises LeaseLost, Unanswered where the customer was told nothing yet, and what else refuses the action."""
        if settlement.outcome == "retry":
            queue, bare = self._of_token(reference, settlement.token, caller)
            await queue.settle(reference, bare, Retry(settlement.delay))
            return _as_it_stands(await self._standing(reference))
        action, end = _ending(settlement)
        return await self.act(reference, settlement.token, action, caller, ends=end, idempotency=idempotency)

    async def settle_many(self, department: str, settlements: Sequence[SettleOne], caller: Caller) -> Settled:
        """End many leases of one department in few steps; each is taken or refused by itself."""
        queue = self.queue(department, caller)
        if len({s.reference for s in settlements}) != len(settlements):
            raise RuleViolation("A complaint is named twice. Settle each once in a request.")
        tokens = {s.reference: _bare(s.token, department) for s in settlements}
        requests = [
            _by_lease(s.reference, action, department, tokens[s.reference], caller, end)
            for s in settlements
            if s.outcome != "retry"
            for action, end in (_ending(s),)
        ]
        refused: list[Refused] = []
        taken: list[Acted] = []
        for request, answer in zip(requests, await self._counted(requests), strict=True):
            if isinstance(answer, DeskError):
                refused.append(_refusal(request.reference, answer))
            elif isinstance(answer, BaseException):
                raise answer
            else:
                taken.append(answer.acted)
        retried = [
            Settlement(reference=s.reference, token=tokens[s.reference], outcome=Retry(s.delay))
            for s in settlements
            if s.outcome == "retry"
        ]
        lost = set(await queue.settle_many(retried))
        refused += [_refusal(reference, lease_lost(reference)) for reference in sorted(lost)]
        async with self._ledger.read() as tx:
            standings = await work.standing(tx, [r.reference for r in retried if r.reference not in lost]) if retried else {}
        return Settled(settled=(*taken, *map(_as_it_stands, standings.values())), refused=tuple(refused))

    async def by_reference(self, reference: str, action: Action, caller: Caller, *, idempotency: tuple[str, str] | None = None) -> Acted:
        """Take an action that needs no lease: reopen, prioritise, withdraw, requeue."""
        request = Request(
            reference=reference, action=action, actor=caller.name[:128], department=caller.department, idempotency=idempotency
        )
        answer = (await self._counted([request]))[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer.acted

    async def requeue(self, department: str, reference: str, action: Action, caller: Caller) -> Acted:
        """A dead letter is to be tried again: in the ledger, and in Redis where it still lies among the dead."""
        queue = self.queue(department, caller)
        await self.sweep_dead(queue)
        done = await self.by_reference(reference, action, caller)
        await _revive(queue, reference)
        return done

    async def waiting(self, department: str, caller: Caller, limit: int = 50) -> QueueView:
        """How the queue stands, and what is next."""
        queue = self.queue(department, caller)
        counts = await queue.counts()
        places = (Place.READY, Place.LEASED, Place.DELAYED)
        found = await asyncio.gather(*(queue.entries(place, limit) for place in places))
        async with self._ledger.read() as tx:
            dead = await work.count_dead(tx, department)
        return QueueView(
            department=department,
            ready=counts.ready,
            leased=counts.leased,
            delayed=counts.delayed,
            dead=dead,
            oldest_age=counts.oldest_age,
            waiting=tuple(views.waiting(entry) for entries in found for entry in entries),
        )

    async def dead(self, department: str, caller: Caller, limit: int = 100) -> Page:
        """Dead letters, newest first, those included whose lease ran out too often a moment ago."""
        queue = self.queue(department, caller)
        await self.sweep_dead(queue)
        async with self._ledger.read() as tx:
            return Page(complaints=tuple(views.summary(s) for s in await work.dead(tx, department, limit)))

    async def sweep_dead(self, queue: DepartmentQueue) -> int:
        """Bring the queue's dead letters and the ledger's together; how many the ledger did not know.

        An item whose leases ran out too often died in Redis alone: the ledger learns of it. One whose complaint has been opened again
        since (the customer wrote) comes alive; one that is no longer this department's leaves.
        """
        learnt = 0
        entries = await queue.entries(Place.DEAD, DEAD_AT_ONCE)
        async with self._ledger.read() as tx:
            standings = await work.standing(tx, [entry.reference for entry in entries]) if entries else {}
        for entry in entries:
            standing = standings.get(entry.reference)
            if standing is None or standing.work not in ("open", "dead") or standing.complaint.department != queue.department:
                await queue.withdraw(entry.reference)
            elif standing.work == "open" and standing.complaint.updated_at.timestamp() > entry.at:
                await _revive(queue, entry.reference)
            elif standing.work == "open":
                bury = Request(reference=entry.reference, action=Bury(reason=entry.reason or "lease expired"), actor="queue")
                outcome = (await self.actions.many([bury]))[0]
                learnt += isinstance(outcome, Outcome)
        return learnt

    async def sweep_all_dead(self) -> int:
        """`sweep_dead` for every department; for the router's timers."""
        return sum([await self.sweep_dead(queue) for queue in self._queues.values()])

    async def story(self, reference: str, caller: Caller) -> WholeStory:
        """Everything about one complaint, for its department or the operator. Raises UnknownReference."""
        async with self._ledger.read() as tx:
            found = (await work.standing(tx, [reference])).get(reference)
            if found is None or not caller.may_touch(found.complaint.department):
                raise UnknownReference(f"There is no complaint {reference} here. Check the reference, and whose key this is.")
            said = (await work.submissions_of(tx, [reference])).get(reference, [])
            events = await complaints.history(tx, reference)
            due = await deadlines.of_complaint(tx, reference)
            told = await notices.of_complaint(tx, reference)
        return views.story(found, said, events, due, told)

    async def listed(self, caller: Caller, *, state: str, department: str, customer: str, after: str, limit: int) -> Page:
        """A page of complaints, newest day first; a department sees its own."""
        async with self._ledger.read() as tx:
            found = await work.listed(
                tx, state=state, department=caller.department or department, customer=customer, after=after, limit=limit + 1
            )
        shown = found[:limit]
        return Page(complaints=tuple(views.summary(s) for s in shown), next=shown[-1].complaint.reference if len(found) > limit else "")

    def _of_token(self, reference: str, token: str, caller: Caller) -> tuple[DepartmentQueue, str]:
        """The queue a token is of, and the token as the queue knows it. Raises LeaseLost for one that is not the caller's."""
        department, _, bare = token.rpartition(":")
        queue = self._queues.get(department)
        if queue is None or not bare or not caller.may_touch(department):
            raise lease_lost(reference)
        return queue, bare

    async def _standing(self, reference: str) -> Standing:
        async with self._ledger.read() as tx:
            found = (await work.standing(tx, [reference])).get(reference)
        if found is None:
            raise UnknownReference(f"There is no complaint {reference}. Check the reference; it looks like C261121-7K3QXP.")
        return found

    async def _counted(self, requests: Sequence[Request]) -> list[Outcome | BaseException]:
        answers = await self.actions.many(requests) if requests else []
        for request, answer in zip(requests, answers, strict=True):
            outcome = answer.code if isinstance(answer, DeskError) else "failed" if isinstance(answer, BaseException) else "taken"
            ACTED.labels(type(request.action).__name__.lower(), outcome).inc()
        return answers


async def _awaited(work_comes: Awaitable[bool], ends: Sequence[Awaitable[object]]) -> bool:
    """Whether to look into the queue again: False when the time is over or one of `ends` came first."""
    comes, goes = asyncio.ensure_future(work_comes), [asyncio.ensure_future(end) for end in ends]
    try:
        await asyncio.wait({comes, *goes}, return_when=asyncio.FIRST_COMPLETED)
        return comes.done() and not any(end.done() for end in goes) and comes.result()
    finally:
        for waiting in (comes, *goes):
            waiting.cancel()
        await asyncio.gather(comes, *goes, return_exceptions=True)


async def _quietly(queue: DepartmentQueue, settlements: Sequence[Settlement]) -> None:
    """End leases whose work the ledger has already decided. Failing to is harmless: the lease runs out and the item is found stale."""
    if not settlements:
        return
    try:
        await queue.settle_many(settlements)
    except TemporaryFailure as error:
        log.warning("lease.left_to_expire", department=queue.department, count=len(settlements), reason=error.message)


async def _revive(queue: DepartmentQueue, reference: str) -> None:
    try:
        await queue.requeue(reference)
    except UnknownReference:
        log.debug("requeue.not_in_redis", reference=reference)  # the relay puts it: Redis was emptied since


def _by_lease(reference: str, action: Action, department: str, token: str, caller: Caller, ends: LeaseEnd | None) -> Request:
    actor = f"{department}/{caller.name}"[:128]
    return Request(reference=reference, action=action, actor=actor, department=department, token=token, ends=ends)


def _ending(settlement: Settle) -> tuple[Action, LeaseEnd]:
    if settlement.outcome == "dead":
        return Bury(reason=settlement.reason), Dead(settlement.reason)
    return Finish(resolution=settlement.resolution), Done()


def _leased(department: str, lease: Lease, outcome: Outcome) -> Leased:
    return Leased(
        reference=lease.reference,
        token=f"{department}:{lease.token}",
        expires_at=views.instant(lease.expires_at),
        attempts=lease.attempts,
        complaint=views.dossier(outcome.case.standing, outcome.case.said),
    )


def _bare(token: str, department: str) -> str:
    """The token as the queue knows it; one of another department is no token of this queue's."""
    of, _, bare = token.rpartition(":")
    return bare if of == department and bare else NOT_OURS


def _as_it_stands(standing: Standing) -> Acted:
    c = standing.complaint
    return Acted(reference=c.reference, state=c.state, version=c.version, work=standing.work)


def _refusal(reference: str, error: DeskError) -> Refused:
    return Refused(reference=reference, code=error.code, detail=error.message)
