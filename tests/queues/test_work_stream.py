"""The streams between the services: nothing added is missed, whatever happens to readers and server."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from shared.errors import TemporaryFailure
from shared.queues.stream import StreamEntry, WorkStream
from tests.queues.waiting import wait_until
from tests.valkey import PrivateValkey

LONG = 5000


def keys(batch: list[StreamEntry]) -> list[str]:
    return [entry.key for entry in batch]


def ids(batch: list[StreamEntry]) -> list[str]:
    return [entry.id for entry in batch]


async def some(stream: WorkStream) -> list[StreamEntry]:
    """The next batch that is not empty."""
    return await wait_until(lambda: stream.read(64, 200), "the stream gives a batch")


@pytest.fixture
async def own(own_valkey: PrivateValkey) -> AsyncIterator[Redis]:
    async with Redis.from_url(own_valkey.url) as client:
        yield client


async def test_what_was_added_before_any_reader_comes_in_order_and_leaves_when_settled(redis: Redis) -> None:
    stream = WorkStream(redis, "received", "router-1")
    await stream.add([f"C{n}" for n in range(150)])
    got: list[str] = []
    while len(got) < 150:
        batch = await some(stream)
        assert len(batch) <= 64
        assert not any(entry.again for entry in batch)
        got += keys(batch)
        await stream.settle(ids(batch))
    assert got == [f"C{n}" for n in range(150)]
    assert await stream.length() == 0
    assert (await redis.xpending("desk:s:{received}", "desk"))["pending"] == 0
    assert await stream.read(64, 1) == []


async def test_a_reader_without_a_name_is_told_so(redis: Redis) -> None:
    with pytest.raises(ValueError, match="router-1"):
        await WorkStream(redis, "received").read()


async def test_a_read_waits_for_what_is_added_meanwhile(redis: Redis) -> None:
    stream = WorkStream(redis, "received", "router-1")
    await stream.read(64, 1)
    reading = asyncio.create_task(stream.read(64, LONG))
    await WorkStream(redis, "received").add(["C1"])
    assert keys(await reading) == ["C1"]


async def test_a_restarted_reader_finds_what_it_left_undone(redis: Redis) -> None:
    first = WorkStream(redis, "received", "router-1")
    await first.add(["C1", "C2", "C3"])
    batch = await some(first)
    await first.settle(ids(batch[:1]))
    await first.add(["C4"])

    second = WorkStream(redis, "received", "router-1")
    left = await some(second)
    assert [(entry.key, entry.again) for entry in left] == [("C2", True), ("C3", True)]
    assert [(entry.key, entry.again) for entry in await some(second)] == [("C4", False)]


async def test_what_a_reader_releases_is_handed_out_again_at_once(redis: Redis) -> None:
    stream = WorkStream(redis, "received", "router-1")
    await stream.add(["C1", "C2"])
    batch = await some(stream)
    assert await stream.read(64, 1) == [], "what is in hand is not handed out twice"
    await stream.settle(ids(batch[:1]))
    stream.release(ids(batch[1:]))
    again = await stream.read(64, 1)
    assert [(entry.key, entry.again) for entry in again] == [("C2", True)]


async def test_another_reader_takes_over_from_one_that_died(redis: Redis) -> None:
    dead = WorkStream(redis, "received", "router-1")
    await dead.add([f"C{n}" for n in range(100)])
    assert len(await some(dead)) == 64
    alive = WorkStream(redis, "received", "router-2", idle_seconds=0.2)
    assert len(await some(alive)) == 36, "what nobody holds comes first"
    taken: list[StreamEntry] = []
    while len(taken) < 64:
        taken += [entry for entry in await some(alive) if int(entry.key[1:]) < 64]
    assert all(entry.again for entry in taken)
    await alive.settle([*ids(taken)])
    assert sorted(keys(taken)) == sorted(f"C{n}" for n in range(64))


async def test_several_readers_share_without_doubling(redis: Redis) -> None:
    writer = WorkStream(redis, "received")
    got: list[str] = []

    async def reader(name: str) -> None:
        stream = WorkStream(redis, "received", name)
        while len(got) < 1000:
            batch = await stream.read(16, 20)
            got.extend(keys(batch))
            await stream.settle(ids(batch))

    async def write() -> None:
        for start in range(0, 1000, 50):
            await writer.add([f"C{n}" for n in range(start, start + 50)])

    await asyncio.gather(write(), *(reader(f"router-{n}") for n in range(4)))
    assert sorted(got) == sorted(f"C{n}" for n in range(1000))
    assert await writer.length() == 0


async def test_a_wiped_server_is_read_on_from_its_new_beginning(redis: Redis) -> None:
    stream = WorkStream(redis, "received", "router-1")
    await stream.add(["C1", "C2"])
    held = await some(stream)
    await redis.flushall()
    await redis.script_flush()
    await stream.settle(ids(held))
    await stream.add(["C2", "C3"])
    assert keys(await some(stream)) == ["C2", "C3"]


async def test_a_server_wiped_while_a_reader_waits_does_not_lose_the_reader(redis: Redis) -> None:
    stream = WorkStream(redis, "received", "router-1")
    await stream.read(64, 1)
    reading = asyncio.create_task(stream.read(64, LONG))

    async def blocked() -> bool:
        return (await redis.info("clients"))["blocked_clients"] == 1

    await wait_until(blocked, "the reader waits")
    await redis.flushall()
    await stream.add(["C1"])
    got = keys(await reading) or keys(await some(stream))
    assert got == ["C1"]


async def test_a_loop_lives_through_the_death_and_the_empty_return_of_the_server(own_valkey: PrivateValkey, own: Redis) -> None:
    """The loop of the module's docstring, as it stands there; the ledger's refill is the second add."""
    stream = WorkStream(own, "received", "router-1")
    got: set[str] = set()
    stopping = False

    async def loop() -> None:
        while not stopping:
            batch = await stream.read(64, 100)
            got.update(keys(batch))
            await stream.settle(ids(batch))

    running = asyncio.create_task(loop())
    await stream.add(["C1"])

    async def has(key: str) -> bool:
        return key in got

    await wait_until(lambda: has("C1"), "the first entry is read")
    own_valkey.kill()
    with pytest.raises(TemporaryFailure):
        await stream.add(["C2"])
    own_valkey.start()

    async def refilled() -> bool:
        with contextlib.suppress(TemporaryFailure):
            await stream.add(["C2"])
            return True
        return False

    await wait_until(refilled, "the server takes entries again")
    await wait_until(lambda: has("C2"), "the loop reads on")
    stopping = True
    await running


async def test_what_was_given_to_us_as_the_connection_broke_is_asked_for_again(own: Redis) -> None:
    """The server counts it as ours, but the answer never came: it must not wait until it counts as left behind."""
    stream = WorkStream(own, "received", "router-1", idle_seconds=600)
    await stream.add(["C1"])
    in_hand = await some(stream)
    await stream.add(["C2"])
    await own.xreadgroup("desk", "router-1", {"desk:s:{received}": ">"})  # the answer that we do not see
    reading = asyncio.create_task(stream.read(64, LONG))

    async def cut() -> bool:
        waiting = [client for client in await own.client_list() if client["cmd"] == "xreadgroup" and "b" in client["flags"]]
        for client in waiting:
            await own.client_kill_filter(_id=client["id"])
        return bool(waiting)

    await wait_until(cut, "the reader waits")
    assert await reading == []
    again = await some(stream)
    assert [(entry.key, entry.again) for entry in again] == [("C2", True)], "and what we have in hand is not given twice"
    await stream.settle(ids(in_hand) + ids(again))
    assert await stream.length() == 0


async def test_settling_is_made_up_for_when_the_server_hangs(own_valkey: PrivateValkey, own: Redis) -> None:
    async with Redis.from_url(own_valkey.url, socket_timeout=0.3) as impatient:
        stream = WorkStream(impatient, "received", "router-1")
        await stream.add(["C1", "C2"])
        batch = await some(stream)
        own_valkey.signal(signal.SIGSTOP)
        await stream.settle(ids(batch))
        with pytest.raises(TemporaryFailure):
            await stream.length()
        own_valkey.signal(signal.SIGCONT)

        async def settled() -> bool:
            return await stream.read(64, 10) == [] and await WorkStream(own, "received").length() == 0

        await wait_until(settled, "the next read settles what was left over")


async def test_a_stream_that_nobody_reads_stays_bounded(redis: Redis) -> None:
    stream = WorkStream(redis, "received", "router-1", limit=1000)
    await stream.add([f"C{n}" for n in range(50)])
    held = await some(stream)
    for _ in range(5):
        await stream.add([f"D{n}" for n in range(1000)])
    assert 1000 <= await stream.length() < 1300

    restarted = WorkStream(redis, "received", "router-1", limit=1000)
    assert all(key.startswith("D") for key in keys(await some(restarted))), "entries that were trimmed while held do not come as empty ones"
    await restarted.settle([])
    assert (await redis.xpending("desk:s:{received}", "desk"))["pending"] == 64
    await stream.settle(ids(held))


@pytest.mark.parametrize("options", [{"decode_responses": True}, {"protocol": 3}, {"protocol": 3, "decode_responses": True}])
async def test_every_way_of_decoding_works(redis: Redis, shared_valkey: PrivateValkey, options: dict[str, object]) -> None:
    async with Redis.from_url(shared_valkey.url, **options) as other:
        stream = WorkStream(other, "notices", "notifier-1", idle_seconds=0.05)
        await stream.add(["C1:acknowledgement"])
        assert keys(await some(stream)) == ["C1:acknowledgement"]
        (entry,) = await some(stream)
        assert (entry.key, entry.again) == ("C1:acknowledgement", True)
        (entry,) = await some(WorkStream(other, "notices", "notifier-1"))
        await stream.settle([entry.id])
        assert await stream.length() == 0
