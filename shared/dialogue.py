"""What departments and the desk say to each other: the actions a department takes on a complaint, and the desk's answers.

The same structs are the bodies of the HTTP API, the arguments of the Python client and the input of the router's planning. Values only:
nothing here decides or reaches anything. Instants are aware (RFC 3339 with an offset); lengths are bounds, so that a slip of a program
never fills a customer's screen.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from shared.complaint import Category, Channel, Decision, Priority, State
from shared.notice_details import MissingFact, Option
from shared.queues.contract import LONGEST_DELAY, LONGEST_LEASE, LONGEST_REASON, MOST_AT_ONCE

Words = Annotated[str, msgspec.Meta(pattern=r"\S", max_length=4000)]
MaybeWords = Annotated[str, msgspec.Meta(max_length=4000)]
Why = Annotated[str, msgspec.Meta(pattern=r"\S", max_length=LONGEST_REASON)]
MaybeWhy = Annotated[str, msgspec.Meta(max_length=LONGEST_REASON)]
Instant = Annotated[datetime, msgspec.Meta(tz=True)]
Seconds = Annotated[float, msgspec.Meta(ge=1, le=LONGEST_LEASE)]
LONGEST_WAIT = 30.0


class Action(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what may be done with a complaint."""


class Progress(Action, frozen=True, kw_only=True):
    """The department found or did something. note: into the history, and to the customer where tell_customer says so."""

    note: Words
    tell_customer: bool = False


class Ask(Action, frozen=True, kw_only=True):
    """The customer is asked for what is missing, all in one message: a question in own words, known facts, or both.

    answer_by: until when the customer is asked to answer; left out, as long as the policy's follow-up clock. Clocks that pause stand still
    until then.
    """

    question: MaybeWords = ""
    fields: Annotated[tuple[MissingFact, ...], msgspec.Meta(max_length=20)] = ()
    answer_by: Instant | None = None

    def __post_init__(self) -> None:
        if not self.question.strip() and not self.fields:
            raise ValueError("nothing is asked: give `question`, `fields` or both")


class Propose(Action, frozen=True, kw_only=True):
    """A solution with its options, each with a date (docs/domain.md section 6)."""

    options: Annotated[tuple[Option, ...], msgspec.Meta(min_length=1, max_length=10)]
    cause: MaybeWords = ""
    answer_by: Instant | None = None


class Answer(Action, frozen=True, kw_only=True):
    """The customer accepted or refused the proposed solution."""

    accepted: bool
    note: MaybeWords = ""


class Transfer(Action, frozen=True, kw_only=True):
    """The complaint is another department's. category: the right one, where the desk had it wrong."""

    department: str
    reason: Why
    category: Category | None = None


class Resolve(Action, frozen=True, kw_only=True):
    """The trouble is put right. The customer is told cause, measure and improvement, not just "resolved" (docs/domain.md section 5)."""

    cause: Words
    measure: Words
    improvement: MaybeWords = ""
    tell_customer: bool = True


class Reopen(Action, frozen=True, kw_only=True):
    """The customer is not satisfied with the result: the department has the complaint again, with new clocks."""

    reason: Why


class Prioritise(Action, frozen=True, kw_only=True):
    """The complaint is more or less pressing than the desk thought. due_by: a new time for the department's answer, where it changes."""

    priority: Priority
    due_by: Instant | None = None
    reason: Why


class Withdraw(Action, frozen=True, kw_only=True):
    """There is nothing to be done: the customer took it back, or it is no complaint. It is closed without a notice."""

    reason: Why


class Requeue(Action, frozen=True, kw_only=True):
    """A dead letter is to be tried again."""

    reason: MaybeWhy = ""


class Claiming(Action, frozen=True, kw_only=True):
    """A lease was given on the complaint (made by a claim, not sent by anybody)."""

    department: str


class Finish(Action, frozen=True, kw_only=True):
    """The department's work is done; with a resolution, the complaint is resolved by the same step."""

    resolution: Resolve | None = None


class Bury(Action, frozen=True, kw_only=True):
    """The department cannot do it: a dead letter with its reason, until somebody requeues it."""

    reason: Why


class ClaimRequest(Action, frozen=True, kw_only=True):
    """n: at most so many. wait: how long the answer may be held back while there is nothing to do. worker: who works, for the history."""

    n: Annotated[int, msgspec.Meta(ge=1, le=MOST_AT_ONCE)] = 1
    lease_seconds: Seconds = 60.0
    wait: Annotated[float, msgspec.Meta(ge=0, le=LONGEST_WAIT)] = 0.0
    worker: Annotated[str, msgspec.Meta(max_length=64)] = ""


class Extend(Action, frozen=True, kw_only=True):
    """The lease ends lease_seconds from now."""

    token: str
    lease_seconds: Seconds = 60.0


