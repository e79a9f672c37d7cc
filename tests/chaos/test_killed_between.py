"""Killed in the worst moment: between the ledger's commit and the stream's settle, and between the relay's 250 and the ledger's commit.

The moment is not hit by luck: a proxy holds the router's settle back, and a lock on the ledger holds the notifier's commit back.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.demo import inputs
from shared.ledger import complaints
from shared.queues.stream import FINISH
from tests.chaos.proxy import Proxy, slowly
from tests.end_to_end.world import Desk, Outside, Service, environment, looking_at, outside, running, until
from tests.valkey import PrivateValkey, private_valkey

pytestmark = [pytest.mark.chaos, pytest.mark.xdist_group("processes"), pytest.mark.timeout(240)]


@pytest.fixture
def valkey() -> Iterator[PrivateValkey]:
    with private_valkey() as server:
        yield server


async def submit(desk: Desk, who: str = "lan@mail.example", text: str = "退款没有到账。") -> str:
    answer = await desk.http.post("/api/v1/complaints", json={"email": who, "text": text})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["reference"])


async def test_a_router_killed_between_commit_and_settle_decides_nothing_twice(tmp_path: Path, valkey: PrivateValkey) -> None:
    held_back = asyncio.Event()

    async def hold_settles(data: bytes) -> AsyncIterator[bytes]:
        if FINISH.sha in data or b"XACK" in data:
            held_back.set()
            await asyncio.Event().wait()
        yield data

    environ = environment(tmp_path, redis_url=valkey.url)
    async with Proxy(lambda: asyncio.open_unix_connection(str(valkey.socket)), to_server=hold_settles) as proxy:
        router = Service("router", environ | {"DESK_REDIS_URL": f"redis://127.0.0.1:{proxy.port}"})
        async with running(Service("intake", environ), router), looking_at(environ) as desk:
            reference = await submit(desk)
            await asyncio.wait_for(held_back.wait(), 60)
            await router.kill()
            async with desk.ledger.read() as tx:
                decided = (await complaints.get_many(tx, [reference]))[reference]
            assert decided.state == "assigned", "the commit had been made"
            assert int(await desk.redis.xlen("desk:s:{received}")) == 1, "the settle had not"
            async with running(Service("router", environ)):

                async def settled() -> bool:
                    return int(await desk.redis.xlen("desk:s:{received}")) == 0 and reference in await desk.queued()

                async def standing() -> str:
                    return await desk.story(reference)

                await until(settled, standing, 60)
                assert (await desk.queued())[reference] == [decided.department]
                async with desk.ledger.read() as tx:
                    kinds = [event.kind for event in await complaints.history(tx, reference)]
                assert kinds.count("decided") == 1, await desk.story(reference)


@asynccontextmanager
async def locked(ledger: Path) -> AsyncIterator[None]:
    """Nobody else writes to this SQLite ledger meanwhile."""
    connection = sqlite3.connect(ledger, isolation_level=None, timeout=10)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
    finally:
        connection.close()


async def killed_before_the_commit(desk: Desk, world: Outside, notifier: Service, reference: str) -> None:
    """The peer has the letter, the ledger does not know, and the notifier is dead."""

    async def claimed() -> bool:
        return list((await desk.notices()).values()) == ["sending"]

    await until(claimed, "the notifier has the notice in hand")
    async with locked(tmp_ledger(desk)):

        async def arrived() -> bool:
            return world.relay.count + world.telegram.count == 1

        await until(arrived, "the peer has the letter")
        await notifier.kill()
    assert list((await desk.notices()).values()) == ["sending"], await desk.story(reference)


def tmp_ledger(desk: Desk) -> Path:
    return desk.settings.home_path / "ledger.sqlite3"


async def test_a_mail_whose_250_was_never_written_down_goes_out_again_under_its_message_id(tmp_path: Path, valkey: PrivateValkey) -> None:
    async with outside() as world:
        world.relay.faults.slow = 1.0
        environ = environment(tmp_path, world, redis_url=valkey.url)
        notifier = Service("notifier", environ)
        async with running(Service("intake", environ), notifier), looking_at(environ) as desk:
            reference = await submit(desk)
            await killed_before_the_commit(desk, world, notifier, reference)
            async with running(Service("notifier", environ)):

                async def sent() -> bool:
                    return list((await desk.notices()).values()) == ["sent"]

                async def standing() -> str:
                    return await desk.story(reference)

                await until(sent, standing, 60)
            assert world.relay.count == 2
            assert len(world.relay.message_ids) == 1


async def test_a_chat_message_whose_answer_was_never_written_down_is_uncertain_and_not_sent_again(
    tmp_path: Path, valkey: PrivateValkey
) -> None:
    async with outside() as world:
        environ = environment(tmp_path, world, redis_url=valkey.url)
        slow = Proxy(lambda: asyncio.open_connection("127.0.0.1", world.web_port), to_server=slowly(1.0))
        async with slow:
            environ["DESK_SENDERS"] = environ["DESK_SENDERS"].replace(str(world.web_port), str(slow.port))
            notifier = Service("notifier", environ)
            async with running(Service("intake", environ), notifier), looking_at(environ) as desk:
                headers = {"x-telegram-bot-api-secret-token": inputs.TELEGRAM_SECRET, "content-type": "application/json"}
                body = inputs.telegram(7001, "Tom", "en", "Where is my parcel?", 1)
                answer = await desk.http.post(f"/channels/telegram/{inputs.TELEGRAM_ACCOUNT}", content=body, headers=headers)
                assert answer.status_code == 200
                reference = next(iter(await desk.references()))
                await killed_before_the_commit(desk, world, notifier, reference)
                async with running(Service("notifier", environ)):

                    async def shown() -> bool:
                        return list((await desk.notices()).values()) == ["uncertain"]

                    async def standing() -> str:
                        return await desk.story(reference)

                    await until(shown, standing, 60)
                assert world.telegram.count == 1
                assert "may have it" in await desk.story(reference)
