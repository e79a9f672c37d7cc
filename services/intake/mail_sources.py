"""Joins the mail sources to the desk: mailboxes and the SMTP door hand their mail to the Door; the ledger remembers how far they read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from services.intake.accept import Outcome
from services.intake.adapter import Delivery
from services.intake.door import Door
from services.intake.mailbox import Mailbox
from services.intake.mailbox_contract import MailboxOptions, Position, Settled, Status
from services.intake.mailbox_contract import Outcome as MailOutcome
from services.intake.reconcile import Reconciler
from services.intake.smtp import DoorOptions, SmtpDoor
from services.process import Desk, Loop
from shared.errors import ConfigError
from shared.ledger import Ledger, mailboxes
from shared.oauth import OAuth, Tokens
from shared.references import read_reply_token

#: as much of a mail as is searched for a key of ours: all headers of any mail that a person sends
HEADER_BYTES = 65_536
STATUS: Mapping[Outcome, Status] = {
    Outcome.ACCEPTED: "accepted",
    Outcome.FOLLOW_UP: "accepted",
    Outcome.RECORDED: "accepted",
    Outcome.REPEATED: "duplicate",
    Outcome.HELD: "quarantined",
}


class LedgerState:
    """What must be remembered of a mailbox, kept in the ledger (mailbox.MailboxState)."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def position(self, mailbox: str, /) -> Position | None:
        account, folder = mailbox.split("/", 1)
        async with self._ledger.read() as tx:
            at = await mailboxes.position(tx, account, folder)
        return Position(at.uidvalidity, at.last_uid, at.start_uid, at.last_ok_at) if at else None

    async def settle(self, mailbox: str, position: Position, settled: Sequence[Settled], /) -> None:
        account, folder = mailbox.split("/", 1)
        now = datetime.now(UTC)
        async with self._ledger.write() as tx:
            known = await mailboxes.settled(tx, account, folder, position.uidvalidity, [s.uid for s in settled]) if settled else set[int]()
            fresh = [(s.uid, s.status, s.reason or s.reference) for s in settled if s.uid not in known]
            await mailboxes.record(tx, account, folder, position.uidvalidity, fresh, now)
            at = mailboxes.Position(position.uidvalidity, position.last_uid, position.last_ok_at or now, position.start_uid)
            await mailboxes.set_position(tx, account, folder, at)

    async def settled_uids(self, mailbox: str, uidvalidity: int, /, above: int = 0) -> set[int]:
        account, folder = mailbox.split("/", 1)
        async with self._ledger.read() as tx:
            return await mailboxes.settled(tx, account, folder, uidvalidity, above=above)

    async def trouble(self, mailbox: str, error: str, /) -> None:
        account, folder = mailbox.split("/", 1)
        async with self._ledger.write() as tx:
            await mailboxes.trouble(tx, account, folder, error)


class MailTaker:
    """Hands mails to the Door all at once, so that they are committed together (mailbox.Take).

    refuse: what cannot be read is refused to the sender, who is there to hear it (the SMTP door); otherwise it goes into quarantine.
    """

    def __init__(self, door: Door, *, refuse: bool = False) -> None:
        self._door = door
        self._refuse = refuse

    async def __call__(self, deliveries: Sequence[Delivery], /) -> list[MailOutcome]:
        taken = await asyncio.gather(*(self._one(d) for d in deliveries))
        return [MailOutcome(STATUS[o], reason=why) if o is Outcome.HELD else MailOutcome(STATUS[o], reference=why) for o, why in taken]

    async def _one(self, delivery: Delivery) -> tuple[Outcome, str]:
        if not self._refuse:
            return await self._door.take_or_hold("email", delivery)
        receipts = await self._door.take("email", delivery)
        return (receipts[0].outcome, receipts[0].reference) if receipts else (Outcome.RECORDED, "")

    async def hold(self, delivery: Delivery, reason: str, /) -> None:
        await self._door.hold("email", delivery, "refused", reason)


def junk_of(options: MailboxOptions) -> tuple[MailboxOptions, ...]:
    """The junk folder of a mailbox: looked at now and then, never waited at, its mail left as it lies."""
    if not options.junk:
        return ()
    changes = {"folder": options.junk, "junk": "", "is_junk": True, "after": "leave"}
    return (msgspec.structs.replace(options, **changes, idle_seconds=0.0, poll_seconds=options.junk_poll_seconds),)


