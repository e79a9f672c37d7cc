"""The tables of the ledger, the same on SQLite and PostgreSQL. Instants are stored as integer microseconds since 1970 UTC.

Uniqueness that the product relies on lives here and nowhere else: a submission's dedupe key, a complaint's reference, an identity,
a thread key, an open matter of a customer and order, a notice key, an outbox key, an idempotency key.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    TypeDecorator,
    text,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def to_micros(instant: datetime) -> int:
    """Microseconds since 1970 UTC. Raises ValueError for a naive datetime, which would silently mean some local time."""
    if instant.tzinfo is None:
        raise ValueError(f"{instant!r} has no time zone")
    return (instant - EPOCH) // MICROSECOND


def from_micros(value: int) -> datetime:
    return EPOCH + timedelta(microseconds=value)


class Instant(TypeDecorator[datetime]):
    """An aware UTC datetime, kept as an integer so that both databases sort and index it alike."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> int | None:
        del dialect
        return None if value is None else to_micros(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        del dialect
        return None if value is None else from_micros(value)


#: The conditions of the partial indexes, also used by the queries that want them. Written out, because SQLite takes a partial index only
#: for a query that states its condition literally: with a bound parameter it would read the whole table.
UNDECIDED = text("state = 'received'")
OPEN_WORK = text("work = 'open'")
DEAD_WORK = text("work = 'dead'")
RUNNING = text("met_at IS NULL AND breached_at IS NULL")
UNFINISHED = text("state IN ('pending', 'sending')")
FAILED = text("state IN ('dead', 'uncertain')")
HELD = text("state = 'held'")
ANSWERS_MAIL = text("channel = 'email'")

#: SQLite keeps such a table in its primary key's tree alone: one tree to write instead of two. Only for tables without long texts.
SMALL_ROWS: dict[str, Any] = {"sqlite_with_rowid": False}

metadata = MetaData()

complaints = Table(
    "complaints",
    metadata,
    Column("reference", String(16), primary_key=True),
    Column("state", String(24), nullable=False),
    Column("channel", String(16), nullable=False),
    Column("source", String(64), nullable=False),
    Column("account", String(255), nullable=False),
    Column("customer_id", String(32), nullable=False),
    Column("conversation", String(255), nullable=False),
    Column("subject", Text, nullable=False),
    Column("language", String(8), nullable=False),
    Column("order_number", String(64), nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("version", Integer, nullable=False),
    Column("category", String(32)),
    Column("priority", String(8)),
    Column("department", String(64), nullable=False, server_default=""),
    Column("confidence", Float, nullable=False, server_default="0"),
    Column("review", Boolean, nullable=False, server_default=text("false")),
    Column("decision", Text),
    Column("linked_to", String(16), nullable=False, server_default=""),
    Column("joined_to", String(16), nullable=False, server_default=""),
    Column("resolution", Text, nullable=False, server_default=""),
    Column("closed_at", Instant),
    # What the department's queue must hold: '' nothing yet, open, done, dead. The queue itself is rebuilt from this.
    Column("work", String(8), nullable=False, server_default=""),
    Column("work_reason", Text, nullable=False, server_default=""),
    Column("work_by", Instant),
    Column("work_at", Instant),
    Index("complaints_customer", "customer_id"),
    Index("complaints_undecided", "received_at", sqlite_where=UNDECIDED, postgresql_where=UNDECIDED),
    Index("complaints_work", "department", "work_by", sqlite_where=OPEN_WORK, postgresql_where=OPEN_WORK),
    Index("complaints_open_work", "reference", sqlite_where=OPEN_WORK, postgresql_where=OPEN_WORK),
    Index("complaints_dead_work", "department", "work_at", sqlite_where=DEAD_WORK, postgresql_where=DEAD_WORK),
)

submissions = Table(
    "submissions",
    metadata,
    Column("dedupe_key", String(32), primary_key=True),
    Column("reference", String(16), nullable=False),
    Column("role", String(16), nullable=False),  # complaint, follow_up, automatic
    Column("received_at", Instant, nullable=False),
    Column("body", Text, nullable=False),  # the Submission as JSON
    Column("raw", LargeBinary),
    Column("raw_blob", String(64), nullable=False, server_default=""),  # sha256 where the bytes are too large for a row
    Column("headers", Text, nullable=False, server_default="{}"),
    Index("submissions_reference", "reference"),
)

customers = Table(
    "customers",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", Text, nullable=False),
    Column("tier", String(32), nullable=False),
    Column("created_at", Instant, nullable=False),
    **SMALL_ROWS,
)

identities = Table(
    "identities",
    metadata,
    Column("kind", String(32), nullable=False),
    Column("value", String(320), nullable=False),
    Column("customer_id", String(32), nullable=False),
    Column("verified", Boolean, nullable=False),
    Column("unusable_until", Instant),
    Column("unusable_why", Text, nullable=False, server_default=""),
    PrimaryKeyConstraint("kind", "value"),
    Index("identities_customer", "customer_id"),
    **SMALL_ROWS,
)

events = Table(
    "events",
    metadata,
    Column("reference", String(16), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("at", Instant, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("actor", String(128), nullable=False),
    Column("detail", Text, nullable=False),
    PrimaryKeyConstraint("reference", "seq"),
    **SMALL_ROWS,
)

deadlines = Table(
    "deadlines",
    metadata,
    Column("reference", String(16), nullable=False),
    Column("clock", String(32), nullable=False),
    Column("due_by", Instant, nullable=False),
    Column("why", Text, nullable=False),
    Column("met_at", Instant),
    Column("breached_at", Instant),
    PrimaryKeyConstraint("reference", "clock"),
    Index("deadlines_running", "due_by", sqlite_where=RUNNING, postgresql_where=RUNNING),
    **SMALL_ROWS,
)

notices = Table(
    "notices",
    metadata,
    Column("key", String(96), primary_key=True),
    Column("reference", String(16), nullable=False),
    Column("kind", String(24), nullable=False),
    Column("state", String(12), nullable=False),  # pending, sending, sent, dead, uncertain
    Column("channel", String(16), nullable=False),
    Column("source", String(64), nullable=False),
    Column("recipient", String(320), nullable=False),
    Column("body", Text, nullable=False),  # the Notice as JSON
    Column("created_at", Instant, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_at", Instant, nullable=False),  # pending: not before; sending: taken as crashed after
    Column("sent_at", Instant),
    Column("external_id", String(255), nullable=False, server_default=""),
    Column("reason", Text, nullable=False, server_default=""),
    Index("notices_reference", "reference"),
    Index("notices_unfinished", "next_at", sqlite_where=UNFINISHED, postgresql_where=UNFINISHED),
    # only mail that answers mail can go round in a loop; the caps count it by recipient
    Index("notices_answering_mail", "recipient", "created_at", sqlite_where=ANSWERS_MAIL, postgresql_where=ANSWERS_MAIL),
    Index("notices_failed", "created_at", sqlite_where=FAILED, postgresql_where=FAILED),
)

outbox = Table(
    "outbox",
    metadata,
    Column("key", String(128), primary_key=True),
    Column("topic", String(16), nullable=False),
    Column("reference", String(96), nullable=False),
    Column("created_at", Instant, nullable=False),
    Index("outbox_oldest", "created_at"),
    **SMALL_ROWS,
)

threads = Table(
    "threads",
    metadata,
    Column("kind", String(16), nullable=False),  # message_id, conversation
    Column("value", String(512), nullable=False),
    Column("reference", String(16), nullable=False),
    PrimaryKeyConstraint("kind", "value"),
    **SMALL_ROWS,
)

matters = Table(
    "matters",
    metadata,
    Column("customer_id", String(32), nullable=False),
    Column("order_number", String(64), nullable=False),
    Column("reference", String(16), nullable=False),
    Column("until", Instant, nullable=False),
    PrimaryKeyConstraint("customer_id", "order_number"),
    **SMALL_ROWS,
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("adapter", String(32), nullable=False),
    Column("account", String(255), nullable=False),
    Column("code", String(32), nullable=False),
    Column("message", Text, nullable=False),
    Column("raw", LargeBinary),
    Column("raw_blob", String(64), nullable=False, server_default=""),
    Column("headers", Text, nullable=False),
    Column("count", Integer, nullable=False),
    Column("first_at", Instant, nullable=False),
    Column("last_at", Instant, nullable=False),
    Column("state", String(12), nullable=False),  # held, replayed, discarded
    Index("quarantine_held", "last_at", sqlite_where=HELD, postgresql_where=HELD),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("name", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("scope", String(16), nullable=False),  # intake, department, operator
    Column("department", String(64), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("revoked_at", Instant),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("reference", String(16), nullable=False),
    Column("expires_at", Instant, nullable=False),
    Index("idempotency_expiry", "expires_at"),
    **SMALL_ROWS,
)

mailboxes = Table(
    "mailboxes",
    metadata,
    Column("account", String(255), nullable=False),
    Column("folder", String(255), nullable=False),
    Column("uidvalidity", BigInteger, nullable=False),
    Column("last_uid", BigInteger, nullable=False),
    Column("start_uid", BigInteger, nullable=False),
    Column("last_ok_at", Instant, nullable=False),
    Column("last_error", Text, nullable=False, server_default=""),
    PrimaryKeyConstraint("account", "folder"),
    **SMALL_ROWS,
)

mails = Table(
    "mails",
    metadata,
    Column("account", String(255), nullable=False),
    Column("folder", String(255), nullable=False),
    Column("uidvalidity", BigInteger, nullable=False),
    Column("uid", BigInteger, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Instant, nullable=False),
    PrimaryKeyConstraint("account", "folder", "uidvalidity", "uid"),
    **SMALL_ROWS,
)
