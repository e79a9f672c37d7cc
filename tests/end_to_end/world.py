"""A desk as real processes and the world around it (mailbox, mail relay, WeChat, Telegram), on loopback, for end-to-end and chaos tests.

Waits with `until`, never by sleeping; what fails says which complaint, which step, and what happened last.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import httpx
import msgspec
import pytest
from redis.asyncio import Redis
from sqlalchemy import select, update

from services.demo import inputs
from services.demo.imap_server import PASSWORD, USER, ImapServer
from services.demo.platforms import HttpPeer, SmtpPeer, TelegramPlatform, WeChatPlatform
from services.embedded import Stack
from shared.errors import ConfigError, TemporaryFailure
from shared.ledger import Ledger, accounts, complaints, notices, tables
from shared.policy import load
from shared.queues.contract import Place
from shared.queues.department import DepartmentQueue
from shared.settings import Settings, read

T = TypeVar("T")
QUIET_START = 8.0
"""Seconds a stack needs to start on two cores with nothing else to do."""


class Outside(NamedTuple):
    """What stands around the desk. `mailbox` is None where a test reads no mail."""

    relay: SmtpPeer
    wechat: WeChatPlatform
    telegram: TelegramPlatform
    web_port: int
    mailbox: ImapServer | None


@contextlib.asynccontextmanager
async def outside(*, imap: bool = False) -> AsyncIterator[Outside]:
    """The peers, started. Without an IMAP server a test that wants one is skipped, and fails under CI."""
    async with contextlib.AsyncExitStack() as open_things:
        mailbox = None
        if imap:
            # not in pytest's folder, into which Dovecot's own users cannot look
            folder = Path(open_things.enter_context(tempfile.TemporaryDirectory(prefix="desk-imap-", ignore_cleanup_errors=True)))
            folder.chmod(0o711)
            try:
                mailbox = await open_things.enter_async_context(ImapServer(folder / "imap"))
            except ConfigError as error:
                if os.environ.get("CI"):
                    pytest.fail(error.message)
                pytest.skip(error.message)
        relay = await open_things.enter_async_context(SmtpPeer())
        wechat = WeChatPlatform({inputs.WECHAT_APP: "demo-app-secret"})
        telegram = TelegramPlatform({"777000:demo-bot-token": inputs.TELEGRAM_ACCOUNT})
        web = await open_things.enter_async_context(HttpPeer(wechat, telegram))
        yield Outside(relay, wechat, telegram, web.port, mailbox)


def free_ports(count: int) -> list[int]:
    """Ports that nobody has at this moment."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def environment(home: Path, world: Outside | None = None, *, imap_port: int = 0, **more: str) -> dict[str, str]:
    """The environment of a desk in `home` that knows its world. `more` holds further settings, by field name."""
    intake, router, notifier, door = free_ports(4)
    settings = {
        "home": str(home),
        "intake_port": str(intake),
        "router_port": str(router),
        "notifier_port": str(notifier),
        "public_url": f"http://127.0.0.1:{intake}",
        "mail_from": inputs.CARE,
        "accounts": encoded(
            {
                "wechat": {
                    inputs.WECHAT_ACCOUNT: {
                        "token": inputs.WECHAT_TOKEN,
                        "app_id": inputs.WECHAT_APP,
                        "encoding_aes_key": inputs.WECHAT_AES_KEY,
                    }
                },
                "telegram": {inputs.TELEGRAM_ACCOUNT: {"secret_token": inputs.TELEGRAM_SECRET}},
            }
        ),
    }
    if world is not None:
        web = f"http://127.0.0.1:{world.web_port}"
        settings["smtp_door_port"] = str(door)
        settings["senders"] = encoded(
            {
                "smtp": {"host": "127.0.0.1", "port": str(world.relay.port), "from": inputs.CARE},
                "wechat": {"app_id": inputs.WECHAT_APP, "secret": "demo-app-secret", "base_url": web},
                "telegram": {"token": "777000:demo-bot-token", "base_url": web},
            }
        )
    port = imap_port or (world.mailbox.port if world and world.mailbox else 0)
    if port:
        box = {
            "host": "127.0.0.1", "port": port, "user": USER, "password": PASSWORD, "ssl": False,
            "account": inputs.CARE, "start": "all", "poll_seconds": 1.0,
        }  # fmt: skip
        settings["mailboxes"] = encoded([box])
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DESK_")}
    return clean | {f"DESK_{name.upper()}": value for name, value in (settings | more).items()}


