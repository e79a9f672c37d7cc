"""SIGTERM under load: what was under way is answered and stored or refused, nothing is half done, and the process ends with 0 in time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func, select

from shared.ledger import tables
from tests.end_to_end.world import Desk, Service, environment, looking_at, outside, running, until
from tests.valkey import PrivateValkey, private_valkey

pytestmark = [pytest.mark.end_to_end, pytest.mark.xdist_group("processes"), pytest.mark.timeout(240)]

STOPS_WITHIN = 10.0
CLIENTS = 16


@pytest.fixture
async def valkey() -> AsyncIterator[PrivateValkey]:
    with private_valkey() as server:
        yield server


class Load:
    """Clients that post one complaint after the other until they are told to stop, and what each request ended with."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.accepted: list[str] = []
        self.ends: Counter[str] = Counter()
        self.over = False

    async def client(self, who: int) -> None:
        number = 0
        while not self.over:
            number += 1
            try:
                body = {"email": f"who{who}-{number}@mail.example", "text": f"第 {who}-{number} 个包裹没有收到。"}
                answer = await self.desk.http.post("/api/v1/complaints", json=body)
            except httpx.ConnectError:
                self.ends["refused"] += 1
                await asyncio.sleep(0.05)
            except httpx.HTTPError as error:
                # a kept connection may be closed just as the next request goes out: such a one the desk must never have read
                self.ends[type(error).__name__] += 1
            else:
                self.ends[str(answer.status_code)] += 1
                if answer.status_code == 202:
                    self.accepted.append(answer.json()["reference"])


async def test_intake_answers_what_is_under_way_and_stores_all_it_answered(tmp_path: Path, valkey: PrivateValkey) -> None:
    environ = environment(tmp_path, redis_url=valkey.url)
    intake = Service("intake", environ)
    async with running(intake), looking_at(environ) as desk:
        load = Load(desk)
        clients = [asyncio.create_task(load.client(who)) for who in range(CLIENTS)]

        async def busy() -> bool:
            return len(load.accepted) > 100

        await until(busy, "the load has begun")
        loop = asyncio.get_running_loop()
        begun = loop.time()
        status = await intake.stop()
        took = loop.time() - begun
        load.over = True
        await asyncio.gather(*clients)
        assert status == 0, intake.last_words()
        assert took < STOPS_WITHIN, f"took {took:.1f} s"
        assert set(load.ends) <= {"202", "503", "refused", "RemoteProtocolError", "ReadError", "WriteError"}, load.ends
        stored = await desk.references()
        assert set(load.accepted) == stored, "each that was answered is stored, and each that is stored was answered"
        async with desk.ledger.read() as tx:
            told = (await tx.execute(select(func.count()).select_from(tables.notices))).scalar_one()
            owed = (await tx.execute(select(func.count()).select_from(tables.outbox))).scalar_one()
        assert told == len(stored), "each stored complaint has its acknowledgement"
        assert owed == 0, "the relay emptied before it ended"


@pytest.mark.parametrize("name", ["router", "notifier"])
async def test_router_and_notifier_finish_what_they_hold(name: str, tmp_path: Path, valkey: PrivateValkey) -> None:
    async with outside() as world:
        environ = environment(tmp_path, world, redis_url=valkey.url)
        intake, other = Service("intake", environ), Service(name, environ)
        async with running(intake, other), looking_at(environ) as desk:
            load = Load(desk)
            clients = [asyncio.create_task(load.client(who)) for who in range(CLIENTS)]

            async def at_work() -> bool:
                return bool(await desk.queued()) if name == "router" else world.relay.count > 0

            await until(at_work, f"{name} is at work", 30)
            loop = asyncio.get_running_loop()
            begun = loop.time()
            status = await other.stop()
            took = loop.time() - begun
            load.over = True
            await asyncio.gather(*clients)
            assert status == 0, other.last_words()
            assert took < STOPS_WITHIN, f"took {took:.1f} s"
            states = Counter((await desk.notices()).values())
            assert "sending" not in states, f"a notice was left in hand: {states}"
            if name == "notifier":
                assert world.relay.count == len(world.relay.message_ids) == states["sent"]
            else:
                async with desk.ledger.read() as tx:
                    work = select(func.count()).select_from(tables.complaints).where(tables.complaints.c.work == "open")
                    decided = (await tx.execute(work)).scalar_one()
                assert decided == len(await desk.queued()), "what was decided was handed to its department before the end"
