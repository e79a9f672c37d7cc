"""A mail relay on loopback that takes everything and keeps it: for the demo, the tests and the benchmarks. Never part of a running desk.

Why not aiosmtpd: it takes about a sixth as many mails a second (bench/senders.py measures both) and would be the limit of what it
measures. Speaks EHLO, HELO, MAIL, RCPT, DATA, RSET, NOOP, VRFY, QUIT, STARTTLS, AUTH PLAIN and LOGIN, with PIPELINING, SIZE, 8BITMIME
and SMTPUTF8; has knobs for what goes wrong in life.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import ssl
from collections import Counter, deque
from pathlib import Path
from typing import Self, cast

from services.demo.received_mail import ReceivedMail

PATH = re.compile(r"(?:FROM|TO):\s*<([^>]*)>", re.IGNORECASE)
END = b"\r\n.\r\n"
LARGEST = 50 * 1024 * 1024
UNSAFE = re.compile(r"[^A-Za-z0-9@._+-]+")


class SmtpFaults:
    """What goes wrong next. Counters go down by one each time; what is left of them is visible to a test.

    busy: answers 451 to that many RCPT. busy_data: answers 452 to that many contents. cut_after_data: takes that many mails and cuts
    the line before it says so. cut_before_data: cuts the line at that many DATA. closing: answers 421 to that many MAIL and hangs up.
    refuse: recipient -> what is said to it ("550 5.1.1 no such user"). refuse_sender, refuse_content: said to MAIL and to the content.
    slow: seconds before a content is answered.
    """

    def __init__(self) -> None:
        self.busy = 0
        self.busy_data = 0
        self.cut_after_data = 0
        self.cut_before_data = 0
        self.closing = 0
        self.refuse: dict[str, str] = {}
        self.refuse_sender = ""
        self.refuse_content = ""
        self.slow = 0.0

    def due(self, counter: str) -> bool:
        left = int(getattr(self, counter))
        if left > 0:
            setattr(self, counter, left - 1)
        return left > 0


class SmtpPeer:
    """The relay. `mails` holds the last `keep` mails, `message_ids` counts every id ever taken, `count` every mail.

    login: (user, password) without which MAIL is refused; with `oauth` the password is an access token. tls: offers STARTTLS, or
    speaks TLS from the start when `implicit`.
    mail_dir: every mail is also written there as an .eml file that any mail program opens.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        mail_dir: str | Path | None = None,
        keep: int = 10_000,
        login: tuple[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        implicit: bool = False,
        oauth: bool = False,
    ) -> None:
        self.host = host
        self.port = port
        self.mail_dir = Path(mail_dir) if mail_dir else None
        self.login = login
        self.tls = tls
        self.implicit = implicit
        self.oauth = oauth
        self.mails: deque[ReceivedMail] = deque(maxlen=keep)
        self.message_ids: Counter[str] = Counter()
        self.count = 0
        self.connected = 0
        self.faults = SmtpFaults()
        self.sessions: set[SmtpSession] = set()
        self.server: asyncio.Server | None = None

    async def start(self) -> Self:
        if self.mail_dir:
            self.mail_dir.mkdir(parents=True, exist_ok=True)
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: SmtpSession(self), self.host, self.port, ssl=self.tls if self.implicit else None)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        if self.server:
            self.server.close()
            self.drop_connections()
            await self.server.wait_closed()
            self.server = None

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def drop_connections(self) -> None:
        """Cut every line, as a relay does that restarts."""
        for session in tuple(self.sessions):
            session.cut()

    def clear(self) -> None:
        self.mails.clear()
        self.message_ids.clear()
        self.count = 0

    def take(self, mail: ReceivedMail) -> None:
        self.count += 1
        self.mails.append(mail)
        self.message_ids[mail.message_id] += 1
        if self.mail_dir:
            name = UNSAFE.sub("_", mail.recipients[0] if mail.recipients else "nobody")[:80]
            (self.mail_dir / f"{self.count:05d}-{name}.eml").write_bytes(mail.raw)


