"""Redis is gone, or hangs, for a while: intake takes complaints as ever, and all of them flow on when it is back, empty or not."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.world import Service, environment, looking_at, outside, running, until
from tests.valkey import PrivateValkey, private_valkey

pytestmark = [pytest.mark.chaos, pytest.mark.xdist_group("processes"), pytest.mark.timeout(300)]

COMPLAINTS = 20
TAKEN_WITHIN = 5.0


@pytest.fixture
def valkey() -> Iterator[PrivateValkey]:
    with private_valkey() as server:
        yield server


@pytest.mark.parametrize("how", ["gone", "hanging"])
async def test_intake_takes_complaints_without_redis_and_they_flow_on_when_it_is_back(
    how: str, tmp_path: Path, valkey: PrivateValkey
) -> None:
    async with outside() as world:
        environ = environment(tmp_path, world, redis_url=valkey.url)
        services = [Service(name, environ) for name in ("intake", "router", "notifier")]
        async with running(*services), looking_at(environ) as desk:
            loop = asyncio.get_running_loop()
            if how == "gone":
                valkey.kill()
            else:
                valkey.signal(signal.SIGSTOP)
            begun = loop.time()
            bodies = [{"email": f"kunde{n}@mail.example", "text": f"第 {n} 个包裹没有收到。"} for n in range(COMPLAINTS)]
            answers = [await desk.http.post("/api/v1/complaints", json=body) for body in bodies]
            took = loop.time() - begun
            assert [answer.status_code for answer in answers] == [202] * COMPLAINTS
            assert took < TAKEN_WITHIN * max(1, COMPLAINTS / 20), f"{COMPLAINTS} complaints took {took:.1f} s while Redis was {how}"
            if how == "gone":
                valkey.start()
            else:
                valkey.signal(signal.SIGCONT)

            async def through() -> bool:
                return len(await desk.queued()) == COMPLAINTS and list((await desk.notices()).values()) == ["sent"] * COMPLAINTS

            async def standing() -> str:
                return await desk.stories(await desk.references() - (await desk.queued()).keys())

            await until(through, standing, 120)
            assert world.relay.count == len(world.relay.message_ids) == COMPLAINTS
            assert all(s.process is not None and s.process.returncode is None for s in services), "no service fell over it"
