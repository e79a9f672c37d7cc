"""Two routers and two notifiers side by side, and one of each killed under way: nothing is decided or told twice or left."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from shared.ledger import tables
from tests.end_to_end.world import Desk, Service, environment, free_ports, looking_at, outside, running, until
from tests.valkey import PrivateValkey, private_valkey

pytestmark = [pytest.mark.chaos, pytest.mark.xdist_group("processes"), pytest.mark.timeout(300)]

COMPLAINTS = 120


@pytest.fixture
def valkey() -> Iterator[PrivateValkey]:
    with private_valkey() as server:
        yield server


async def send(desk: Desk, numbers: range) -> None:
    """All at once, so that both of each have something to do."""
    bodies = [{"email": f"kunde{n}@mail.example", "text": f"第 {n} 个包裹没有收到。"} for n in numbers]
    answers = await asyncio.gather(*(desk.http.post("/api/v1/complaints", json=body) for body in bodies))
    assert [answer.status_code for answer in answers] == [202] * len(numbers)


async def test_two_of_each_share_the_work_and_do_nothing_twice(tmp_path: Path, ledger_url: str, valkey: PrivateValkey) -> None:
    async with outside() as world:
        environ = environment(tmp_path, world, redis_url=valkey.url, ledger_url=ledger_url)
        router_port, notifier_port = free_ports(2)
        second = environ | {"DESK_ROUTER_PORT": str(router_port), "DESK_NOTIFIER_PORT": str(notifier_port)}
        routers = [Service("router", environ), Service("router", second, label="router-2")]
        notifiers = [Service("notifier", environ), Service("notifier", second, label="notifier-2")]
        async with running(Service("intake", environ), *routers, *notifiers), looking_at(environ) as desk:
            await send(desk, range(COMPLAINTS // 2))

            async def half_told() -> bool:
                return set((await desk.notices()).values()) == {"sent"}

            await until(half_told, "the first half is told", 60)
            sending = asyncio.create_task(send(desk, range(COMPLAINTS // 2, COMPLAINTS)))
            await asyncio.gather(routers[0].kill(), notifiers[0].kill())
            await sending

            async def taken_up() -> bool:
                return "pending" not in (await desk.notices()).values()

            await until(taken_up, "the other notifier has taken up all that is left", 60)
            await desk.age_claims()

            async def through() -> bool:
                return len(await desk.queued()) == COMPLAINTS and Counter((await desk.notices()).values()) == {"sent": COMPLAINTS}

            async def standing() -> str:
                return await desk.stories(await desk.references() - (await desk.queued()).keys())

            await until(through, standing, 120)
            assert len(world.relay.message_ids) == COMPLAINTS, "one mail each"
            async with desk.ledger.read() as tx:
                decided = select(tables.events.c.reference).where(tables.events.c.kind == "decided")
                times = Counter((await tx.execute(decided)).scalars())
            assert set(times.values()) == {1}, times.most_common(3)
            assert len(times) == COMPLAINTS
            assert all(len(where) == 1 for where in (await desk.queued()).values())