class SmtpSession(asyncio.Protocol):
    """One connection. Commands are answered in order; what comes pipelined is answered in one write."""

    def __init__(self, peer: SmtpPeer) -> None:
        self.peer = peer
        self.transport: asyncio.Transport | None = None
        self.buffer = bytearray()
        self.answers: list[str] = []
        self.busy = False
        self.reading_data = False
        self.asking_login = ""
        self.user = ""
        self.known = peer.login is None
        self.sender: str | None = None
        self.recipients: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.peer.sessions.add(self)
        self.peer.connected += 1
        self.say("220 loopback relay ready")
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.peer.sessions.discard(self)
        self.transport = None

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self.work()

    def work(self) -> None:
        """Everything that has arrived whole; stops while a slow answer or a TLS handshake is pending."""
        while not self.busy and self.transport is not None:
            if self.reading_data:
                if not self.read_content():
                    break
                continue
            end = self.buffer.find(b"\n")
            if end < 0:
                break
            line = bytes(self.buffer[:end]).rstrip(b"\r").decode("utf-8", "replace")
            del self.buffer[: end + 1]
            self.command(line)
        self.flush()

    def read_content(self) -> bool:
        if self.buffer.startswith(b".\r\n"):
            end, length = 0, 3
        else:
            found = self.buffer.find(END)
            if found < 0:
                if len(self.buffer) > LARGEST:
                    self.cut()
                return False
            end, length = found + 2, len(END)
        raw = bytes(self.buffer[:end])
        del self.buffer[: (end + 3 if end else length)]
        self.reading_data = False
        if raw.startswith(b".") or b"\r\n." in raw:
            raw = (b"\r\n" + raw).replace(b"\r\n..", b"\r\n.")[2:]
        if self.peer.faults.slow:
            self.busy = True
            asyncio.get_running_loop().call_later(self.peer.faults.slow, self.answer_late, raw)
        else:
            self.answer_content(raw)
        return True

    def answer_late(self, raw: bytes) -> None:
        self.busy = False
        self.answer_content(raw)
        self.work()

    def answer_content(self, raw: bytes) -> None:
        faults = self.peer.faults
        if faults.due("busy_data"):
            self.say("452 4.3.1 try again later")
        elif faults.refuse_content:
            self.say(faults.refuse_content)
        else:
            self.peer.take(ReceivedMail(self.sender or "", tuple(self.recipients), raw))
            if faults.due("cut_after_data"):
                self.cut()
            self.say(f"250 2.0.0 taken as {self.peer.count}")
        self.forget()

    def command(self, line: str) -> None:
        if self.asking_login:
            self.hear_login(line)
            return
        verb, _, rest = line.partition(" ")
        handler = HANDLERS.get(verb.upper())
        if handler is None:
            self.say("502 5.5.1 unknown command")
        else:
            handler(self, rest)

    def ehlo(self, _: str) -> None:
        self.forget()
        features = ["loopback", "PIPELINING", f"SIZE {LARGEST}", "8BITMIME", "SMTPUTF8"]
        if self.peer.tls and not self.peer.implicit and not self.secure:
            features.append("STARTTLS")
        if self.peer.login:
            features.append("AUTH XOAUTH2" if self.peer.oauth else "AUTH PLAIN LOGIN")
        for feature in features[:-1]:
            self.say(f"250-{feature}")
        self.say(f"250 {features[-1]}")

    def mail(self, rest: str) -> None:
        path = PATH.match(rest)
        if self.peer.faults.due("closing"):
            self.say("421 4.3.2 going away")
            self.quit("")
        elif not self.known:
            self.say("530 5.7.0 login first")
        elif self.peer.faults.refuse_sender:
            self.say(self.peer.faults.refuse_sender)
        elif path is None:
            self.say("501 5.5.4 MAIL FROM:<address>")
        elif self.sender is not None:
            self.say("503 5.5.1 one mail at a time")
        else:
            self.sender = path[1]
            self.say("250 2.1.0 ok")

    def rcpt(self, rest: str) -> None:
        path = PATH.match(rest)
        if self.sender is None:
            self.say("503 5.5.1 MAIL first")
        elif path is None:
            self.say("501 5.5.4 RCPT TO:<address>")
        elif self.peer.faults.due("busy"):
            self.say("451 4.7.1 greylisted, come back later")
        elif refusal := self.peer.faults.refuse.get(path[1]):
            self.say(refusal)
        else:
            self.recipients.append(path[1])
            self.say("250 2.1.5 ok")

    def data(self, _: str) -> None:
        if not self.recipients:
            self.say("503 5.5.1 RCPT first")
        elif self.peer.faults.due("cut_before_data"):
            self.cut()
        else:
            self.reading_data = True
            self.say("354 go on")

    def rset(self, _: str) -> None:
        self.forget()
        self.say("250 2.0.0 ok")

    def noop(self, _: str) -> None:
        self.say("250 2.0.0 ok")

    def quit(self, _: str) -> None:
        if not self.answers or not self.answers[-1].startswith("421"):
            self.say("221 2.0.0 bye")
        self.flush()
        if self.transport:
            self.transport.close()
        self.transport = None

    def starttls(self, _: str) -> None:
        if not self.peer.tls or self.secure:
            self.say("502 5.5.1 no STARTTLS here")
            return
        self.say("220 2.0.0 go on")
        self.flush()
        self.busy = True
        self.upgrading = asyncio.get_running_loop().create_task(self.upgrade())

    async def upgrade(self) -> None:
        """The TLS handshake; whatever came in the clear after STARTTLS is thrown away (RFC 3207 section 4.2)."""
        self.buffer.clear()
        if self.transport is None or self.peer.tls is None:
            return
        try:
            upgraded = await asyncio.get_running_loop().start_tls(self.transport, self, self.peer.tls, server_side=True)
        except (OSError, ssl.SSLError):
            self.cut()
            return
        self.transport = cast(asyncio.Transport, upgraded)
        self.busy = False
        self.work()

    def auth(self, rest: str) -> None:
        kind, _, first = rest.partition(" ")
        if kind.upper() == "PLAIN" and first:
            self.check_login(*unpacked(first).split("\x00")[-2:])
        elif kind.upper() == "LOGIN":
            self.asking_login = "password" if first else "user"
            self.user = unpacked(first)
            self.say("334 " + base64.b64encode(b"Password:" if first else b"Username:").decode())
        elif kind.upper() == "XOAUTH2":
            words = unpacked(first).split("\x01")
            self.check_login(words[0].removeprefix("user="), words[1].removeprefix("auth=Bearer ") if len(words) > 1 else "")
        else:
            self.say("504 5.5.4 PLAIN, LOGIN or XOAUTH2")

    def hear_login(self, line: str) -> None:
        if self.asking_login == "user":
            self.user, self.asking_login = unpacked(line), "password"
            self.say("334 " + base64.b64encode(b"Password:").decode())
        else:
            self.asking_login = ""
            self.check_login(self.user, unpacked(line))

    def check_login(self, *given: str) -> None:
        self.known = given == self.peer.login
        self.say("235 2.7.0 welcome" if self.known else "535 5.7.8 wrong user or password")

    @property
    def secure(self) -> bool:
        return self.transport is not None and self.transport.get_extra_info("sslcontext") is not None

    def forget(self) -> None:
        self.sender = None
        self.recipients = []

    def say(self, line: str) -> None:
        self.answers.append(line)

    def flush(self) -> None:
        if self.answers and self.transport:
            self.transport.write(("\r\n".join(self.answers) + "\r\n").encode())
        self.answers.clear()

    def cut(self) -> None:
        if self.transport:
            self.transport.abort()
        self.transport = None
        self.answers.clear()


def unpacked(text: str) -> str:
    try:
        return base64.b64decode(text).decode("utf-8", "replace")
    except binascii.Error:
        return ""


HANDLERS = {
    "EHLO": SmtpSession.ehlo,
    "HELO": SmtpSession.noop,
    "MAIL": SmtpSession.mail,
    "RCPT": SmtpSession.rcpt,
    "DATA": SmtpSession.data,
    "RSET": SmtpSession.rset,
    "NOOP": SmtpSession.noop,
    "VRFY": SmtpSession.noop,
    "QUIT": SmtpSession.quit,
    "STARTTLS": SmtpSession.starttls,
    "AUTH": SmtpSession.auth,
}
