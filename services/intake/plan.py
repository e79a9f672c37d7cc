"""Decides what each arrival of a batch becomes: a complaint, a follow-up, a machine's mail on record, a repeat. Pure but for drawn names.

What the ledger knows comes in as `Known`, what it must store goes out as `Plan`; nothing here reads or writes.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from services.intake import machine_mail
from services.intake.acknowledge import acknowledge
from services.intake.arrival import Outcome, Ready, Receipt, Rules, named_by_token, order_of, own_keys_of, thread_keys_of
from services.intake.machine_mail import Correspondence, Told
from shared.complaint import Complaint, Customer, Deadline, Event, Identity, Locale, Notice, State, Submission
from shared.errors import KeyReused
from shared.language import detect
from shared.ledger.customers import Owner
from shared.ledger.idempotency import Answered
from shared.ledger.outbox import Entry, Topic
from shared.lifecycle import TRANSITIONS, WITH_DEPARTMENT, after
from shared.references import read_reference, tracking_token

TAKES_FOLLOW_UPS = TRANSITIONS["followed_up"][0]


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger knew about a batch before it was planned.

    answers: dedupe key -> (reference, role). owners: identity -> its customer. threads, matters: key -> reference. complaints: all that
    these name, and those they were joined to. keys: idempotency key -> (fingerprint, reference). letters: reference -> what was written
    about complaints that machines' mail speaks of.
    """

    answers: Mapping[str, tuple[str, str]] = {}
    owners: Mapping[tuple[str, str], Owner] = {}
    threads: Mapping[tuple[str, str], str] = {}
    matters: Mapping[tuple[str, str], str] = {}
    complaints: Mapping[str, Complaint] = {}
    keys: Mapping[str, tuple[str, str]] = {}
    letters: Mapping[str, Correspondence] = {}


class Plan(msgspec.Struct, kw_only=True):
    """Everything one batch writes, and the answer to each arrival in its order (a receipt, or the refusal of one).

    changed: reference -> (the version it was read with, the complaint). moved_*: keys of a closed complaint that now name its successor,
    with the reference they named before. came_back: (notice key, why). unusable: (kind, value, until, why) of identities.
    """

    answers: list[Receipt | Exception] = []
    submissions: list[dict[str, Any]] = []
    complaints: dict[str, Complaint] = {}
    changed: dict[str, tuple[int, Complaint]] = {}
    reopened: set[str] = set()
    events: list[Event] = []
    deadlines: list[tuple[str, Deadline]] = []
    notices: list[Notice] = []
    outbox: list[Entry] = []
    customers: list[tuple[str, Customer, datetime]] = []
    identities: list[tuple[str, Identity]] = []
    threads: dict[tuple[str, str], str] = {}
    moved_threads: dict[tuple[str, str], tuple[str, str]] = {}
    matters: dict[tuple[str, str], tuple[str, datetime]] = {}
    moved_matters: dict[tuple[str, str], tuple[str, str, datetime]] = {}
    idempotency: list[Answered] = []
    came_back: list[tuple[str, str]] = []
    unusable: list[tuple[str, str, datetime, str]] = []


def plan(batch: Sequence[Ready], known: Known, rules: Rules, draw: Callable[[datetime], str]) -> Plan:
    """What each arrival becomes, given what the ledger knows and what came earlier in the same batch. draw: gives fresh references."""
    planner = _Planner(known, rules, draw)
    for ready in batch:
        planner.take(ready)
    return planner.plan


def head(complaint: Complaint, known: Mapping[str, Complaint]) -> Complaint:
    """A joined complaint hands everything on to the one it was joined to, and that one perhaps to another."""
    seen = {complaint.reference}
    while complaint.joined_to in known and complaint.joined_to not in seen:
        seen.add(complaint.joined_to)
        complaint = known[complaint.joined_to]
    return complaint


