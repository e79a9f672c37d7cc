"""The one schema: what came in (Submission), from whom (Customer), and what we made of it (Complaint, Event).

Pure data: frozen structs that decode strictly and know nothing of storage or transport. `desk schema` exports them as JSON Schema.

Evolution rules: a new field has a default; a field is never removed, renamed or given another type; a new enum member is added only
when every reader of the old release treats an unknown member as `other`; the meaning of an existing value never changes.
Instants are aware and in UTC. Money is not held here: remedies carry their own amounts.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec


class Schema(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of everything that crosses a process boundary."""


class Channel(StrEnum):
    """How the customer reached us. A `source` names the sort, for example social/wechat."""

    EMAIL = "email"
    WEB_FORM = "web_form"
    PHONE = "phone"
    SOCIAL = "social"
    CHAT = "chat"


class Category(StrEnum):
    """What the complaint is about (DOMAIN section 3)."""

    RETURN_EXCHANGE = "return_exchange"
    REFUND_ABNORMAL = "refund_abnormal"
    MISSING_ITEMS = "missing_items"
    COMPENSATION = "compensation"
    LOGISTICS_DELAY = "logistics_delay"
    LOGISTICS_LOST = "logistics_lost"
    LOGISTICS_REJECTED = "logistics_rejected"
    INVOICE_PAPER = "invoice_paper"
    INVOICE_ELECTRONIC = "invoice_electronic"
    PRODUCT_QUALITY = "product_quality"
    SERVICE_ATTITUDE = "service_attitude"
    SYSTEM_FAULT = "system_fault"
    OTHER = "other"


class Priority(StrEnum):
    """How pressing. `rank` sorts: 0 is the most pressing."""

    URGENT = "urgent"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"

    @property
    def rank(self) -> int:
        return PRIORITY_RANK[self]


PRIORITY_RANK = {Priority.URGENT: 0, Priority.HIGH: 1, Priority.NORMAL: 2, Priority.LOW: 3}


class Locale(StrEnum):
    """The languages we write in. A customer whose language is none of these gets zh-CN."""

    ZH_CN = "zh-CN"
    ZH_TW = "zh-TW"
    EN = "en"


class State(StrEnum):
    """Where a complaint stands; the legal moves are in shared/lifecycle.py."""

    RECEIVED = "received"
    ASSIGNED = "assigned"
    INVESTIGATING = "investigating"
    AWAITING_CUSTOMER = "awaiting_customer"
    SOLUTION_PROPOSED = "solution_proposed"
    RESOLVED = "resolved"
    CLOSED = "closed"
    JOINED = "joined"


class Identity(Schema, frozen=True):
    """One way to know or reach a customer, already normalised.

    kind: email (lower case), phone (E.164), or the source's own word (wechat, telegram, ...), where value is `account:user_id`.
    verified: the channel itself proved it (a platform's signed webhook, a login), not merely what somebody typed.
    """

    kind: str
    value: str
    verified: bool = False


class Customer(Schema, frozen=True):
    """Who complains, as far as this submission tells."""

    name: str = ""
    identities: tuple[Identity, ...] = ()
    tier: str = ""


class Attachment(Schema, frozen=True):
    """Evidence. The bytes lie in the blob store under `sha256`, or still with the platform under `remote_id` (then sha256 is empty)."""

    filename: str
    media_type: str
    size: int = 0
    sha256: str = ""
    inline: bool = False
    remote_id: str = ""


class Thread(Schema, frozen=True):
    """What ties a mail to earlier mail: bare Message-IDs without angle brackets, and every address it was sent to."""

    message_id: str = ""
    in_reply_to: str = ""
    references: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()


class Bounce(Schema, frozen=True):
    """A report that mail of ours did not arrive. original_id: Message-ID of the mail it speaks of, where told.

    status: the enhanced status code (RFC 3463) such as 5.1.1, where told.
    """

    recipients: tuple[str, ...] = ()
    permanent: bool = False
    original_id: str = ""
    status: str = ""


class Call(Schema, frozen=True):
    """Facts of a telephone call. Durations in seconds; `rang` is the wait until it was answered."""

    call_id: str = ""
    agent: str = ""
    rang: float | None = None
    talked: float | None = None
    callback: str = ""
    recording: str = ""