def encoded(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def letter(sender: str, subject: str, text: str, message_id: str) -> bytes:
    """A plain mail to us whose Message-ID the test chooses."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, inputs.CARE, subject
    message["Date"], message["Message-ID"] = format_datetime(datetime.now(UTC)), f"<{message_id}>"
    message.set_content(text)
    return message.as_bytes()


async def until(probe: Callable[[], Awaitable[T]], what: str | Callable[[], Awaitable[str]], seconds: float = 60.0) -> T:
    """The first truthy answer of the probe; fails after so many seconds with `what`."""
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + seconds
    while not (answer := await probe()):
        if loop.time() > give_up_at:
            words = what if isinstance(what, str) else await what()
            pytest.fail(f"still not so after {seconds:.0f} s: {words}")
        await asyncio.sleep(0.1)
    return answer


class Service:
    """One service as a process of its own, without a supervisor: a test starts, stops and kills it as it likes."""

    def __init__(self, name: str, environ: dict[str, str], *, label: str = "", prefix: Iterable[str] = ()) -> None:
        self.name = name
        self.environ = environ
        self.log = Path(environ["DESK_HOME"]) / "logs" / f"{label or name}.log"
        self.port = int(environ[f"DESK_{name.upper()}_PORT"])
        self.prefix = tuple(prefix)
        self.process: asyncio.subprocess.Process | None = None

    async def start(self, *, ready: bool = True) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as out:
            command = [*self.prefix, sys.executable, "-m", "services.cli", self.name]
            self.process = await asyncio.create_subprocess_exec(
                *command, env=self.environ, stdout=out, stderr=out, stdin=asyncio.subprocess.DEVNULL
            )
        if ready:
            async with httpx.AsyncClient(timeout=5, trust_env=False) as client:

                async def answers() -> bool:
                    assert self.process is not None
                    assert self.process.returncode is None, f"{self.name} ended with {self.process.returncode}:\n{self.last_words()}"
                    with contextlib.suppress(httpx.HTTPError):
                        return (await client.get(f"http://127.0.0.1:{self.port}/ready")).status_code == 200
                    return False

                await until(answers, f"{self.name} is ready; its log: {self.log}", 90)

    async def kill(self) -> None:
        """SIGKILL: no word, no clean-up."""
        if self.process and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def stop(self, within: float = 60.0) -> int:
        """SIGTERM, and the exit status. Fails when it does not end."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        return await asyncio.wait_for(self.process.wait(), within)

    def last_words(self, lines: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


@contextlib.asynccontextmanager
async def running(*services: Service) -> AsyncIterator[None]:
    """The services, started together; whatever still runs at the end is killed."""
    try:
        await asyncio.gather(*(service.start() for service in services))
        yield
    finally:
        await asyncio.gather(*(service.kill() for service in services))


class Desk:
    """What a test looks at while a desk runs: its ledger, its queues, its doors."""

    def __init__(self, settings: Settings, ledger: Ledger, redis: Redis) -> None:
        self.settings = settings
        self.ledger = ledger
        self.redis = redis
        self.departments = tuple(load(settings.policy).departments)
        self.http = httpx.AsyncClient(
            base_url=f"http://{settings.intake_host}:{settings.intake_port}",
            timeout=20,
            trust_env=False,
            limits=httpx.Limits(max_connections=200, max_keepalive_connections=32),
        )

    async def new_key(self, scope: str = "intake") -> dict[str, str]:
        """The header of a fresh API key."""
        key_id, key, digest = accounts.new_key()
        made = accounts.ApiKey(id=key_id, name=f"test {scope}", scope=scope, department="", created_at=datetime.now(UTC))
        async with self.ledger.write() as tx:
            await accounts.add(tx, made, digest)
        return {"authorization": f"Bearer {key}"}

    async def references(self) -> set[str]:
        async with self.ledger.read() as tx:
            return set((await tx.execute(select(tables.complaints.c.reference))).scalars())

    async def notices(self) -> dict[str, str]:
        """The state of each notice, by its key."""
        async with self.ledger.read() as tx:
            return {row.key: row.state for row in await tx.execute(select(tables.notices.c.key, tables.notices.c.state))}

    async def age_claims(self) -> None:
        """As if the time a cut-off attempt to tell a customer is held for had passed."""
        cut_off = update(tables.notices).where(tables.notices.c.state == "sending")
        async with self.ledger.write() as tx:
            await tx.execute(cut_off.values(next_at=datetime.now(UTC) - timedelta(seconds=30)))

    async def queued(self) -> dict[str, list[str]]:
        """Which departments' queues hold a complaint, by its reference; none of them while Redis is away."""
        try:
            return await self._queued()
        except TemporaryFailure:
            return {}

    async def _queued(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for department in self.departments:
            queue = DepartmentQueue(self.redis, department)
            for place in (Place.READY, Place.LEASED, Place.DELAYED):
                offset = 0
                while page := await queue.entries(place, 1000, offset):
                    for entry in page:
                        found.setdefault(entry.reference, []).append(department)
                    offset += len(page)
        return found

    async def story(self, reference: str) -> str:
        """All that is known of one complaint, on a few lines: where it stands, its notices, its last events, what still waits."""
        async with self.ledger.read() as tx:
            found = (await complaints.get_many(tx, [reference])).get(reference)
            if found is None:
                return f"{reference}: not in the ledger"
            history = await complaints.history(tx, reference)
            told = await notices.of_complaint(tx, reference)
            work = (await complaints.work_of(tx, [reference])).get(reference)
            box = tables.outbox
            owed = (await tx.execute(select(box.c.key).where(box.c.key.contains(reference)))).scalars().all()
        lines = [
            f"{reference}: {found.state}, {found.source}, department '{found.department}', work '{work.state if work else ''}'",
            *(f"    notice {n.notice.key} to {n.notice.source}: {n.state}, attempts {n.attempts} {n.reason}" for n in told),
            *(f"    {e.at:%H:%M:%S.%f} {e.kind} by {e.actor}" for e in history[-4:]),
            f"    still owed to Redis: {', '.join(owed) or 'nothing'}",
        ]
        return "\n".join(lines)

    async def stories(self, references: Iterable[str], most: int = 5) -> str:
        """The stories of a few, and how many more there are."""
        wanted = sorted(references)
        told = [await self.story(reference) for reference in wanted[:most]]
        if len(wanted) > most:
            told.append(f"... and {len(wanted) - most} more")
        return "\n".join(told)

    async def close(self) -> None:
        await self.http.aclose()
        await self.ledger.close()
        await self.redis.aclose()


@contextlib.asynccontextmanager
async def looking_at(environ: dict[str, str], redis_url: str = "") -> AsyncIterator[Desk]:
    """A Desk by its environment."""
    settings = read({name: value for name, value in environ.items() if name.startswith("DESK_")})
    redis: Any = Redis
    desk = Desk(settings, Ledger.open(settings.ledger), redis.from_url(redis_url or settings.redis))
    try:
        yield desk
    finally:
        await desk.close()


class Whole(NamedTuple):
    """A whole desk under its supervisor. slowness: how much slower this machine is now than a quiet one, at least 1."""

    stack: Stack
    desk: Desk
    slowness: float


@contextlib.asynccontextmanager
async def whole_desk(environ: dict[str, str]) -> AsyncIterator[Whole]:
    """Valkey and the three services under their supervisor, as `desk up` runs them."""
    started = asyncio.get_running_loop().time()
    settings = read({name: value for name, value in environ.items() if name.startswith("DESK_")})
    async with Stack(settings, environ) as stack:
        slowness = max(1.0, (asyncio.get_running_loop().time() - started) / QUIET_START)
        async with looking_at(environ, stack.redis_url) as desk:
            yield Whole(stack, desk, slowness)
