"""The ledger's disk is full, or its server away: whoever sends is told to come back, nothing is half stored, and all goes on afterwards."""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import aiosmtplib
import httpx
import pytest
from sqlalchemy import func, select

from services.demo import inputs
from shared.errors import TemporaryFailure
from shared.ledger import tables
from tests.end_to_end.world import Desk, Service, environment, letter, looking_at, outside, running, until
from tests.postgres import PrivatePostgres
from tests.valkey import PrivateValkey, private_valkey

pytestmark = [pytest.mark.chaos, pytest.mark.xdist_group("processes"), pytest.mark.timeout(300)]


@pytest.fixture
def valkey() -> Iterator[PrivateValkey]:
    with private_valkey() as server:
        yield server


class Trouble(ABC):
    """A ledger that can be made to refuse, and mended."""

    home: Path
    ledger_url = ""

    @abstractmethod
    def begin(self, services: list[Service]) -> None: ...

    @abstractmethod
    def end(self, services: list[Service]) -> None: ...


class FullDisk(Trouble):
    """Everything the desk writes, its logs too, lies on a small disk, and something else fills it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.filler = home / "filler"

    def begin(self, services: list[Service]) -> None:
        with self.filler.open("wb", buffering=0) as filler:
            for size in (1 << 20, 4096, 1):
                try:
                    while True:
                        filler.write(b"x" * size)
                except OSError:
                    continue

    def end(self, services: list[Service]) -> None:
        self.filler.unlink()


class SmallFiles(Trouble):
    """The system lets the services' files grow no further (RLIMIT_FSIZE), which is what a quota looks like from inside."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def begin(self, services: list[Service]) -> None:
        self.limit(services, 8192)

    def end(self, services: list[Service]) -> None:
        self.limit(services, resource.RLIM_INFINITY)

    def limit(self, services: list[Service], size: int) -> None:
        for service in services:
            assert service.process is not None
            resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


class ServerAway(Trouble):
    """PostgreSQL crashes, and is started again later."""

    def __init__(self, home: Path, server: PrivatePostgres, url: str) -> None:
        self.home = home
        self.ledger_url = url
        self.server = server

    def begin(self, services: list[Service]) -> None:
        self.server.stop("immediate")

    def end(self, services: list[Service]) -> None:
        self.server.start()


@pytest.fixture(params=["full disk", "small files", "server away"])
def trouble(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Trouble]:
    if request.param == "server away":
        server: PrivatePostgres = request.getfixturevalue("postgres")
        yield ServerAway(tmp_path, server, str(request.getfixturevalue("postgres_url")))
    elif request.param == "small files":
        yield SmallFiles(tmp_path)
    else:
        libc = ctypes.CDLL(None, use_errno=True)
        disk = tmp_path / "disk"
        disk.mkdir()
        if libc.mount(b"tmpfs", os.fsencode(disk), b"tmpfs", 0, b"size=16m"):
            pytest.skip(f"a small disk can be mounted by root only ({os.strerror(ctypes.get_errno())}); 'small files' is tested everywhere")
        try:
            yield FullDisk(disk)
        finally:
            libc.umount2(os.fsencode(disk), 2)  # MNT_DETACH: a process that still ends may have a file open


async def post(desk: Desk, number: int) -> httpx.Response:
    body = {"email": f"kunde{number}@mail.example", "text": f"第 {number} 个包裹没有收到。"}
    return await desk.http.post("/api/v1/complaints", json=body, headers={"idempotency-key": f'"refused-{number}"'})


async def mail(desk: Desk, number: int) -> int:
    """What the door says to a mail."""
    raw = letter("emma@mail.example", "My parcel", "It never arrived.", f"refused-{number}@mail.example")
    client = aiosmtplib.SMTP(hostname="127.0.0.1", port=desk.settings.smtp_door_port, start_tls=False, timeout=30)
    async with client:
        try:
            await client.sendmail("emma@mail.example", [inputs.CARE], raw)
        except aiosmtplib.SMTPResponseException as error:
            return error.code
    return 250


