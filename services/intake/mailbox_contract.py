"""What a mailbox is, what became of each mail in it, and what must be remembered of it. Values and contracts; reads and stores nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime
from typing import Literal, Protocol

import msgspec

from services.intake.adapter import Delivery
from shared.oauth import OAuth

Status = Literal["accepted", "duplicate", "ignored", "quarantined"]
#: when a mailbox was last read to its end, as long as that has not happened yet
NEVER = datetime(1980, 1, 1, tzinfo=UTC)


class Outcome(msgspec.Struct, frozen=True):
    """What became of one delivery. reason: why it was ignored or quarantined, for staff. reference: of the complaint it is in."""

    status: Status
    reason: str = ""
    reference: str = ""


class Take(Protocol):
    """Stores deliveries, all or none, and answers for each in order. Raises TemporaryFailure when nothing could be stored."""

    def __call__(self, deliveries: Sequence[Delivery], /) -> Awaitable[Sequence[Outcome]]: ...


class Quarantine(Protocol):
    """Keeps a delivery that cannot be taken where staff see it, with the reason."""

    def __call__(self, delivery: Delivery, reason: str, /) -> Awaitable[None]: ...


class Position(msgspec.Struct, frozen=True):
    """How far a mailbox has been read. start_uid: mail up to it was there before us and is none of ours.

    last_ok_at: when nothing in it was left to read; NEVER until then. A rebuilt mailbox is read again from a week before that instant.
    """

    uidvalidity: int
    last_uid: int
    start_uid: int = 0
    last_ok_at: datetime | None = None


class Settled(msgspec.Struct, frozen=True):
    """The outcome of one UID."""

    uid: int
    status: Status
    reason: str = ""
    reference: str = ""


class MailboxState(Protocol):
    """What must be remembered of a mailbox; kept in the ledger. `mailbox` is the account and the folder: care@shop.example/INBOX."""

    async def position(self, mailbox: str, /) -> Position | None:
        """The last saved position, None before the first visit."""
        ...

    async def settle(self, mailbox: str, position: Position, settled: Sequence[Settled], /) -> None:
        """Save outcomes and position in one transaction; a UID that has an outcome under this uidvalidity keeps it."""
        ...

    async def settled_uids(self, mailbox: str, uidvalidity: int, /, above: int = 0) -> set[int]:
        """All UIDs above `above` that have an outcome, for the reconciliation."""
        ...

    async def trouble(self, mailbox: str, error: str, /) -> None:
        """Remember why the mailbox cannot be read; the next `settle` forgets it. Nothing happens before the first visit."""
        ...


class MailboxOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One mailbox. Seconds and bytes. account: our own name for it, the user when empty. after: what a stored mail gets on the server."""

    host: str
    user: str
    password: str = ""
    port: int = 0
    ssl: bool = True
    starttls: bool = False
    ca_file: str = ""
    folder: str = "INBOX"
    account: str = ""
    start: Literal["now", "all"] = "now"
    after: Literal["seen", "move", "leave"] = "seen"
    move_to: str = "Archive"
    poll_seconds: float = 60.0
    idle_seconds: float = 300.0
    connect_timeout: float = 15.0
    read_timeout: float = 60.0
    batch: int = 50
    batch_bytes: int = 8 << 20
    max_bytes: int = 26_214_400
    oauth: OAuth | None = None
    """How access tokens are had where the server takes no password (XOAUTH2)."""
    max_per_hour: int = 0
    """At most so many mails in any hour, for a first connection to a full mailbox; 0 means no limit."""
    junk: str = ""
    """The junk folder, read too but seldom; what lies there goes into quarantine unless it answers a complaint of ours."""
    junk_poll_seconds: float = 900.0
    is_junk: bool = False
    """Set for the mailbox that `junk` stands for, never written by hand."""

    @property
    def name(self) -> str:
        return f"{self.account or self.user}/{self.folder}"


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A mailbox compared with our records.

    exists: mails in it now; ours: those that came since our first visit; waiting: of these, not read yet. missing: UIDs at or below our
    position without an outcome: an alarm. rebuilt: its UIDs are new (UIDVALIDITY), so that all of it waits for the next visit.
    """

    exists: int
    ours: int
    waiting: int
    missing: tuple[int, ...]
    position: Position | None
    rebuilt: bool = False


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What the next visit would take. size in bytes; oldest and newest: when the server got them, None where nothing waits."""

    exists: int
    waiting: int
    size: int = 0
    too_large: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None
