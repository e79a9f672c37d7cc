"""The SMTP and LMTP door: mail pushed to us by the company's own mail server, answered 250 only after it is stored.

It reads the envelope and hands the raw mail on; it never looks inside, stores nothing and retries nothing: the sending server does, for as
long as it hears 4xx (RFC 5321 section 4.5.4, RFC 2033 for LMTP). Meant for servers we know; put a real MTA between it and the Internet.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec
import structlog
from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP, Envelope, Session

from services.intake.adapter import Delivery
from services.intake.mailbox_contract import Take
from shared.errors import SubmissionRejected, TemporaryFailure, TooLarge

log = structlog.get_logger(__name__)
#: RFC 5322 allows 998 characters a line; real mail has far longer ones, and refusing it would lose complaints
MAX_LINE = 1 << 20
LINE_BREAKS = re.compile(r"[\r\n]+")


class Account(Protocol):
    """Which of our accounts a recipient belongs to; None where he is none of ours."""

    def __call__(self, recipient: str, /) -> str | None: ...


class DoorOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where the door stands. port 0 takes a free one. tls: offers STARTTLS; require_tls refuses mail without it. sizes in bytes."""

    host: str = "127.0.0.1"
    port: int = 0
    hostname: str = "complaint-desk"
    lmtp: bool = False
    max_bytes: int = 26_214_400
    tls: ssl.SSLContext | None = None
    require_tls: bool = False
    timeout: float = 120.0
    max_recipients: int = 100


class LongLines:
    line_length_limit = MAX_LINE
    local_part_limit = 256


class DeskSmtp(LongLines, SMTP):
    """SMTP as the door speaks it."""


class DeskLmtp(LongLines, LMTP):
    """LMTP as the door speaks it: every answer to the data comes once a recipient (RFC 2033 section 4.2)."""

    async def push(self, status: Any) -> None:
        text = status if isinstance(status, str) else status.decode("ascii")
        too_much = text.startswith(("552 Error: Too much", "500 Line too long"))
        recipients = len(self.envelope.rcpt_tos) if self.envelope and self.envelope.rcpt_tos else 1
        await super().push("\r\n".join([text] * recipients) if too_much else text)


class SmtpDoor:
    """A listening door. `start` it once, `stop` it once; between them every mail goes through `take`.

    account: says whose mailbox a recipient is, or None to refuse him with 550. clock: the instant of arrival.
    """

    def __init__(
        self, take: Take, account: Account, options: DoorOptions, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.take = take
        self.account = account
        self.options = options
        self.clock = clock
        self.server: asyncio.Server | None = None
        self.under_way: set[asyncio.Task[Any]] = set()

    @property
    def port(self) -> int:
        """The port it listens on; 0 before start."""
        return self.server.sockets[0].getsockname()[1] if self.server and self.server.sockets else 0

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(self.protocol, self.options.host, self.options.port)

    async def stop(self, grace: float = 10.0) -> None:
        """Listen no more, let mail that is being stored finish for `grace` seconds; what is cut off is sent again by its server."""
        if self.server is None:
            return
        self.server.close()
        if self.under_way:
            await asyncio.wait(set(self.under_way), timeout=grace)
        self.server = None

    def protocol(self) -> SMTP:
        options = self.options
        kind = DeskLmtp if options.lmtp else DeskSmtp
        return kind(
            self,
            data_size_limit=options.max_bytes,
            enable_SMTPUTF8=True,
            hostname=options.hostname,
            ident="Complaint Desk",
            tls_context=options.tls,
            require_starttls=options.require_tls,
            timeout=options.timeout,
        )

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, rcpt_options: list[str]) -> str:
        """550 for a stranger, so that his mail goes back to its sender at once."""
        del server, session
        if len(envelope.rcpt_tos) >= self.options.max_recipients:
            return "452 4.5.3 Too many recipients, send the rest separately"
        if self.account(address) is None:
            return "550 5.1.1 No such mailbox here"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(rcpt_options)
        return "250 2.1.5 Recipient accepted"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """One delivery an account; the answer goes out only when all of it is stored."""
        del server, session
        task = asyncio.ensure_future(self.store(envelope))
        self.under_way.add(task)
        task.add_done_callback(self.under_way.discard)
        answers = await asyncio.shield(task)  # a client that hangs up must not undo half a commit
        if self.options.lmtp:
            return "\r\n".join(answers[recipient] for recipient in envelope.rcpt_tos)
        return max(answers.values(), key=lambda answer: SEVERITY.index(answer[0]))

    async def store(self, envelope: Envelope) -> dict[str, str]:
        """The answer for each recipient. Recipients of one account share one delivery."""
        raw = envelope.original_content or b""
        accounts: dict[str, list[str]] = {}
        for recipient in envelope.rcpt_tos:
            accounts.setdefault(self.account(recipient) or "", []).append(recipient)
        answers: dict[str, str] = {}
        for account, recipients in accounts.items():
            headers = {"x-envelope-to": ",".join(recipients), "x-envelope-from": envelope.mail_from or ""}
            delivery = Delivery(raw=raw, account=account, received_at=self.clock(), headers=headers)
            answers.update(dict.fromkeys(recipients, await self.answer(delivery)))
        return answers

    async def answer(self, delivery: Delivery) -> str:
        try:
            (outcome,) = await self.take([delivery])
        except TemporaryFailure as failure:
            return f"451 4.3.0 {one_line(failure.message)}"
        except TooLarge as error:
            return f"552 5.3.4 {one_line(error.message)}"
        except SubmissionRejected as error:
            return f"554 5.6.0 {one_line(error.message)}"
        except Exception:  # ours: the mail stays with its server, which tries again, and the log says why
            log.exception("smtp_door_failed", account=delivery.account)
            return "451 4.3.0 Something failed here, try again later"
        return f"250 2.6.0 {outcome.status}"


#: of several accounts' answers an SMTP client hears one: 4xx wins, since sending again harms nobody, then 5xx
SEVERITY = "254"


def one_line(text: str) -> str:
    """A message fit for an SMTP answer: one line of ASCII, at most 400 characters."""
    return LINE_BREAKS.sub(" ", text).encode("ascii", "replace").decode("ascii")[:400]