async def stored(desk: Desk) -> dict[str, int]:
    """How many rows of each kind there are."""
    counted = (tables.complaints, tables.submissions, tables.notices, tables.customers, tables.idempotency)
    async with desk.ledger.read() as tx:
        return {table.name: (await tx.execute(select(func.count()).select_from(table))).scalar_one() for table in counted}


async def test_a_ledger_that_refuses_is_told_to_whoever_sends_and_nothing_is_half_stored(
    trouble: Trouble, tmp_path: Path, valkey: PrivateValkey
) -> None:
    async with outside(imap=True) as world:
        assert world.mailbox is not None
        environ = environment(trouble.home, world, redis_url=valkey.url, ledger_url=trouble.ledger_url)
        services = [Service(name, environ) for name in ("intake", "router", "notifier")]
        async with running(*services), looking_at(environ) as desk:
            assert (await post(desk, 0)).status_code == 202
            assert await mail(desk, 0) == 250
            before = await stored(desk)
            trouble.begin(services)
            try:
                refused = await post(desk, 1)
                assert refused.status_code == 503, refused.text
                assert int(refused.headers["retry-after"]) >= 1
                assert "ledger" in refused.json()["detail"], refused.text
                assert await mail(desk, 1) == 451
                fetched = letter("mei@mail.example", "包裹", "包裹一直没有收到。", "fetched@mail.example")
                await asyncio.to_thread(world.mailbox.deliver, fetched)

                async def noticed() -> bool:
                    return "mailbox_connection_lost" in services[0].last_words()

                if not isinstance(trouble, FullDisk):  # there the log has no room for it either
                    await until(noticed, "the mailbox says that it cannot be read now", 30)
                assert (await post(desk, 1)).status_code == 503
            finally:
                trouble.end(services)
            assert all(s.process is not None and s.process.returncode is None for s in services), "\n".join(
                s.last_words(3) for s in services
            )

            async def readable() -> bool:
                try:
                    return bool(await stored(desk))
                except TemporaryFailure:
                    return False

            await until(readable, "the ledger answers again", 30)
            assert await stored(desk) == before, "nothing of what was refused is there"

            async def taken() -> bool:
                return (await post(desk, 1)).status_code == 202

            await until(taken, "the same request is taken", 30)
            assert await mail(desk, 1) == 250

            async def fetched_too() -> bool:
                return (await stored(desk))["complaints"] == before["complaints"] + 3

            await until(fetched_too, "the mail in the mailbox is taken too", 30)
            assert {name: count - before[name] for name, count in (await stored(desk)).items() if name in ("complaints", "notices")} == {
                "complaints": 3,
                "notices": 3,
            }

            async def through() -> bool:
                return len(await desk.queued()) == 5 and list((await desk.notices()).values()) == ["sent"] * 5

            async def standing() -> str:
                return await desk.stories(await desk.references()) + "\n" + "\n".join(s.last_words(3) for s in services)

            # a claim whose commit was cut off is in doubt: it is made again when its lease, 90 s, has run out
            await until(through, standing, 130)
            assert len(world.relay.message_ids) == 5


async def test_a_service_whose_log_cannot_be_written_goes_on(tmp_path: Path, valkey: PrivateValkey) -> None:
    async with outside() as world:
        environ = environment(tmp_path, world, redis_url=valkey.url)
        services = [Service(name, environ) for name in ("intake", "router", "notifier")]
        for service in services:
            service.log = Path("/dev/full")
        async with running(*services), looking_at(environ) as desk:
            valkey.stop()  # something that all of them log about
            assert (await post(desk, 1)).status_code == 202
            valkey.start()

            async def through() -> bool:
                return len(await desk.queued()) == 1 and list((await desk.notices()).values()) == ["sent"]

            async def standing() -> str:
                return await desk.stories(await desk.references())

            await until(through, standing, 60)
            assert all(s.process is not None and s.process.returncode is None for s in services)