class Settle(Action, frozen=True, kw_only=True):
    """How the lease ends: done (with a resolution, unless the customer was told or asked something already), retry, or dead with a reason.

    delay: seconds until a retry is ready again.
    """

    token: str
    outcome: Literal["done", "retry", "dead"]
    resolution: Resolve | None = None
    delay: Annotated[float, msgspec.Meta(ge=0, le=LONGEST_DELAY)] = 0.0
    reason: MaybeWhy = ""

    def __post_init__(self) -> None:
        if self.outcome == "dead" and not self.reason.strip():
            raise ValueError("a dead letter needs a `reason` that tells the staff what to do")
        if self.outcome != "done" and self.resolution is not None:
            raise ValueError("a `resolution` goes with the outcome done only")


class SettleOne(Settle, frozen=True, kw_only=True):
    """One of many settlements."""

    reference: str


class File(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Evidence. sha256: its name under /complaints/{reference}/files/{sha256}; empty while it still lies with the platform."""

    filename: str
    media_type: str
    size: int = 0
    sha256: str = ""


class Said(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing the customer sent. role: complaint or follow_up."""

    at: datetime
    channel: Channel
    role: str
    text: str
    subject: str = ""
    files: tuple[File, ...] = ()


class Contact(msgspec.Struct, frozen=True):
    """One way to reach the customer: email, phone, or a platform's word."""

    kind: str
    value: str


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A complaint in a list: no text of the customer's but the subject."""

    reference: str
    state: State
    channel: Channel
    received_at: datetime
    updated_at: datetime
    category: Category | None
    priority: Priority | None
    department: str
    subject: str = ""
    order_number: str = ""
    language: str = ""
    review: bool = False
    work: str = ""
    due_by: datetime | None = None
    reason: str = ""


class Dossier(Summary, frozen=True, kw_only=True):
    """A complaint as its department works it: with what the customer said, who they are, and why it was decided so."""

    customer: str = ""
    customer_id: str = ""
    contacts: tuple[Contact, ...] = ()
    product: str = ""
    model: str = ""
    purchased_at: str = ""
    demand: str = ""
    wanted_by: str = ""
    said: tuple[Said, ...] = ()
    resolution: str = ""
    linked_to: str = ""
    joined_to: str = ""
    decision: Decision | None = None
    version: int = 0


class Leased(msgspec.Struct, frozen=True, kw_only=True):
    """The right to work on a complaint until expires_at. The token goes with every action; attempts counts this claim too."""

    reference: str
    token: str
    expires_at: datetime
    attempts: int
    complaint: Dossier


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a claim. withdrawn: items met on the way that were no longer to be done and left the queue."""

    leases: tuple[Leased, ...]
    withdrawn: int = 0


class Extended(msgspec.Struct, frozen=True, kw_only=True):
    reference: str
    expires_at: datetime


class Acted(msgspec.Struct, frozen=True, kw_only=True):
    """Where the complaint stands after an action. notice: key of what was written to the customer, empty where nothing was.

    repeated: this Idempotency-Key was used before and the action was not taken again.
    """

    reference: str
    state: State
    version: int
    work: str
    notice: str = ""
    repeated: bool = False


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """Why one of many settlements was not taken."""

    reference: str
    code: str
    detail: str


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to many settlements."""

    settled: tuple[Acted, ...]
    refused: tuple[Refused, ...]


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """An item of a department's queue. place: ready, leased or delayed; at: since when, or until when."""

    reference: str
    place: str
    priority: Priority
    due_by: datetime
    attempts: int
    at: datetime
    worker: str = ""


class QueueView(msgspec.Struct, frozen=True, kw_only=True):
    """How a department's queue stands; `waiting` is in the order of claiming. oldest_age in seconds. dead: dead letters in the ledger."""

    department: str
    ready: int
    leased: int
    delayed: int
    dead: int
    oldest_age: float
    waiting: tuple[Waiting, ...]


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the history."""

    seq: int
    at: datetime
    kind: str
    actor: str
    detail: dict[str, Any]


class Clock(msgspec.Struct, frozen=True, kw_only=True):
    """One deadline and how it was reached."""

    clock: str
    due_by: datetime
    why: str
    met_at: datetime | None = None
    breached_at: datetime | None = None


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One notice to the customer. state: pending, sending, sent, dead or uncertain."""

    key: str
    kind: str
    source: str
    state: str
    created_at: datetime
    sent_at: datetime | None = None
    reason: str = ""


class WholeStory(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one complaint."""

    complaint: Dossier
    history: tuple[Line, ...]
    deadlines: tuple[Clock, ...]
    notices: tuple[Told, ...]


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page of complaints, newest day first. next: pass it as `after` for the next page; empty at the end."""

    complaints: tuple[Summary, ...]
    next: str = ""
