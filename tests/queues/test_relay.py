"""The relay: what is committed reaches Redis, at once or by the sweep, and no outbox row goes before that."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from redis.asyncio import Redis

from shared.ledger import Ledger, outbox
from shared.ledger.outbox import Entry, Topic
from shared.queues.relay import AT_ONCE, IN_MEMORY, Relay
from shared.queues.stream import WorkStream

LONG_AGO = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture
def received(redis: Redis) -> WorkStream:
    return WorkStream(redis, "received", "router-1")


@pytest.fixture
def relay(ledger: Ledger, redis: Redis, received: WorkStream) -> Relay:
    return Relay(ledger, {Topic.RECEIVED: received, Topic.NOTICE: WorkStream(redis, "notices")}, {})


async def owe(ledger: Ledger, number: int) -> list[Entry]:
    entries = [Entry(f"received/{n:05d}", Topic.RECEIVED, f"C{n:05d}") for n in range(number)]
    async with ledger.write() as tx:
        await outbox.add(tx, entries, LONG_AGO)
    return entries


async def owed(ledger: Ledger) -> int:
    async with ledger.read() as tx:
        return len(await outbox.waiting(tx, before=LONG_AGO + timedelta(days=1), limit=100_000))


async def test_a_sweep_hands_over_all_that_is_late_not_only_a_page(ledger: Ledger, relay: Relay, received: WorkStream):
    await owe(ledger, AT_ONCE * 2 + 5)
    assert await relay.sweep() == AT_ONCE * 2 + 5
    assert await received.length() == AT_ONCE * 2 + 5
    assert await owed(ledger) == 0
    assert await relay.sweep() == 0
    assert relay.waiting == 0


async def test_flush_settles_all_that_was_handed_over(ledger: Ledger, relay: Relay, received: WorkStream):
    relay.forward(await owe(ledger, AT_ONCE + 5))
    await relay.flush()
    assert await received.length() == AT_ONCE + 5
    assert await owed(ledger) == 0


async def test_what_memory_does_not_hold_the_sweep_finds(ledger: Ledger, relay: Relay, received: WorkStream):
    entries = await owe(ledger, 10)
    relay.forward([entries[0]] * IN_MEMORY)
    relay.forward(entries)
    relay.forward(entries)
    await relay.sweep()
    assert await received.length() == len(entries)
    await relay.flush()
    assert await received.length() == len(entries) + IN_MEMORY
    assert await owed(ledger) == 0


async def test_a_relay_without_a_stream_for_a_topic_is_refused(ledger: Ledger, received: WorkStream):
    with pytest.raises(ValueError, match="notice"):
        Relay(ledger, {Topic.RECEIVED: received}, {})


async def test_work_of_a_department_the_policy_lost_does_not_stop_the_others(ledger: Ledger, relay: Relay, received: WorkStream):
    entries = await owe(ledger, 1)
    relay.forward([Entry("assigned/x/2", Topic.ASSIGNED, "C261121-AAAAAA"), *entries])
    await relay.flush()
    assert await received.length() == 1
