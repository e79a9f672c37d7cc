"""One IMAP mailbox as a source of mail: fetches what is new, hands it over, and settles it only when it is stored.

The only module that imports imapclient. It never looks inside a mail and decides nothing about it: `take` answers for each what became of
it. UIDs, not \\Seen flags, say what is new (a person who opens the mailbox must hide nothing from us); the last UID is written with the
outcomes in one go by `state`, so that after any crash the same mails come again and are recognised as duplicates. IDLE is a hint, the
search for higher UIDs the truth (RFC 3501 section 2.3.1.1, RFC 2177).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import selectors
import socket
import ssl
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import imapclient  # pyright: ignore[reportMissingTypeStubs] - it ships none; its objects are typed Any below
import msgspec
import structlog
from imapclient.exceptions import IMAPClientError, LoginError  # pyright: ignore[reportMissingTypeStubs] - as above

from services.intake.adapter import Delivery
from services.intake.mailbox_contract import (
    NEVER,
    MailboxOptions,
    MailboxState,
    Outcome,
    Position,
    Preview,
    Quarantine,
    Settled,
    Standing,
    Take,
)
from shared.errors import DeskError, TemporaryFailure
from shared.oauth import Tokens

log = structlog.get_logger(__name__)
T = TypeVar("T")
#: what a rebuilt mailbox may have given back to us: mail up to this much older than our last visit is looked at again
REBUILT_MARGIN = timedelta(days=7)
#: how often a quiet mailbox's `last_ok_at` is written down
NOTE_EVERY = timedelta(minutes=1)
#: what goes wrong with a server as a matter of course; imapclient asserts what a server promised
CONNECTION_TROUBLE = (OSError, IMAPClientError, DeskError, AssertionError)
IDENTITY = {
    "name": "Complaint Desk",
    "version": "1",
    "vendor": "Complaint Desk",
    "support-email": "postmaster@localhost",
}


class Fetched(msgspec.Struct, frozen=True):
    uid: int
    delivery: Delivery
    too_large: int = 0


class Mailbox:
    """One mailbox, watched from `run` until `stop`. All IMAP work happens in one thread of its own.

    token: gives a fresh OAuth access token for XOAUTH2 (RFC 7628's predecessor) at each connection; used instead of the password.
    """

    def __init__(
        self,
        options: MailboxOptions,
        state: MailboxState,
        take: Take,
        quarantine: Quarantine,
        *,
        token: Callable[[], str] | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        backoff: tuple[float, float] = (1.0, 300.0),
    ) -> None:
        self.options = options
        self.state = state
        self.take = take
        self.quarantine = quarantine
        self.token = token
        self.clock = clock
        self.backoff = backoff
        self.connected = False
        self.last_error = ""
        self.counts: dict[str, int] = {}
        self.client: Any = None  # imapclient ships no types worth checking against
        self.idling = False
        self.selected: dict[bytes, Any] = {}
        self.stopping = asyncio.Event()
        self.handled: deque[tuple[datetime, int]] = deque()
        self.thread = ThreadPoolExecutor(1, thread_name_prefix=f"imap-{options.name}")

    async def run(self) -> None:
        """Watch the mailbox until `stop`: connect, catch up, wait; after any failure connect again, later each time."""
        pause = self.backoff[0]
        try:
            while not self.stopping.is_set():
                try:
                    await self.call(self.connect)
                    self.connected, self.last_error, pause = True, "", self.backoff[0]
                    log.info("mailbox_connected", mailbox=self.options.name)
                    while not self.stopping.is_set():
                        while await self.catch_up():
                            pass  # what came meanwhile was announced in answers to our own commands, and IDLE does not say it again
                        await self.wait_for_news()
                except CONNECTION_TROUBLE as error:
                    # time-outs, tokens that ran out and servers that hang up are normal life
                    if not self.stopping.is_set():
                        self.last_error = explain(error)
                        log.warning("mailbox_connection_lost", mailbox=self.options.name, error=self.last_error, retry_in=round(pause, 1))
                        await self.tell_trouble()
                except Exception as error:  # a defect of ours must not end the watch; mail waits on the server meanwhile
                    self.last_error = explain(error)
                    log.exception("mailbox_failed", mailbox=self.options.name)
                    await self.tell_trouble()
                await self.disconnect()
                await self.pause(pause * random.uniform(0.8, 1.2))  # noqa: S311 - spreads reconnections, guards nothing
                pause = min(pause * 2, self.backoff[1])
        finally:
            await self.disconnect()
            self.thread.shutdown(wait=False)

    def twin(self) -> Mailbox:
        """The same mailbox with a connection of its own, to look at it while this one runs."""
        return Mailbox(self.options, self.state, self.take, self.quarantine, token=self.token, clock=self.clock)

    async def tell_trouble(self) -> None:
        """Write down what is wrong, for those who ask the ledger; where that is away, the log has it."""
        with contextlib.suppress(DeskError):
            await self.state.trouble(self.options.name, self.last_error)

    async def stop(self) -> None:
        """Ask `run` to end: it finishes the batch it has in hand, settles it, and returns."""
        self.stopping.set()
        if self.idling:
            self.hang_up()

    async def standing(self, above: int = 0) -> Standing:
        """The mailbox, from UID `above` + 1 on, compared with our records, over a connection of its own that changes nothing.

        Call it on a Mailbox of its own, not on the one that runs; the two may be at work together.
        """
        async with self.visit() as position:
            exists = int(self.selected.get(b"EXISTS", 0))
            if position is None:
                waiting = exists if self.options.start == "all" else 0
                return Standing(exists=exists, ours=waiting, waiting=waiting, missing=(), position=None)
            if position.uidvalidity != self.uidvalidity:
                waiting = len(await self.call(lambda: self.since(position)))
                return Standing(exists=exists, ours=waiting, waiting=waiting, missing=(), position=position, rebuilt=True)
            # the position was read before the server is asked, so that mail settled meanwhile counts as waiting, never as missing
            ours = set(await self.call(lambda: self.above(max(above, position.start_uid))))
            settled = await self.state.settled_uids(self.options.name, position.uidvalidity, above)
            missing = tuple(sorted(uid for uid in ours - settled if uid <= position.last_uid))
            waiting = sum(uid > position.last_uid for uid in ours)
            return Standing(exists=exists, ours=len(ours), waiting=waiting, missing=missing, position=position)

    async def preview(self) -> Preview:
        """What the next visit would take, over a connection of its own that changes nothing; call it on a Mailbox that does not run."""
        async with self.visit() as position:
            exists = int(self.selected.get(b"EXISTS", 0))
            if position is None:
                uids = await self.call(lambda: self.above(0)) if self.options.start == "all" else []
            elif position.uidvalidity != self.uidvalidity:
                uids = await self.call(lambda: self.since(position))
            else:
                uids = await self.call(lambda: self.above(position.last_uid))
            sizes: list[int] = []
            moments: list[datetime] = []
            for some in chunks(uids, 500):
                found = await self.call(lambda some=some: self.client.fetch(list(some), ["RFC822.SIZE", "INTERNALDATE"]))
                sizes += [int(fields[b"RFC822.SIZE"]) for fields in found.values()]
                moments += [fields[b"INTERNALDATE"].astimezone(UTC) for fields in found.values()]
            return Preview(
                exists=exists,
                waiting=len(uids),
                size=sum(sizes),
                too_large=sum(size > self.options.max_bytes for size in sizes),
                oldest=min(moments, default=None),
                newest=max(moments, default=None),
            )

    @contextlib.asynccontextmanager
    async def visit(self) -> AsyncGenerator[Position | None]:
        """Look without touching: the saved position, and `selected` and `client` as long as the block runs."""
        position = await self.state.position(self.options.name)
        try:
            await self.call(lambda: self.connect(readonly=True))
            yield position
        finally:
            await self.disconnect()
            self.thread.shutdown(wait=False)

    @property
    def uidvalidity(self) -> int:
        return int(self.selected.get(b"UIDVALIDITY", 0))

    async def call(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.thread, work)

    async def pause(self, seconds: float) -> None:
        """Wait, or return at once when asked to stop."""
        if not self.stopping.is_set():
            try:
                await asyncio.wait_for(self.stopping.wait(), seconds)
            except TimeoutError:
                return

    # -- in the mailbox's thread ------------------------------------------------------------------------------------

    def connect(self, *, readonly: bool = False) -> None:
        """Connect, log in, say who we are where the server wants to know (RFC 2971; NetEase refuses SELECT without it), select."""
        options = self.options
        context = ssl.create_default_context(cafile=options.ca_file or None) if options.ssl or options.starttls else None
        timeout = imapclient.SocketTimeout(connect=options.connect_timeout, read=options.read_timeout)
        make: Any = imapclient.IMAPClient
        client = make(options.host, port=options.port or None, ssl=options.ssl, ssl_context=context, timeout=timeout)
        self.client = client
        client.normalise_times = False  # aware instants instead of naive local ones
        if options.starttls and not options.ssl:
            client.starttls(context)
        if self.token is not None:
            try:
                client.oauth2_login(options.user, self.token())
            except IMAPClientError:
                if isinstance(self.token, Tokens):
                    self.token.forget()  # it may have been withdrawn before its time
                raise
        else:
            client.login(options.user, options.password)
        if client.has_capability("ID"):
            client.id_(IDENTITY)
        self.selected = dict(client.select_folder(options.folder, readonly=readonly))

    def hang_up(self) -> None:
        """Wake the thread that waits for news. From outside that thread only a shut socket does it."""
        try:
            self.client.socket().shutdown(socket.SHUT_RDWR)
        except (OSError, AttributeError):
            return

    async def disconnect(self) -> None:
        self.connected = False
        await self.call(self.close)

    def close(self) -> None:
        # in the mailbox's thread, so that a connection that was still being made when somebody gave up is closed too
        client, self.client = self.client, None
        if client is None:
            return
        try:
            client.logout()
        except (OSError, IMAPClientError, AssertionError):
            with contextlib.suppress(OSError, IMAPClientError):
                client.shutdown()

    def idle(self) -> None:
        """Wait until the server says something, the connection breaks, or it is time to show life again (RFC 2177: under 29 minutes)."""
        self.client.idle()
        self.idling = True
        try:
            if not self.stopping.is_set():
                self.wait_for_a_word()
        finally:
            self.idling = False
        self.client.idle_done()

    def wait_for_a_word(self) -> None:
        """Until the server says anything, or idle_seconds have passed; `idle_done` reads what it was.

        Not the library's idle_check, which takes half a line for a broken connection and sleeps on what has been read along already.
        """
        line = self.client.socket()
        line.setblocking(False)
        try:
            with contextlib.suppress(ssl.SSLWantReadError):
                if self.client._imap.file.peek(1):  # the library has no public way to what it holds
                    return
            with selectors.DefaultSelector() as listening:
                listening.register(line, selectors.EVENT_READ)
                listening.select(self.options.idle_seconds)
        finally:
            line.settimeout(self.options.read_timeout)

    def above(self, uid: int) -> list[int]:
        """The UIDs above this one, rising. n:* always matches the newest mail, also when it is not above n (RFC 3501 section 6.4.8)."""
        return sorted(found for found in self.client.search(["UID", f"{uid + 1}:*"]) if found > uid)

    def since(self, position: Position) -> list[int]:
        """In a rebuilt mailbox: the UIDs of all mail that may have come after we last had read everything, rising."""
        since = max((position.last_ok_at or NEVER) - REBUILT_MARGIN, NEVER)
        return sorted(self.client.search(["SINCE", since.date()]))

    def sizes(self, uids: Sequence[int]) -> dict[int, int]:
        found: dict[int, dict[bytes, Any]] = self.client.fetch(list(uids), ["RFC822.SIZE"])
        return {uid: int(fields[b"RFC822.SIZE"]) for uid, fields in found.items() if b"RFC822.SIZE" in fields}

    def fetch(self, uids: Sequence[int], whole: bool = True) -> list[Fetched]:
        """The mails of these UIDs that still exist; of too large ones only the header. PEEK leaves them unseen."""
        body = "BODY.PEEK[]" if whole else "BODY.PEEK[HEADER]"
        found: dict[int, dict[bytes, Any]] = self.client.fetch(list(uids), [body, "INTERNALDATE", "RFC822.SIZE"])
        fetched: list[Fetched] = []
        for uid in uids:
            fields = found.get(uid, {})
            raw = fields.get(b"BODY[]" if whole else b"BODY[HEADER]")
            if raw is None:
                continue  # expunged meanwhile
            moment = fields.get(b"INTERNALDATE")
            received_at = moment.astimezone(UTC) if isinstance(moment, datetime) and moment.tzinfo else self.clock()
            headers = {"x-imap-uid": str(uid), "x-imap-uidvalidity": str(self.uidvalidity), "x-imap-folder": self.options.folder}
            delivery = Delivery(raw=raw, account=self.options.account or self.options.user, received_at=received_at, headers=headers)
            fetched.append(Fetched(uid, delivery, 0 if whole else int(fields.get(b"RFC822.SIZE", 0))))
        return fetched

    def mark(self, uids: Sequence[int]) -> None:
        """Show on the server that these mails are taken; best effort, since the outcome is already saved."""
        if not uids or self.options.after == "leave":
            return
        if self.options.after == "seen":
            self.client.add_flags(list(uids), [imapclient.SEEN], silent=True)
        elif self.client.has_capability("MOVE"):
            self.client.move(list(uids), self.options.move_to)
        else:
            self.client.copy(list(uids), self.options.move_to)
            self.client.delete_messages(list(uids), silent=True)
            if self.client.has_capability("UIDPLUS"):
                self.client.uid_expunge(list(uids))

    # -- in the event loop ------------------------------------------------------------------------------------------

    async def wait_for_news(self) -> None:
        if self.stopping.is_set():
            return
        if self.options.idle_seconds > 0 and self.client.has_capability("IDLE") and not self.over_the_hour():
            await self.call(self.idle)
        else:
            await self.pause(self.options.poll_seconds)
            if not self.stopping.is_set():
                await self.call(lambda: self.client.noop())

    async def catch_up(self) -> bool:
        """Take everything above the saved position, in order of arrival, batch by batch; whether there was any, and all was taken."""
        position, uids = await self.find_work()
        for some in chunks(uids, 500):
            known = await self.call(lambda some=some: self.sizes(some))
            for batch in batches(some, known, self.options):
                if self.stopping.is_set() or self.over_the_hour():
                    return False
                position = await self.handle(batch, known, position)
        now = self.clock()
        if uids or now - (position.last_ok_at or NEVER) > NOTE_EVERY:
            await self.state.settle(self.options.name, msgspec.structs.replace(position, last_ok_at=now), ())
        return bool(uids)

    async def find_work(self) -> tuple[Position, list[int]]:
        """Where we stand and which UIDs are new. A first visit starts as configured, a rebuilt mailbox a week before our last visit."""
        name = self.options.name
        position = await self.state.position(name)
        if position is None:
            from_now = self.options.start == "now"
            start = self.newest() if from_now else 0
            position = Position(self.uidvalidity, start, start, self.clock() if from_now else NEVER)
            await self.state.settle(name, position, ())
        elif position.uidvalidity != self.uidvalidity:
            position = await self.begin_again(position)
        uids = await self.call(lambda: self.above(position.last_uid))
        if uids:
            known = await self.state.settled_uids(name, position.uidvalidity, position.last_uid)
            uids = [uid for uid in uids if uid not in known]
        return position, uids

    async def begin_again(self, old: Position) -> Position:
        """All UIDs are new. What is surely older than our last visit gets its outcome at once, all else is read again and recognised."""
        uids = await self.call(lambda: self.since(old))
        log.warning("mailbox_rebuilt", mailbox=self.options.name, old=old.uidvalidity, new=self.uidvalidity, to_read_again=len(uids))
        start = uids[0] - 1 if uids else self.newest()
        position = Position(self.uidvalidity, start, start, old.last_ok_at)
        read_before = set(await self.call(lambda: self.above(start))).difference(uids)
        reason = "It was in the mailbox before it was rebuilt and had its outcome then."
        await self.state.settle(self.options.name, position, [Settled(uid, "ignored", reason) for uid in sorted(read_before)])
        return position

    def newest(self) -> int:
        """The highest UID there may be now."""
        return int(self.selected.get(b"UIDNEXT", 1)) - 1

    async def handle(self, uids: Sequence[int], sizes: dict[int, int], position: Position) -> Position:
        """Fetch, hand over, save, mark: one batch. Only after the outcomes are saved does the server hear of it."""
        too_large = [uid for uid in uids if sizes.get(uid, 0) > self.options.max_bytes]
        ordinary = [uid for uid in uids if uid not in too_large]
        fetched = await self.call(lambda: self.fetch(ordinary)) if ordinary else []
        outcomes = dict(zip((item.uid for item in fetched), await self.hand_over([item.delivery for item in fetched]), strict=True))
        for item in await self.call(lambda: self.fetch(too_large, whole=False)) if too_large else []:
            reason = (
                f"The mail has {item.too_large} bytes, more than {self.options.max_bytes}. "
                "Only its header was fetched; the mail is still in the mailbox."
            )
            await self.quarantine(item.delivery, reason)
            outcomes[item.uid] = Outcome("quarantined", reason)
        gone = Outcome("ignored", "It was deleted from the mailbox before it could be read.")
        settled = [Settled(uid, o.status, o.reason, o.reference) for uid in uids for o in (outcomes.get(uid, gone),)]
        position = msgspec.structs.replace(position, last_uid=max(position.last_uid, *uids))
        await self.state.settle(self.options.name, position, settled)
        for item in settled:
            self.counts[item.status] = self.counts.get(item.status, 0) + 1
        self.handled.append((self.clock(), len(uids)))
        try:
            await self.call(lambda: self.mark([item.uid for item in settled if item.status != "quarantined" and item.uid in outcomes]))
        except (OSError, IMAPClientError) as error:
            log.warning("mailbox_mark_failed", mailbox=self.options.name, error=explain(error))
        return position

    async def hand_over(self, deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        """The outcomes of a batch. When it fails as a whole, each mail alone, so that a bad one never stops the rest."""
        if not deliveries:
            return ()
        try:
            return await self.take(deliveries)
        except TemporaryFailure:
            raise
        except Exception:
            if len(deliveries) > 1:
                log.warning("mailbox_batch_failed", mailbox=self.options.name, mails=len(deliveries))
                return [(await self.hand_over([delivery]))[0] for delivery in deliveries]
            log.exception("mailbox_mail_failed", mailbox=self.options.name, uid=deliveries[0].headers.get("x-imap-uid"))
        reason = "Reading it failed here; the log of intake says why. Replay it from quarantine when that is mended."
        await self.quarantine(deliveries[0], reason)
        return (Outcome("quarantined", reason),)

    def over_the_hour(self) -> bool:
        """Whether the cap of the hour is used up."""
        if not self.options.max_per_hour:
            return False
        begin = self.clock() - timedelta(hours=1)
        while self.handled and self.handled[0][0] < begin:
            self.handled.popleft()
        return sum(count for _, count in self.handled) >= self.options.max_per_hour


def chunks(uids: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(uids), size):
        yield uids[start : start + size]


def batches(uids: Sequence[int], sizes: dict[int, int], options: MailboxOptions) -> Iterator[list[int]]:
    """UIDs in order, in batches bounded in number and bytes; a mail larger than the bytes stands alone."""
    batch: list[int] = []
    weight = 0
    limit = min(options.batch, options.max_per_hour or options.batch)
    for uid in uids:
        size = sizes.get(uid, 0)
        if batch and (len(batch) >= limit or weight + size > options.batch_bytes):
            yield batch
            batch, weight = [], 0
        batch.append(uid)
        weight += size
    if batch:
        yield batch


def explain(error: BaseException) -> str:
    """An error in words that name the mend where there is a usual one."""
    if isinstance(error, LoginError):
        return (
            f"The server refused the login: {error}. Check user and password; many providers want an app password "
            "or authorisation code instead of the account's own password."
        )
    if isinstance(error, DeskError):
        return error.message
    return f"{type(error).__name__}: {error}"[:300]
