"""What comes to the door of intake, made fit for the ledger, and what its sender is told. Pure.

A ledger must take on PostgreSQL what it takes on SQLite, so what only one of them would refuse (a NUL, half a surrogate pair, a name
longer than its column) is mended or refused here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec

from shared.complaint import Deadline, Locale, Submission, encode
from shared.errors import Unreadable
from shared.references import dedupe_key, read_reply_token

INLINE_RAW = 65_536
"""Raw bytes up to this size lie in the ledger's row; larger ones in the blob store under their sha256."""
ORDER_NUMBER = 64
"""Characters of an order number that count."""
THREAD_KEY = 512


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
    part: which of several submissions of one delivery this is, from 0; they share their bytes, so this is what tells them apart.
    """

    submission: Submission
    raw: bytes
    received_at: datetime
    raw_blob: str = ""
    headers: Mapping[str, str] = {}
    idempotency: tuple[str, str] | None = None
    part: int = 0


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What the sender is told. tracking: the secret part of the progress link; empty unless the arrival belongs to a complaint.

    replayed: this is the answer that the same request got before under its Idempotency-Key.
    """

    outcome: Outcome
    reference: str = ""
    tracking: str = ""
    replayed: bool = False
    locale: Locale = Locale.ZH_CN


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What `plan` needs of the policy and the settings.

    window: how long an order number joins a later submission to its complaint. unusable_for: how long an address that bounced is left
    alone. deadlines: those that run from acceptance. opens_at: for an
    instant out of hours, when people are back; None in working time.
    """

    secret: bytes
    acknowledge: bool
    window: timedelta
    unusable_for: timedelta = timedelta(days=60)
    deadlines: Callable[[datetime], tuple[Deadline, ...]]
    opens_at: Callable[[datetime], datetime | None]


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """An arrival fit for the ledger: its dedupe key, and its submission and headers as JSON."""

    arrival: Arrival
    key: str
    body: str
    headers: str

    @property
    def submission(self) -> Submission:
        return self.arrival.submission

    @property
    def machine(self) -> bool:
        """Written by a machine: recorded with its complaint, never answered."""
        return self.submission.automatic or self.submission.bounce is not None


def ready(arrival: Arrival) -> Ready:
    """Make an arrival fit for the ledger. Raises Unreadable, which names the field, for what no ledger could keep."""
    if arrival.received_at.tzinfo is None:
        raise ValueError("received_at has no time zone")
    try:
        body = encode(arrival.submission).decode()
        headers = msgspec.json.encode(arrival.headers).decode()
    except UnicodeEncodeError:
        body = headers = NUL
    if NUL in body or NUL in headers:
        arrival = msgspec.structs.replace(
            arrival,
            submission=msgspec.convert(_mended(msgspec.to_builtins(arrival.submission)), Submission),
            headers=_mended(dict(arrival.headers)),
        )
        body, headers = encode(arrival.submission).decode(), msgspec.json.encode(arrival.headers).decode()
    for field, value, limit in _limited(arrival.submission):
        if len(value) > limit:
            raise Unreadable(f"'{field}' is longer than {limit} characters. Shorten it and send it again.")
    return Ready(arrival=arrival, key=_dedupe_key(arrival), body=body, headers=headers)


NUL = "\\u0000"


def _mended(value: Any) -> Any:
    """The same with characters that no text column holds replaced."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_mended(k): _mended(v) for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType] # any JSON
    if isinstance(value, list | tuple):
        return [_mended(item) for item in value]  # pyright: ignore[reportUnknownVariableType] # any JSON
    return value


def _limited(submission: Submission) -> Iterator[tuple[str, str, int]]:
    """The fields that have a column of limited length."""
    yield "source", submission.source, 64
    yield "account", submission.account, 255
    yield "conversation", submission.conversation, 255
    yield "customer.tier", submission.customer.tier, 32
    for identity in submission.customer.identities:
        yield "customer.identities.kind", identity.kind, 32
        yield "customer.identities.value", identity.value, 320


def _dedupe_key(arrival: Arrival) -> str:
    key = dedupe_key(arrival.submission, arrival.raw)
    if arrival.part and not arrival.submission.external_id:
        return hashlib.blake2b(f"{key}/{arrival.part}".encode(), digest_size=16).hexdigest()
    return key


def order_of(submission: Submission) -> str:
    """The order number as keys hold it."""
    return submission.order_number[:ORDER_NUMBER]


def thread_keys_of(submission: Submission) -> list[tuple[str, str]]:
    """The keys under which a submission looks for the complaint of its conversation, nearest first.

    A platform's conversation is one person's: in a group each member has a thread of their own.
    """
    if submission.conversation:
        person = next((f"{i.kind}:{i.value}" for i in submission.customer.identities if i.verified), "")
        value = ":".join((submission.source, submission.account, submission.conversation, person))
        return [("conversation", value if len(value) <= THREAD_KEY else hashlib.sha256(value.encode()).hexdigest())]
    if submission.thread is None:
        return []
    ids = [submission.thread.in_reply_to, *reversed(submission.thread.references)]
    return list(dict.fromkeys(("message_id", i[:THREAD_KEY]) for i in ids if i))


def own_keys_of(submission: Submission) -> list[tuple[str, str]]:
    """The keys a submission leaves behind, so that later ones find its complaint."""
    if submission.conversation:
        return thread_keys_of(submission)
    if submission.thread and submission.thread.message_id:
        return [("message_id", submission.thread.message_id[:THREAD_KEY])]
    return []


RECEIPT_FOR = "receipt_for"
"""Key of Submission.extra: the Message-ID of our mail that a receipt (RFC 8098, or RFC 3464 of success) speaks of."""


def original_of(submission: Submission) -> str:
    """The Message-ID of our own mail that a report or receipt speaks of, "" where it names none."""
    return submission.bounce.original_id if submission.bounce else submission.extra.get(RECEIPT_FOR, "")


def named_by_token(submission: Submission, secret: bytes) -> str | None:
    """The complaint a mail names by our keyed reply address or keyed Message-ID."""
    if submission.thread is None:
        return None
    thread = submission.thread
    for value in (original_of(submission), *thread.recipients, thread.in_reply_to, *reversed(thread.references)):
        reference = read_reply_token(value, secret) if value else None
        if reference:
            return reference
    return None