class _Planner:
    """Works one batch through in order; what an earlier arrival made is known to the later ones."""

    def __init__(self, known: Known, rules: Rules, draw: Callable[[datetime], str]) -> None:
        self.plan = Plan()
        self._known = known
        self._rules = rules
        self._draw = draw
        self._answers = dict(known.answers)
        self._owners = dict(known.owners)
        self._threads = dict(known.threads)
        self._matters = dict(known.matters)
        self._complaints = dict(known.complaints)
        self._keys = dict(known.keys)
        self._letters = dict(known.letters)

    def take(self, ready: Ready) -> None:
        self.plan.answers.append(self._answer(ready))

    def _answer(self, ready: Ready) -> Receipt | Exception:
        name, fingerprint = ready.arrival.idempotency or ("", "")
        if name in self._keys and self._keys[name][0] != fingerprint:
            return KeyReused()
        customer = self._owner(ready)
        found, proven = self._find(ready.submission, customer)
        if ready.key in self._answers:
            reference, role = self._answers[ready.key]
            receipt = self._receipt(Outcome.REPEATED, reference)
            if name in self._keys:  # asked again under its Idempotency-Key: the first answer once more
                first = Outcome.ACCEPTED if role == "complaint" else Outcome.FOLLOW_UP
                receipt = msgspec.structs.replace(receipt, outcome=first, replayed=True)
            proven = role == "complaint" or (proven and found is not None and self._leads_to(reference, found))
        elif ready.machine:
            receipt = self._record(ready, found) if found else Receipt(outcome=Outcome.HELD)
        elif found and found.state in TAKES_FOLLOW_UPS:
            self._own(ready, customer)
            receipt = self._follow_up(ready, found)
        else:
            receipt, proven = self._open(ready, self._own(ready, customer or self._new_customer(ready)), found), True
        if name and name not in self._keys and receipt.reference:
            self._keys[name] = (fingerprint, receipt.reference)
            self.plan.idempotency.append(Answered(name, fingerprint, receipt.reference, ready.arrival.received_at))
        # a typed address and order number may be a stranger's: no link into somebody's complaint
        return receipt if proven else msgspec.structs.replace(receipt, tracking="")

    def _owner(self, ready: Ready) -> str:
        """The customer who owns an identity of the sender's, '' where none is known. Where the channel vouches for some of the identities,
        only those count: what somebody typed never ties a proven identity to another person's name."""
        told = ready.submission.customer.identities
        for identity in [i for i in told if i.verified] or told:
            owner = self._owners.get((identity.kind, identity.value))
            if owner:
                return owner.customer_id
        return ""

    def _new_customer(self, ready: Ready) -> str:
        # begins with the time, so that the newest customers lie together on the ledger's pages: random ids would touch a page each
        customer_id = f"U{int(ready.arrival.received_at.timestamp()):09x}{secrets.token_hex(6)}"
        self.plan.customers.append((customer_id, ready.submission.customer, ready.arrival.received_at))
        return customer_id

    def _own(self, ready: Ready, customer_id: str) -> str:
        """Identities nobody owned yet are this customer's from now on."""
        for identity in ready.submission.customer.identities if customer_id else ():
            if (identity.kind, identity.value) not in self._owners:
                self._owners[identity.kind, identity.value] = Owner(customer_id, identity.verified)
                self.plan.identities.append((customer_id, identity))
        return customer_id

    def _find(self, submission: Submission, customer: str) -> tuple[Complaint | None, bool]:
        """The complaint this belongs to, and whether that is proven. A keyed token proves itself; all else counts only from the same
        customer, and proves something only where the channel vouches for the sender now and did so when the customer became known."""
        token = named_by_token(submission, self._rules.secret)
        if token and token in self._complaints:
            return head(self._complaints[token], self._complaints), True
        candidates = [self._threads.get(key) for key in thread_keys_of(submission)]
        candidates.append(read_reference(submission.subject))
        candidates.append(self._matters.get((customer, order_of(submission))) if submission.order_number else None)
        for reference in candidates:
            complaint = self._complaints.get(reference) if reference else None
            if complaint and complaint.customer_id == customer:
                proof = Owner(customer, verified=True)
                vouched = any(i.verified and self._owners.get((i.kind, i.value)) == proof for i in submission.customer.identities)
                return head(complaint, self._complaints), vouched
        return None, False

    def _open(self, ready: Ready, customer: str, earlier: Complaint | None) -> Receipt:
        submission, at = ready.submission, ready.arrival.received_at
        reference = self._draw(at)
        while reference in self._complaints:
            reference = self._draw(at)
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
            order_number=order_of(submission),
            conversation=submission.conversation,
            linked_to=earlier.reference if earlier else "",
        )
        self._complaints[reference] = self.plan.complaints[reference] = complaint
        self._store(ready, reference, "complaint")
        detail: dict[str, Any] = {"channel": submission.channel, "source": submission.source, "dedupe_key": ready.key}
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

    def _follow_up(self, ready: Ready, complaint: Complaint) -> Receipt:
        at = ready.arrival.received_at
        state = after(complaint.state, "followed_up")
        changed = msgspec.structs.replace(complaint, state=state, version=complaint.version + 1, updated_at=at)
        self._change(changed)
        self._store(ready, complaint.reference, "follow_up")
        detail = {"channel": ready.submission.channel, "source": ready.submission.source, "dedupe_key": ready.key}
        self.plan.events.append(Event(complaint.reference, changed.version, at, "followed_up", "customer", detail))
        if complaint.state is not State.RECEIVED:
            # the department sees it at once: the work is opened again and its queue told
            self.plan.reopened.add(complaint.reference)
            self.plan.outbox.append(Entry(f"assigned/{complaint.reference}/{changed.version}", Topic.ASSIGNED, complaint.reference))
        self._remember(ready.submission, changed)
        return self._receipt(Outcome.FOLLOW_UP, complaint.reference)

    def _record(self, ready: Ready, complaint: Complaint) -> Receipt:
        """Machines' mail is kept with the complaint, changes no state and gets no answer. A notice that came back goes another way."""
        at = ready.arrival.received_at
        changed = msgspec.structs.replace(complaint, version=complaint.version + 1)
        self._change(changed)
        self._store(ready, complaint.reference, "automatic")
        named = named_by_token(ready.submission, self._rules.secret) or complaint.reference
        letters = self._letters.get(named, Correspondence())
        found = machine_mail.find(ready.submission, letters, self._rules.secret, at, self._rules.unusable_for)
        self.plan.events.append(Event(complaint.reference, changed.version, at, found.kind, "machine", found.detail))
        if found.came_back:
            self._came_back(found, changed)
            told = (Told(t.notice, "dead" if t.notice.key == found.came_back else t.state) for t in letters.told)
            more = (Told(found.notice, "pending"),) if found.notice else ()
            self._letters[named] = msgspec.structs.replace(letters, told=(*told, *more))
        return self._receipt(Outcome.RECORDED, complaint.reference)

    def _came_back(self, found: machine_mail.Finding, complaint: Complaint) -> None:
        self.plan.came_back.append((found.came_back, "It came back: the history of the complaint says why."))
        if found.unusable:
            self.plan.unusable.append(found.unusable)
        if found.notice:
            self.plan.notices.append(found.notice)
            self.plan.outbox.append(Entry(f"notice/{found.notice.key}", Topic.NOTICE, found.notice.key))
        if complaint.state in (*WITH_DEPARTMENT, State.RESOLVED):
            # its queue shows it again; where no other way is left, work that was put down is taken up
            if found.stuck:
                self.plan.reopened.add(complaint.reference)
            self.plan.outbox.append(Entry(f"assigned/{complaint.reference}/{complaint.version}", Topic.ASSIGNED, complaint.reference))

    def _change(self, changed: Complaint) -> None:
        """Several follow-ups in one batch raise the version step by step, but a complaint new in this batch is simply written so."""
        reference = changed.reference
        self._complaints[reference] = changed
        if reference in self.plan.complaints:
            self.plan.complaints[reference] = changed
        else:
            self.plan.changed[reference] = (self._known.complaints[reference].version, changed)

    def _store(self, ready: Ready, reference: str, role: str) -> None:
        arrival = ready.arrival
        self._answers[ready.key] = (reference, role)
        self.plan.submissions.append(
            {
                "dedupe_key": ready.key,
                "reference": reference,
                "role": role,
                "received_at": arrival.received_at,
                "body": ready.body,
                "raw": None if arrival.raw_blob else arrival.raw,
                "raw_blob": arrival.raw_blob,
                "headers": ready.headers,
            }
        )

    def _remember(self, submission: Submission, complaint: Complaint) -> None:
        """Leave the keys by which later submissions find this complaint; a key that names a closed one moves to its successor."""
        for key in own_keys_of(submission):
            held = self._threads.get(key, "")
            if self._gives_way(held, complaint):
                self._threads[key] = complaint.reference
                if held:
                    self.plan.moved_threads[key] = (held, complaint.reference)
                else:
                    self.plan.threads[key] = complaint.reference
        if submission.order_number:
            matter = (complaint.customer_id, order_of(submission))
            held = self._matters.get(matter, "")
            if self._gives_way(held, complaint):
                self._matters[matter] = complaint.reference
                until = complaint.received_at + self._rules.window
                if held:
                    self.plan.moved_matters[matter] = (held, complaint.reference, until)
                else:
                    self.plan.matters[matter] = (complaint.reference, until)

    def _gives_way(self, held: str, complaint: Complaint) -> bool:
        """Whether a key that names the complaint `held` may name this one: never while that one still takes follow-ups."""
        holder = self._complaints.get(held)
        if holder is None:
            return not held
        holder = head(holder, self._complaints)
        return holder.reference != complaint.reference and holder.state not in TAKES_FOLLOW_UPS

    def _leads_to(self, reference: str, found: Complaint) -> bool:
        first = self._complaints.get(reference)
        return first is not None and head(first, self._complaints).reference == found.reference

    def _receipt(self, outcome: Outcome, reference: str) -> Receipt:
        complaint = self._complaints.get(reference)
        locale = _locale(complaint.language) if complaint else Locale.ZH_CN
        return Receipt(outcome=outcome, reference=reference, tracking=tracking_token(reference, self._rules.secret), locale=locale)


def _locale(language: str) -> Locale:
    """The locale we write in for a language tag as platforms send them: zh-hant, zh_TW, zh-HK, en-GB, ..."""
    tag = language.lower().replace("_", "-")
    if tag.startswith(("zh-tw", "zh-hk", "zh-mo", "zh-hant")):
        return Locale.ZH_TW
    return Locale.ZH_CN if not tag or tag.startswith("zh") else Locale.EN