class Submission(Schema, frozen=True):
    """One thing that came in, parsed, whatever channel brought it.

    source: `channel` or `channel/sort` (social/wechat). account: which of our own mailboxes, apps or lines took it.
    external_id: the platform's own id, empty where it gives none; conversation: the platform's thread, empty where there is none.
    text: only what is new; quoted: what was cut from it; automatic: written by a machine, to be recorded but never answered.
    """

    channel: Channel
    source: str
    account: str
    text: str
    external_id: str = ""
    conversation: str = ""
    sent_at: datetime | None = None
    customer: Customer = Customer()
    language: str = ""
    subject: str = ""
    quoted: str = ""
    html: bool = False
    order_number: str = ""
    purchased_at: str = ""
    product: str = ""
    model: str = ""
    demand: str = ""
    wanted_by: str = ""
    mood: str = ""
    category_hint: str = ""
    attachments: tuple[Attachment, ...] = ()
    thread: Thread | None = None
    call: Call | None = None
    automatic: bool = False
    bounce: Bounce | None = None
    consent: str = ""
    notes: tuple[str, ...] = ()
    extra: dict[str, str] = {}


class Reason(Schema, frozen=True):
    """Why something was decided: which rule or layer, in words a manager reads, and the customer's words that set it off."""

    rule: str
    why: str
    words: tuple[str, ...] = ()


class Deadline(Schema, frozen=True):
    """When something is due, and how that instant was reached. clock: first_response, customer_reply, department_answer, ..."""

    clock: str
    due_by: datetime
    why: str = ""
    met_at: datetime | None = None
    breached_at: datetime | None = None


class Decision(Schema, frozen=True):
    """What the router made of a complaint. confidence 0..1; review: below the threshold, a person looks at it first."""

    category: Category
    priority: Priority
    department: str
    confidence: float
    review: bool = False
    secondary: tuple[Category, ...] = ()
    complex: bool = False
    language: str = ""
    order_numbers: tuple[str, ...] = ()
    phones: tuple[str, ...] = ()
    demand: str = ""
    missing: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = ()
    deadlines: tuple[Deadline, ...] = ()
    policy_hash: str = ""


class Complaint(Schema, frozen=True):
    """A customer's trouble, from the first word to the end. `reference` is its id, readable over the telephone."""

    reference: str
    state: State
    channel: Channel
    source: str
    account: str
    customer_id: str
    received_at: datetime
    updated_at: datetime
    version: int = 1
    language: str = "zh-CN"
    subject: str = ""
    order_number: str = ""
    conversation: str = ""
    category: Category | None = None
    priority: Priority | None = None
    department: str = ""
    confidence: float = 0.0
    review: bool = False
    decision: Decision | None = None
    linked_to: str = ""
    joined_to: str = ""
    resolution: str = ""
    closed_at: datetime | None = None


class Event(Schema, frozen=True):
    """One line of a complaint's history, in the past tense. `seq` counts from 1 within the complaint; it is the complaint's version."""

    reference: str
    seq: int
    at: datetime
    kind: str
    actor: str
    detail: dict[str, Any] = {}


class NoticeKind(StrEnum):
    """What we write to the customer about."""

    ACKNOWLEDGEMENT = "acknowledgement"
    INFO_REQUEST = "info_request"
    PROGRESS = "progress"
    DELAY = "delay"
    ESCALATED = "escalated"
    SOLUTION = "solution"
    RESULT = "result"
    SURVEY = "survey"


class Notice(Schema, frozen=True):
    """Something to tell the customer, once. `key` is unique for ever: the same key never goes out twice.

    detail: what the wording needs (next deadline, what is asked for, the department's words); plain JSON values.
    thread: for mail, what it answers, so that the customer's client shows it in the same conversation.
    """

    key: str
    reference: str
    kind: NoticeKind
    channel: Channel
    source: str
    account: str
    recipient: str
    created_at: datetime
    locale: Locale = Locale.ZH_CN
    detail: dict[str, Any] = {}
    subject: str = ""
    thread: Thread | None = None


decode_submission = msgspec.json.Decoder(Submission).decode
encode = msgspec.json.Encoder().encode
