"""The first tables of the ledger. Instants are integer microseconds since 1970 UTC (shared/ledger/tables.py)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("scope", sa.String(length=16), nullable=False),
        sa.Column("department", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "complaints",
        sa.Column("reference", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("account", sa.String(length=255), nullable=False),
        sa.Column("customer_id", sa.String(length=32), nullable=False),
        sa.Column("conversation", sa.String(length=255), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("language", sa.String(length=8), nullable=False),
        sa.Column("order_number", sa.String(length=64), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("category", sa.String(length=32), nullable=True),
        sa.Column("priority", sa.String(length=8), nullable=True),
        sa.Column("department", sa.String(length=64), server_default="", nullable=False),
        sa.Column("confidence", sa.Float(), server_default="0", nullable=False),
        sa.Column("review", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("decision", sa.Text(), nullable=True),
        sa.Column("linked_to", sa.String(length=16), server_default="", nullable=False),
        sa.Column("joined_to", sa.String(length=16), server_default="", nullable=False),
        sa.Column("resolution", sa.Text(), server_default="", nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.Column("work", sa.String(length=8), server_default="", nullable=False),
        sa.Column("work_reason", sa.Text(), server_default="", nullable=False),
        sa.Column("work_by", sa.BigInteger(), nullable=True),
        sa.Column("work_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("reference"),
    )
    op.create_index("complaints_customer", "complaints", ["customer_id"], unique=False)
    op.create_index(
        "complaints_dead_work",
        "complaints",
        ["department", "work_at"],
        unique=False,
        sqlite_where=sa.text("work = 'dead'"),
        postgresql_where=sa.text("work = 'dead'"),
    )
    op.create_index(
        "complaints_open_work",
        "complaints",
        ["reference"],
        unique=False,
        sqlite_where=sa.text("work = 'open'"),
        postgresql_where=sa.text("work = 'open'"),
    )
    op.create_index(
        "complaints_undecided",
        "complaints",
        ["received_at"],
        unique=False,
        sqlite_where=sa.text("state = 'received'"),
        postgresql_where=sa.text("state = 'received'"),
    )
    op.create_index(
        "complaints_work",
        "complaints",
        ["department", "work_by"],
        unique=False,
        sqlite_where=sa.text("work = 'open'"),
        postgresql_where=sa.text("work = 'open'"),
    )
    op.create_table(
        "customers",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("tier", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "deadlines",
        sa.Column("reference", sa.String(length=16), nullable=False),
        sa.Column("clock", sa.String(length=32), nullable=False),
        sa.Column("due_by", sa.BigInteger(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("met_at", sa.BigInteger(), nullable=True),
        sa.Column("breached_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("reference", "clock"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "deadlines_running",
        "deadlines",
        ["due_by"],
        unique=False,
        sqlite_where=sa.text("met_at IS NULL AND breached_at IS NULL"),
        postgresql_where=sa.text("met_at IS NULL AND breached_at IS NULL"),
    )
    op.create_table(
        "events",
        sa.Column("reference", sa.String(length=16), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("actor", sa.String(length=128), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("reference", "seq"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "idempotency",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("reference", sa.String(length=16), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
        sqlite_with_rowid=False,
    )
    op.create_index("idempotency_expiry", "idempotency", ["expires_at"], unique=False)
    op.create_table(
        "identities",
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("value", sa.String(length=320), nullable=False),
        sa.Column("customer_id", sa.String(length=32), nullable=False),
        sa.Column("verified", sa.Boolean(), nullable=False),
        sa.Column("unusable_until", sa.BigInteger(), nullable=True),
        sa.Column("unusable_why", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("kind", "value"),
        sqlite_with_rowid=False,
    )
    op.create_index("identities_customer", "identities", ["customer_id"], unique=False)
    op.create_table(
        "mailboxes",
        sa.Column("account", sa.String(length=255), nullable=False),
        sa.Column("folder", sa.String(length=255), nullable=False),
        sa.Column("uidvalidity", sa.BigInteger(), nullable=False),
        sa.Column("last_uid", sa.BigInteger(), nullable=False),
        sa.Column("start_uid", sa.BigInteger(), nullable=False),
        sa.Column("last_ok_at", sa.BigInteger(), nullable=False),
        sa.Column("last_error", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("account", "folder"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "mails",
        sa.Column("account", sa.String(length=255), nullable=False),
        sa.Column("folder", sa.String(length=255), nullable=False),
        sa.Column("uidvalidity", sa.BigInteger(), nullable=False),
        sa.Column("uid", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "folder", "uidvalidity", "uid"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "matters",
        sa.Column("customer_id", sa.String(length=32), nullable=False),
        sa.Column("order_number", sa.String(length=64), nullable=False),
        sa.Column("reference", sa.String(length=16), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("customer_id", "order_number"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "notices",
        sa.Column("key", sa.String(length=96), nullable=False),
        sa.Column("reference", sa.String(length=16), nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("recipient", sa.String(length=320), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=False),
        sa.Column("sent_at", sa.BigInteger(), nullable=True),
        sa.Column("external_id", sa.String(length=255), server_default="", nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index(
        "notices_answering_mail",
        "notices",
        ["recipient", "created_at"],
        unique=False,
        sqlite_where=sa.text("channel = 'email'"),
        postgresql_where=sa.text("channel = 'email'"),
    )
    op.create_index(
        "notices_failed",
        "notices",
        ["created_at"],
        unique=False,
        sqlite_where=sa.text("state IN ('dead', 'uncertain')"),
        postgresql_where=sa.text("state IN ('dead', 'uncertain')"),
    )
    op.create_index("notices_reference", "notices", ["reference"], unique=False)
    op.create_index(
        "notices_unfinished",
        "notices",
        ["next_at"],
        unique=False,
        sqlite_where=sa.text("state IN ('pending', 'sending')"),
        postgresql_where=sa.text("state IN ('pending', 'sending')"),
    )
    op.create_table(
        "outbox",
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("topic", sa.String(length=16), nullable=False),
        sa.Column("reference", sa.String(length=96), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
        sqlite_with_rowid=False,
    )
    op.create_index("outbox_oldest", "outbox", ["created_at"], unique=False)
    op.create_table(
        "quarantine",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("adapter", sa.String(length=32), nullable=False),
        sa.Column("account", sa.String(length=255), nullable=False),
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=True),
        sa.Column("raw_blob", sa.String(length=64), server_default="", nullable=False),
        sa.Column("headers", sa.Text(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "quarantine_held",
        "quarantine",
        ["last_at"],
        unique=False,
        sqlite_where=sa.text("state = 'held'"),
        postgresql_where=sa.text("state = 'held'"),
    )
    op.create_table(
        "submissions",
        sa.Column("dedupe_key", sa.String(length=32), nullable=False),
        sa.Column("reference", sa.String(length=16), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=True),
        sa.Column("raw_blob", sa.String(length=64), server_default="", nullable=False),
        sa.Column("headers", sa.Text(), server_default="{}", nullable=False),
        sa.PrimaryKeyConstraint("dedupe_key"),
    )
    op.create_index("submissions_reference", "submissions", ["reference"], unique=False)
    op.create_table(
        "threads",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("value", sa.String(length=512), nullable=False),
        sa.Column("reference", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("kind", "value"),
        sqlite_with_rowid=False,
    )
