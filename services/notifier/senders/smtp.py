"""Sends letters as mail over SMTP, through a small pool of kept connections. Never retries a letter, never words one.

Settings (all strings, none required):
    from        our address, where the relay wants another than the desk's own (DESK_MAIL_FROM)
    host, port  the relay; port 0 means 465 for tls=implicit, 587 with a user, 25 otherwise
    user, password
    oauth       instead of the password, for Gmail and Microsoft: a JSON object as in DESK_MAILBOXES ("provider", "client_id", ...)
    tls         auto (STARTTLS where offered; required as soon as there is a user), starttls, implicit or none
    ca_file     PEM file of the authority to trust; empty means the system's
    envelope    who hears of bounces: `from`; `reply` (the keyed reply address, so that a bounce names its complaint); `null` (nobody,
                RFC 3834 section 4); or a mailbox such as bounce@shop.example, to which the letter's key is added
    hello       name given in EHLO; empty means this machine's
    connections kept connections, 4; timeout seconds of one answer, 30
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Annotated, ClassVar, Literal

import aiosmtplib
import msgspec

from services.notifier.mime import render_mail
from services.notifier.sender import Letter, Sender, Sent
from services.notifier.sender_settings import read_options
from shared.errors import ConfigError, TemporaryFailure, Undeliverable
from shared.oauth import OAuth, Tokens
from shared.reach import address_is_dead

WORD = r"[^\s<>()\[\]@,;:\\\"\x00-\x1f\x7f.]+"
ADDRESS = re.compile(rf"(?=[^@]{{1,64}}@.{{1,255}}\Z){WORD}(?:\.+{WORD})*@{WORD}(?:\.{WORD})*")
STATUS = re.compile(r"\b5\.\d{1,3}\.\d{1,3}\b")
IDLE_CHECK = 30.0
LOCAL_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})
#: the relay wants a login or refuses ours: nothing about the recipient
LOGIN_CODES = frozenset({530, 534, 535, 538})


class SmtpOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"sender": "from"}):
    sender: str = ""
    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    user: str = ""
    password: str = ""
    oauth: str = ""
    tls: Literal["auto", "starttls", "implicit", "none"] = "auto"
    ca_file: str = ""
    envelope: str = "from"
    hello: str = ""
    connections: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    timeout: Annotated[float, msgspec.Meta(gt=0, le=600)] = 30.0

    @property
    def place(self) -> str:
        return f"{self.host}:{self.effective_port}"

    @property
    def effective_port(self) -> int:
        return self.port or (465 if self.tls == "implicit" else 587 if self.user else 25)


class Connection:
    """One kept connection of the pool. Knows how to be alive, to begin a mail, and to forget one that failed."""

    def __init__(self, options: SmtpOptions, context: ssl.SSLContext | None, tokens: Tokens | None = None) -> None:
        self.options = options
        self.context = context
        self.tokens = tokens
        self.client: aiosmtplib.SMTP | None = None
        self.used_at = 0.0

    async def begin(self, envelope: str, recipient: str) -> aiosmtplib.SMTP:
        """The relay has taken sender and recipient and waits for the content.

        A kept connection that turns out dead is replaced, once and silently: nothing of the letter has gone out by then.
        """
        client = await self.alive()
        try:
            await self.greet(client, envelope, recipient)
        except (aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPSenderRefused) as error:
            gone = not isinstance(error, aiosmtplib.SMTPSenderRefused) or error.code == aiosmtplib.SMTPStatus.domain_unavailable
            if not gone or not self.used_at:
                raise
            client = await self.connect()
            await self.greet(client, envelope, recipient)
        await client.rcpt(recipient, encoding="utf-8")
        return client

    async def greet(self, client: aiosmtplib.SMTP, envelope: str, recipient: str) -> None:
        if recipient.isascii():
            await client.mail(envelope)
        elif client.supports_extension("smtputf8"):
            await client.mail(envelope, options=["SMTPUTF8"])
        else:
            raise Undeliverable(f"The relay {self.options.place} takes no address beyond ASCII. Ask the customer for another one.")

    async def alive(self) -> aiosmtplib.SMTP:
        """The kept client, asked for a sign of life when it has lain idle, or a new one."""
        if self.client is None or not self.client.is_connected:
            return await self.connect()
        if asyncio.get_running_loop().time() - self.used_at > IDLE_CHECK:
            try:
                await self.client.noop()
            except (aiosmtplib.SMTPException, OSError):
                return await self.connect()
        return self.client

    async def connect(self) -> aiosmtplib.SMTP:
        self.drop()
        options = self.options
        starttls = True if options.tls == "starttls" else False if options.tls in ("implicit", "none") else None
        client = aiosmtplib.SMTP(
            hostname=options.host,
            port=options.effective_port,
            username=options.user or None,
            password=None if self.tokens else options.password or None,
            oauth_token_generator=partial(asyncio.to_thread, self.tokens) if self.tokens else None,
            local_hostname=options.hello or None,
            timeout=options.timeout,
            use_tls=options.tls == "implicit",
            start_tls=starttls,
            tls_context=self.context,
        )
        self.used_at = 0.0
        try:
            await client.connect()
            await client.ehlo()
        except BaseException as error:
            if self.tokens and isinstance(error, aiosmtplib.SMTPAuthenticationError):
                self.tokens.forget()  # it may have been withdrawn before its time
            client.close()
            raise
        self.client = client
        return client

    async def reset(self) -> None:
        """Forget a mail that failed half way; where the relay does not answer to that, forget the connection."""
        if self.client is None or not self.client.is_connected:
            return
        try:
            await self.client.rset()
        except (aiosmtplib.SMTPException, OSError):
            self.drop()

    def drop(self) -> None:
        if self.client is not None:
            self.client.close()
            self.client = None

    async def quit(self) -> None:
        if self.client is not None and self.client.is_connected:
            with suppress(aiosmtplib.SMTPException, OSError):
                await self.client.quit(timeout=2)
        self.drop()


class SmtpSender(Sender):
    name: ClassVar[str] = "smtp"
    sources: ClassVar[tuple[str, ...]] = ("email",)
    repeatable: ClassVar[bool] = True  # every attempt has the same Message-ID and the same bytes

    async def open(self, settings: Mapping[str, str]) -> None:
        self.options = checked(read_options(self.name, settings, SmtpOptions))
        context = await asyncio.to_thread(tls_context, self.options)
        self.free = asyncio.Semaphore(self.options.connections)
        tokens = Tokens(read_oauth(self.options.oauth)) if self.options.oauth else None
        self.idle = [Connection(self.options, context, tokens) for _ in range(self.options.connections)]

    async def send(self, letter: Letter) -> Sent:
        recipient = ascii_domain(letter.notice.recipient)
        if self.options.sender:
            letter = msgspec.structs.replace(letter, mail_from=self.options.sender)
        mail = render_mail(letter)
        envelope = envelope_sender(self.options.envelope, letter)
        async with self.connection() as connection:
            content_sent = False
            try:
                client = await connection.begin(envelope, recipient)
                content_sent = True
                response = await client.data(mail)
            except (aiosmtplib.SMTPException, OSError) as error:
                raise translated(error, self.options, content_sent=content_sent) from error
        return Sent(external_id=letter.message_id, said=one_answer(response.message))

    async def close(self) -> None:
        await asyncio.gather(*(connection.quit() for connection in self.idle))

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Connection]:
        """A connection for one letter, the one used last first. It goes back clean: after a failure reset, after a cancellation closed."""
        async with self.free:
            connection = self.idle.pop()
            try:
                yield connection
                connection.used_at = asyncio.get_running_loop().time()
            except Exception:
                await connection.reset()
                raise
            except BaseException:
                connection.drop()
                raise
            finally:
                self.idle.append(connection)


def checked(options: SmtpOptions) -> SmtpOptions:
    """The options, when they make sense together. Raises ConfigError."""
    if options.sender and not (ADDRESS.fullmatch(options.sender) and options.sender.isascii()):
        raise ConfigError("'from' of the sender 'smtp' is no mail address like care@shop.example. Mend it in DESK_SENDERS.")
    if options.envelope not in ("from", "reply", "null") and not ADDRESS.fullmatch(options.envelope):
        raise ConfigError("The setting 'envelope' of the sender 'smtp' is from, reply, null or a mail address. Mend it in DESK_SENDERS.")
    if options.user and options.host not in LOCAL_HOSTS:
        if options.tls == "none":
            raise ConfigError("The sender 'smtp' would send its password in the clear. Set 'tls' to starttls or implicit in DESK_SENDERS.")
        if options.tls == "auto":
            return msgspec.structs.replace(options, tls="implicit" if options.port == 465 else "starttls")
    return options


def read_oauth(text: str) -> OAuth:
    """Raises ConfigError."""
    try:
        return msgspec.json.decode(text, type=OAuth)
    except msgspec.DecodeError as error:
        raise ConfigError(
            f"'oauth' of the sender 'smtp' cannot be read: {error}. Write a JSON object with provider and client_id."
        ) from None


def tls_context(options: SmtpOptions) -> ssl.SSLContext | None:
    """How the relay is checked. TLS only taken where offered is not checked (RFC 7435): the other choice is to send in the clear."""
    if options.tls == "none":
        return None
    try:
        context = ssl.create_default_context(cafile=options.ca_file or None)
    except (OSError, ssl.SSLError):
        raise ConfigError(f"'ca_file' of the sender 'smtp' ({options.ca_file}) is no readable PEM file. Mend it in DESK_SENDERS.") from None
    if options.tls == "auto" and not options.ca_file:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def ascii_domain(address: str) -> str:
    """The address with its domain in ASCII (IDNA). Raises Undeliverable for what is no single address."""
    plain = address.strip()
    if not ADDRESS.fullmatch(plain):
        raise Undeliverable("The customer's mail address is not one. Ask for the right one or use another channel.", lasting=True)
    local, _, domain = plain.rpartition("@")
    try:
        return plain if domain.isascii() else f"{local}@{domain.encode('idna').decode()}"
    except UnicodeError:
        raise Undeliverable("The customer's mail address has a domain that cannot exist. Ask for the right one.", lasting=True) from None


def envelope_sender(wanted: str, letter: Letter) -> str:
    """Who hears of bounces; see `envelope` above. Empty is the null sender."""
    if wanted == "null":
        return ""
    if wanted == "from" or not letter.reply_to:
        return letter.mail_from if wanted in ("from", "reply") else wanted
    if wanted == "reply":
        return letter.reply_to
    key = letter.reply_to.rpartition("@")[0].partition("+")[2]
    local, _, domain = wanted.rpartition("@")
    return f"{local}+{key}@{domain}"


def translated(error: aiosmtplib.SMTPException | OSError, options: SmtpOptions, *, content_sent: bool) -> TemporaryFailure | Undeliverable:
    """Whose fault it is, by what the relay said and when (RFC 5321 section 4.2.1): 4xx passes, 5xx about the recipient stays.

    A 5xx about ourselves (login, our address) is the operator's to mend, so the letter waits for that.
    """
    place = f"The mail relay {options.place}"
    if not isinstance(error, aiosmtplib.SMTPResponseException):
        if content_sent:
            return TemporaryFailure(f"{place} fell silent after the content was sent; it may have the mail.", uncertain=True)
        why = f"{type(error).__name__}: {one_answer(str(error))}"
        return TemporaryFailure(f"{place} does not answer ({why}). See that it runs and that DESK_SENDERS is right.")
    said = f"{error.code} {one_answer(error.message)}"
    if isinstance(error, aiosmtplib.SMTPAuthenticationError) or error.code in LOGIN_CODES:
        return TemporaryFailure(f"{place} refuses our login: {said}. Mend 'user' and 'password' of the sender smtp in DESK_SENDERS.")
    if error.code < 500:
        return TemporaryFailure(f"{place} asks us to come back: {said}.")
    if isinstance(error, aiosmtplib.SMTPRecipientRefused):
        return Undeliverable(f"{place} refuses the recipient: {said}.", lasting=is_dead(error))
    if isinstance(error, aiosmtplib.SMTPDataError):
        return Undeliverable(f"{place} refuses the mail: {said}. Where many are refused, see to our domain (SPF, DKIM, DMARC, quota).")
    return TemporaryFailure(f"{place} refuses us: {said}. Mend 'from', 'envelope' or 'host' of the sender smtp in DESK_SENDERS.")


def is_dead(refused: aiosmtplib.SMTPResponseException) -> bool:
    """Whether a refused recipient does not exist, by the enhanced code (RFC 3463) where the relay gives one, else by RFC 5321's own."""
    status = STATUS.search(refused.message)
    return address_is_dead(status[0]) if status else refused.code in (550, 551, 553)


def one_answer(message: str) -> str:
    """What the relay said, on one line and not without end."""
    return " ".join(message.encode("utf-8", "replace").decode().split())[:200]


SENDER = SmtpSender()