class JunkTaker:
    """Takes from a junk folder only what answers us under our own key; all else goes into quarantine, where a person looks at it.

    A junk folder is full of what nobody must answer: taken like other mail, it would fill the departments' queues, and each
    acknowledgement would tell a spammer that he is read. A complaint that landed there is one `desk quarantine replay` away.
    """

    REASON = "It lay in the junk folder. Replay it if it is a complaint, discard it if it is not."

    def __init__(self, take: MailTaker, secret: bytes) -> None:
        self._take = take
        self._secret = secret

    async def __call__(self, deliveries: Sequence[Delivery], /) -> list[MailOutcome]:
        return [await self._one(delivery) for delivery in deliveries]

    async def _one(self, delivery: Delivery) -> MailOutcome:
        if read_reply_token(delivery.raw[:HEADER_BYTES].decode("latin-1"), self._secret):
            return (await self._take([delivery]))[0]
        await self._take.hold(delivery, self.REASON)
        return MailOutcome("quarantined", reason=self.REASON)


def read_mailboxes(text: str) -> list[MailboxOptions]:
    """DESK_MAILBOXES, each with its junk folder as a mailbox of its own behind it. Raises ConfigError."""
    try:
        written = msgspec.json.decode(text or "[]", type=list[MailboxOptions])
        return [folder for options in written for folder in (options, *junk_of(options))]
    except msgspec.DecodeError as error:
        example = '[{"host": "imap.example", "user": "care@shop.example", "password": "..."}]'
        raise ConfigError(f"DESK_MAILBOXES cannot be read: {error}. Write it like {example}.") from None


def open_mailboxes(desk: Desk, door: Door) -> list[Mailbox]:
    """All mailboxes of the settings, their junk folders among them; nothing is connected yet. Raises ConfigError."""
    take, state = MailTaker(door), LedgerState(desk.ledger)
    junk = JunkTaker(take, desk.secret)
    tokens = token_sources(folders := read_mailboxes(desk.settings.mailboxes))
    return [Mailbox(o, state, junk if o.is_junk else take, take.hold, token=tokens.get(login_of(o))) for o in folders]


def login_of(options: MailboxOptions) -> tuple[str, str, OAuth | None]:
    return options.host, options.user, options.oauth


def token_sources(folders: Sequence[MailboxOptions]) -> dict[tuple[str, str, OAuth | None], Tokens]:
    """One source of tokens a login, shared by its folders. Raises ConfigError."""
    return {login_of(options): Tokens(options.oauth) for options in folders if options.oauth}


def peek(options: MailboxOptions, state: LedgerState) -> Mailbox:
    """A mailbox to look at (`standing`, `preview`), for those who take no mail."""

    async def take(deliveries: Sequence[Delivery], /) -> list[MailOutcome]:
        raise TypeError(f"{options.name} is only looked at, but was given {len(deliveries)} mails to take")

    async def hold(delivery: Delivery, reason: str, /) -> None:
        raise TypeError(f"{options.name} is only looked at, but was given a mail to hold ({len(delivery.raw)} bytes): {reason}")

    return Mailbox(options, state, take, hold, token=Tokens(options.oauth) if options.oauth else None)


def mail_loops(desk: Desk, door: Door, mailboxes: Sequence[Mailbox], reconciler: Reconciler) -> dict[str, Loop]:
    """One loop a mailbox, one that compares them with the ledger, and one for the SMTP door where it has a port."""
    loops: dict[str, Loop] = {f"mailbox {mailbox.options.name}": _watch(mailbox) for mailbox in mailboxes}
    if mailboxes:
        loops["reconciliation"] = reconciler.run
    if desk.settings.smtp_door_port:
        loops["smtp door"] = _open(desk, MailTaker(door, refuse=True))
    return loops


def _watch(mailbox: Mailbox) -> Loop:
    async def run() -> None:
        watching = asyncio.ensure_future(mailbox.run())
        try:
            await asyncio.shield(watching)
        except asyncio.CancelledError:
            await mailbox.stop()  # the batch in hand is finished and settled
            await asyncio.wait([watching], timeout=20)
            raise

    return run


def _open(desk: Desk, take: MailTaker) -> Loop:
    settings = desk.settings
    domains = {d.strip().lower() for d in settings.smtp_door_domains.split(",") if d.strip()}
    ours = settings.mail_from.lower()

    def account(recipient: str) -> str | None:
        """The mailbox of ours a recipient means, whatever tag it carries (care+c261122-...@shop.example)."""
        local, _, domain = recipient.lower().rpartition("@")
        plain = f"{local.split('+')[0]}@{domain}"
        return plain if plain == ours or domain in domains else None

    async def run() -> None:
        options = DoorOptions(host=settings.smtp_door_host, port=settings.smtp_door_port, max_bytes=settings.max_submission)
        smtp = SmtpDoor(take, account, options)
        await smtp.start()
        try:
            await asyncio.Event().wait()
        finally:
            await smtp.stop()

    return run
