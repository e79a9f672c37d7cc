"""The spine of intake: what arrived becomes a complaint, a follow-up or a repeat, in one transaction a batch, and gets its receipt.

`look` reads what the ledger knows about a batch, `plan` (pure) decides what each arrival becomes, `write` stores all of it at once.
Uniqueness is the database's: when somebody else was first, the whole batch looks again. Nothing here parses, sends or serves.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from services.intake.reach import acknowledge
from shared.complaint import Complaint, Customer, Deadline, Event, Identity, Locale, Notice, State, Submission
from shared.errors import KeyReused, Raced, TemporaryFailure
from shared.language import detect
from shared.ledger import Ledger, complaints, customers, deadlines, idempotency, notices, outbox, submissions
from shared.ledger.outbox import Entry, Topic
from shared.lifecycle import TRANSITIONS, after
from shared.references import dedupe_key, new_reference, read_reference, read_reply_token, tracking_token

BATCH = 64
TRIES = 8
TAKES_FOLLOW_UPS = TRANSITIONS["followed_up"][0]
INLINE_RAW = 65_536
"""Raw bytes up to this size lie in the ledger's row; larger ones in the blob store under their sha256."""


class Outcome(StrEnum):
    """What an arrival became. REPEATED: taken before, gets its first answer again. HELD: belongs to no complaint; into quarantine."""

    ACCEPTED = "accepted"
    FOLLOW_UP = "follow_up"
    RECORDED = "recorded"
    REPEATED = "repeated"
    HELD = "held"


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """A submission at the door with the bytes it was made of.

    raw_blob: sha256 under which the caller already stored the raw bytes in the blob store, for those too large for a row.
    idempotency: (key, fingerprint) of an HTTP request that carried an Idempotency-Key.
    """

    submission: Submission
    raw: bytes
    received_at: datetime
    raw_blob: str = ""
    headers: Mapping[str, str] = {}
    idempotency: tuple[str, str] | None = None


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What the sender is told. tracking: the secret part of the progress link; empty unless the arrival belongs to a complaint."""

    outcome: Outcome
    reference: str = ""
    tracking: str = ""
    locale: Locale = Locale.ZH_CN


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What `plan` needs of the policy and the settings.

    window: how long an order number joins a later submission to its complaint. deadlines: those that run from acceptance. opens_at: for an
    instant out of hours, when people are back; None in working time.
    """

    secret: bytes
    acknowledge: bool
    window: timedelta
    deadlines: Callable[[datetime], tuple[Deadline, ...]]
    opens_at: Callable[[datetime], datetime | None]


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger knew about a batch before it was planned."""

    answers: Mapping[str, tuple[str, str]]
    owners: Mapping[tuple[str, str], str]
    threads: Mapping[tuple[str, str], str]
    matters: Mapping[tuple[str, str], str]
    complaints: Mapping[str, Complaint]
    keys: Mapping[str, tuple[str, str]]


class Plan(msgspec.Struct, kw_only=True):
    """Everything one batch writes, and the answer to each arrival in its order (a receipt, or the refusal of one)."""

    answers: list[Receipt | Exception] = []
    submissions: list[dict[str, Any]] = []
    complaints: list[Complaint] = []
    changed: dict[str, tuple[int, Complaint]] = {}
    reopened: set[str] = set()
    events: list[Event] = []
    deadlines: list[tuple[str, Deadline]] = []
    notices: list[Notice] = []
    outbox: list[Entry] = []
    customers: list[tuple[str, Customer, datetime]] = []
    identities: list[tuple[str, Identity]] = []
    threads: dict[tuple[str, str], str] = {}
    moved_threads: dict[tuple[str, str], str] = {}
    matters: dict[tuple[str, str], tuple[str, datetime]] = {}
    idempotency: list[idempotency.Answered] = []


class Accept:
    """Group commit: what arrives while a transaction runs is taken together by the next one.

    `forward` is called with the outbox entries of each committed batch; it must return at once.
    """

    def __init__(self, ledger: Ledger, rules: Rules, forward: Callable[[Sequence[Entry]], None]) -> None:
        self._ledger = ledger
        self._rules = rules
        self._forward = forward
        self._waiting: list[tuple[Arrival, asyncio.Future[Receipt]]] = []
        self._wake = asyncio.Event()

    async def one(self, arrival: Arrival) -> Receipt:
        """The receipt, once the arrival is safely in the ledger. Raises TemporaryFailure (nothing stored) or KeyReused."""
        answer: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._waiting.append((arrival, answer))
        self._wake.set()
        return await answer

    async def many(self, arrivals: Sequence[Arrival]) -> list[Receipt | BaseException]:
        """One answer an arrival, in order; what one arrival raised does not touch the others."""
        return await asyncio.gather(*(self.one(a) for a in arrivals), return_exceptions=True)

    async def run(self) -> None:
        """Commit batches until cancelled; what waits at that moment is told to come again."""
        try:
            while True:
                await self._wake.wait()
                batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
                if not self._waiting:
                    self._wake.clear()
                if batch:
                    await self._answer(batch)
        finally:
            for _, answer in self._waiting:
                if not answer.done():
                    answer.set_exception(TemporaryFailure("The desk is stopping. Send it again in a moment.", retry_after=5))

    async def _answer(self, batch: list[tuple[Arrival, asyncio.Future[Receipt]]]) -> None:
        try:
            plan = await self._commit([arrival for arrival, _ in batch])
        except Exception as error:
            if len(batch) > 1 and not isinstance(error, TemporaryFailure):
                for single in batch:  # one arrival that cannot be stored must not take the others with it
                    await self._answer([single])
                return
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
            return
        for (_, answer), receipt in zip(batch, plan.answers, strict=True):
            if answer.done():
                continue
            if isinstance(receipt, Exception):
                answer.set_exception(receipt)
            else:
                answer.set_result(receipt)
        self._forward(plan.outbox)

    async def _commit(self, arrivals: Sequence[Arrival]) -> Plan:
        keys = [dedupe_key(a.submission, a.raw) for a in arrivals]
        for _ in range(TRIES):
            try:
                async with self._ledger.write() as tx:
                    known = await look(tx, arrivals, keys, self._rules)
                    planned = plan(arrivals, keys, known, self._rules)
                    await write(tx, planned)
            except (IntegrityError, Raced):
                continue  # somebody else was first with one of these, or a drawn reference was taken: look again
            return planned
        raise TemporaryFailure("The ledger is too busy to take this. Send it again in a moment.", retry_after=2)


async def look(tx: AsyncConnection, arrivals: Sequence[Arrival], keys: Sequence[str], rules: Rules) -> Known:
    """Read all that could bear on these arrivals, a handful of statements for the whole batch."""
    now = datetime.now(UTC)
    wanted = {(i.kind, i.value) for a in arrivals for i in a.submission.customer.identities}
    thread_keys = {key for a in arrivals for key in thread_keys_of(a.submission)}
    named = {ref for a in arrivals for ref in (_by_token(a.submission, rules.secret), read_reference(a.submission.subject)) if ref}
    answers = await submissions.first_answers(tx, keys)
    owners = await customers.by_identity(tx, sorted(wanted))
    threads = await complaints.by_thread(tx, sorted(thread_keys))
    orders = sorted(
        {
            (owners[i.kind, i.value], a.submission.order_number)
            for a in arrivals
            if a.submission.order_number
            for i in a.submission.customer.identities
            if (i.kind, i.value) in owners
        }
    )
    matters = await complaints.open_matters(tx, orders, now)
    references = named | set(threads.values()) | set(matters.values()) | {ref for ref, _ in answers.values()}
    found = await complaints.get_many(tx, sorted(references - {""}))
    heads = {c.joined_to for c in found.values() if c.joined_to} - set(found)
    found |= await complaints.get_many(tx, sorted(heads))
    used = await idempotency.find(tx, [a.idempotency[0] for a in arrivals if a.idempotency], now)
    return Known(answers=answers, owners=owners, threads=threads, matters=matters, complaints=found, keys=used)


async def write(tx: AsyncConnection, planned: Plan) -> None:
    """Store a whole plan. Raises IntegrityError when any of it was taken by somebody else meanwhile; then nothing is stored."""
    await customers.insert_new(tx, planned.customers, planned.identities)
    await complaints.insert_new(tx, planned.complaints)
    await submissions.insert_new(tx, planned.submissions)
    await complaints.save(tx, planned.changed.values(), work={r: {"work": "open"} for r in planned.reopened})
    await complaints.add_events(tx, planned.events)
    await complaints.add_threads(tx, [(k, v, r) for (k, v), r in planned.threads.items()])
    await complaints.move_threads(tx, [(k, v, r) for (k, v), r in planned.moved_threads.items()])
    await complaints.add_matters(tx, [(c, o, r, u) for (c, o), (r, u) in planned.matters.items()], datetime.now(UTC))
    await deadlines.add(tx, planned.deadlines)
    await notices.add(tx, planned.notices)
    await outbox.add(tx, planned.outbox, datetime.now(UTC))
    await idempotency.add(tx, planned.idempotency)


def plan(arrivals: Sequence[Arrival], keys: Sequence[str], known: Known, rules: Rules) -> Plan:
    """What each arrival becomes, given what the ledger knows and what came earlier in the same batch. Pure but for drawn random names."""
    planner = _Planner(known, rules)
    for arrival, key in zip(arrivals, keys, strict=True):
        planner.take(arrival, key)
    return planner.plan


def thread_keys_of(submission: Submission) -> list[tuple[str, str]]:
    """The keys under which a later submission of the same conversation looks for its complaint, nearest first."""
    if submission.conversation:
        return [("conversation", f"{submission.source}:{submission.account}:{submission.conversation}"[:512])]
    if submission.thread is None:
        return []
    ids = [submission.thread.in_reply_to, *reversed(submission.thread.references)]
    return list(dict.fromkeys(("message_id", i[:512]) for i in ids if i))


def _by_token(submission: Submission, secret: bytes) -> str | None:
    """The complaint a mail names by our keyed reply address or keyed Message-ID."""
    if submission.thread is None:
        return None
    thread = submission.thread
    original = submission.bounce.original_id if submission.bounce else ""
    for value in (*thread.recipients, thread.in_reply_to, *reversed(thread.references), original):
        reference = read_reply_token(value, secret) if value else None
        if reference:
            return reference
    return None


class _Planner:
    """Works one batch through in order; what an earlier arrival made is known to the later ones."""

    def __init__(self, known: Known, rules: Rules) -> None:
        self.plan = Plan()
        self._known = known
        self._rules = rules
        self._answers = dict(known.answers)
        self._owners = dict(known.owners)
        self._threads = dict(known.threads)
        self._matters = dict(known.matters)
        self._complaints = dict(known.complaints)
        self._keys = dict(known.keys)

    def take(self, arrival: Arrival, key: str) -> None:
        if arrival.idempotency and (used := self._keys.get(arrival.idempotency[0])):
            fingerprint, reference = used
            same = fingerprint == arrival.idempotency[1]
            self.plan.answers.append(self._receipt(Outcome.REPEATED, reference) if same else KeyReused())
            return
        if key in self._answers:
            self.plan.answers.append(self._receipt(Outcome.REPEATED, self._answers[key][0]))
            return
        customer = self._customer(arrival)
        found, proven = self._find(arrival.submission, customer)
        if arrival.submission.automatic or arrival.submission.bounce:
            receipt = self._record(arrival, key, found) if found else Receipt(outcome=Outcome.HELD)
        elif found and found.state in TAKES_FOLLOW_UPS:
            receipt = self._follow_up(arrival, key, found)
            if not proven:  # a typed address and order number may be a stranger's: no link into somebody's complaint
                receipt = msgspec.structs.replace(receipt, tracking="")
        else:
            receipt = self._open(arrival, key, customer, found)
        self.plan.answers.append(receipt)
        if arrival.idempotency and receipt.reference:
            name, fingerprint = arrival.idempotency
            self._keys[name] = (fingerprint, receipt.reference)
            self.plan.idempotency.append(idempotency.Answered(name, fingerprint, receipt.reference, arrival.received_at))

    def _customer(self, arrival: Arrival) -> str:
        """The id of the customer by any identity; a new one where none is known."""
        known = arrival.submission.customer.identities
        owner = next((self._owners[i.kind, i.value] for i in known if (i.kind, i.value) in self._owners), None)
        if arrival.submission.automatic or arrival.submission.bounce:
            return owner or ""
        if owner is None:
            owner = "U" + secrets.token_hex(10)
            self.plan.customers.append((owner, arrival.submission.customer, arrival.received_at))
        for identity in known:
            if (identity.kind, identity.value) not in self._owners:
                self._owners[identity.kind, identity.value] = owner
                self.plan.identities.append((owner, identity))
        return owner

    def _find(self, submission: Submission, customer: str) -> tuple[Complaint | None, bool]:
        """The complaint this belongs to, and whether that is proven. A keyed token proves itself; all else counts only from the same
        customer, and proves something only where the channel itself vouches for the sender."""
        token = _by_token(submission, self._rules.secret)
        if token and token in self._complaints:
            return self._head(token), True
        candidates = [self._threads.get(key) for key in thread_keys_of(submission)]
        candidates.append(read_reference(submission.subject))
        candidates.append(self._matters.get((customer, submission.order_number)) if submission.order_number else None)
        for reference in candidates:
            complaint = self._complaints.get(reference) if reference else None
            if complaint and complaint.customer_id == customer:
                return self._head(complaint.reference), any(i.verified for i in submission.customer.identities)
        return None, False

    def _head(self, reference: str) -> Complaint:
        """A joined complaint hands everything on to the one it was joined to."""
        complaint = self._complaints[reference]
        return self._complaints.get(complaint.joined_to, complaint)

    def _open(self, arrival: Arrival, key: str, customer: str, earlier: Complaint | None) -> Receipt:
        submission, at = arrival.submission, arrival.received_at
        reference = new_reference(at)
        language = detect(f"{submission.subject}\n{submission.text}") or _locale(submission.language)
        complaint = Complaint(
            reference=reference,
            state=State.RECEIVED,
            channel=submission.channel,
            source=submission.source,
            account=submission.account,
            customer_id=customer,
            received_at=at,
            updated_at=at,
            language=language,
            subject=submission.subject[:500],
            order_number=submission.order_number[:64],
            conversation=submission.conversation,
            linked_to=earlier.reference if earlier else "",
        )
        self._complaints[reference] = complaint
        self.plan.complaints.append(complaint)
        self._store(arrival, key, reference, "complaint")
        detail: dict[str, Any] = {"channel": submission.channel, "source": submission.source, "dedupe_key": key}
        if earlier:
            detail["linked_to"] = earlier.reference
        self.plan.events.append(Event(reference, 1, at, "received", "customer", detail))
        due = self._rules.deadlines(at)
        self.plan.deadlines += [(reference, d) for d in due]
        self.plan.outbox.append(Entry(f"received/{reference}", Topic.RECEIVED, reference))
        if self._rules.acknowledge and (notice := acknowledge(complaint, submission, due, self._rules.opens_at(at))):
            self.plan.notices.append(notice)
            self.plan.outbox.append(Entry(f"notice/{notice.key}", Topic.NOTICE, notice.key))
        self._remember(submission, complaint)
        return self._receipt(Outcome.ACCEPTED, reference)

    def _follow_up(self, arrival: Arrival, key: str, complaint: Complaint) -> Receipt:
        at = arrival.received_at
        state = after(complaint.state, "followed_up")
        changed = msgspec.structs.replace(complaint, state=state, version=complaint.version + 1, updated_at=at)
        self._change(changed)
        self._store(arrival, key, complaint.reference, "follow_up")
        detail = {"channel": arrival.submission.channel, "source": arrival.submission.source, "dedupe_key": key}
        self.plan.events.append(Event(complaint.reference, changed.version, at, "followed_up", "customer", detail))
        if complaint.state is not State.RECEIVED:
            # the department sees it at once: the work is opened again and its queue told
            self.plan.reopened.add(complaint.reference)
            self.plan.outbox.append(Entry(f"assigned/{complaint.reference}/{changed.version}", Topic.ASSIGNED, complaint.reference))
        self._remember(arrival.submission, changed)
        return self._receipt(Outcome.FOLLOW_UP, complaint.reference)

    def _record(self, arrival: Arrival, key: str, complaint: Complaint) -> Receipt:
        """Machines' mail is kept with the complaint; it changes no state and gets no answer."""
        changed = msgspec.structs.replace(complaint, version=complaint.version + 1, updated_at=complaint.updated_at)
        self._change(changed)
        self._store(arrival, key, complaint.reference, "automatic")
        bounce = arrival.submission.bounce
        kind = "bounced" if bounce else "auto_replied"
        detail = {"permanent": bounce.permanent, "recipients": len(bounce.recipients)} if bounce else {"dedupe_key": key}
        self.plan.events.append(Event(complaint.reference, changed.version, arrival.received_at, kind, "machine", detail))
        return self._receipt(Outcome.RECORDED, complaint.reference)

    def _change(self, changed: Complaint) -> None:
        """Several follow-ups in one batch raise the version step by step, but a complaint new in this batch is simply written so."""
        self._complaints[changed.reference] = changed
        for n, new in enumerate(self.plan.complaints):
            if new.reference == changed.reference:
                self.plan.complaints[n] = changed
                return
        self.plan.changed[changed.reference] = (self._known.complaints[changed.reference].version, changed)

    def _store(self, arrival: Arrival, key: str, reference: str, role: str) -> None:
        self._answers[key] = (reference, role)
        self.plan.submissions.append(
            {
                "dedupe_key": key,
                "reference": reference,
                "role": role,
                "received_at": arrival.received_at,
                "body": msgspec.json.encode(arrival.submission).decode(),
                "raw": None if arrival.raw_blob else arrival.raw,
                "raw_blob": arrival.raw_blob,
                "headers": msgspec.json.encode(arrival.headers).decode(),
            }
        )

    def _remember(self, submission: Submission, complaint: Complaint) -> None:
        """Leave the keys by which later submissions find this complaint; a closed complaint's keys move to its successor."""
        own = thread_keys_of(submission) if submission.conversation else []
        if submission.thread and submission.thread.message_id:
            own = [("message_id", submission.thread.message_id[:512])]
        for key in own:
            held_by = self._threads.get(key)
            if held_by == complaint.reference:
                continue
            target = self.plan.moved_threads if held_by and key not in self.plan.threads else self.plan.threads
            target[key] = complaint.reference
            self._threads[key] = complaint.reference
        if submission.order_number:
            matter = (complaint.customer_id, submission.order_number[:64])
            if matter not in self._matters:
                self._matters[matter] = complaint.reference
                self.plan.matters[matter] = (complaint.reference, complaint.received_at + self._rules.window)

    def _receipt(self, outcome: Outcome, reference: str) -> Receipt:
        if not reference:
            return Receipt(outcome=outcome)
        complaint = self._complaints.get(reference)
        locale = _locale(complaint.language) if complaint else Locale.ZH_CN
        return Receipt(outcome=outcome, reference=reference, tracking=tracking_token(reference, self._rules.secret), locale=locale)


def _locale(language: str) -> Locale:
    """The locale we write in for a language tag as platforms send them: zh-hant, zh_TW, zh-HK, en-GB, ..."""
    tag = language.lower().replace("_", "-")
    if tag.startswith(("zh-tw", "zh-hk", "zh-mo", "zh-hant")):
        return Locale.ZH_TW
    return Locale.ZH_CN if not tag or tag.startswith("zh") else Locale.EN
