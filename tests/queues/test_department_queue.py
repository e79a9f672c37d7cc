"""What the conformance suite cannot know: many workers, a server that is wiped, stopped or damaged, and the order of wake-ups."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from redis.asyncio import Redis
from redis.crc import key_slot

from shared.complaint import Priority
from shared.errors import LeaseLost, TemporaryFailure
from shared.queues.contract import Counts, Dead, Done, Item, Lease, Place, Retry, Settlement
from shared.queues.department import BY_RANK, DepartmentQueue, score_of
from shared.queues.doorbell import Doorbell
from tests.queues.waiting import wait_until
from tests.valkey import PrivateValkey

DUE = 1_800_000_000.0


def items(*numbers: int) -> list[Item]:
    return [Item(reference=f"C261122-{n:06d}", priority=BY_RANK[n % 4], due_at=DUE + n) for n in numbers]


async def taken(queue: DepartmentQueue, wanted: list[Item]) -> bool:
    """Whether a put gets through: after a restart a pooled connection may still be the dead one."""
    with contextlib.suppress(TemporaryFailure):
        return bool(await queue.put(wanted))
    return False


@pytest.fixture
async def queue(redis: Redis):
    """A queue under the server's own clock."""
    queue = DepartmentQueue(redis, "after_sales")
    yield queue
    await queue.aclose()


async def test_twenty_claimers_at_once_get_each_item_exactly_once(redis: Redis) -> None:
    queues = [DepartmentQueue(redis, "after_sales") for _ in range(4)]
    wanted = items(*range(2000))
    await queues[0].put(wanted)

    async def worker(number: int) -> list[str]:
        queue, mine = queues[number % 4], []
        while leases := await queue.claim(1 + number % 7, 30.0, f"w{number}"):
            mine += [lease.reference for lease in leases]
            await queue.settle_many([Settlement(reference=one.reference, token=one.token, outcome=Done()) for one in leases])
        return mine

    got = Counter(itertools.chain.from_iterable(await asyncio.gather(*(worker(n) for n in range(20)))))
    assert got == Counter(item.reference for item in wanted)
    assert await queues[0].counts() == Counts(ready=0, leased=0, delayed=0, dead=0, oldest_age=0.0)


async def test_the_servers_clock_ends_a_lease_and_a_delay(queue: DepartmentQueue) -> None:
    await queue.put(items(1))
    (first,) = await queue.claim(1, 0.05, "a")
    (second,) = await wait_until(lambda: queue.claim(1, 30.0, "b"), "the item of the expired lease is claimable")
    with pytest.raises(LeaseLost, match="Claim again"):
        await queue.settle(first.reference, first.token, Done())
    await queue.settle(second.reference, second.token, Retry(0.05))
    (third,) = await queue.claim(1, 30.0, "c", wait=10.0)
    assert third.attempts == 3


async def test_a_wiped_server_makes_leases_lost_and_nothing_else(redis: Redis, queue: DepartmentQueue) -> None:
    await queue.put(items(1, 2, 3))
    first, second = await queue.claim(2, 30.0, "a")
    await redis.flushall()
    await redis.script_flush()
    with pytest.raises(LeaseLost):
        await queue.settle(first.reference, first.token, Done())
    with pytest.raises(LeaseLost):
        await queue.extend(first.reference, first.token, 30.0)
    assert await queue.settle_many([Settlement(reference=second.reference, token=second.token, outcome=Dead("x"))]) == [second.reference]
    assert await queue.claim(5, 30.0, "a") == []
    assert await queue.put(items(1, 2, 3)) == 3, "the ledger's refill is taken"
    assert len(await queue.claim(5, 30.0, "a")) == 3


async def test_workers_go_on_through_wipes_and_refills(redis: Redis, queue: DepartmentQueue) -> None:
    """The ledger here is a set of what is open: wiped a dozen times and refilled from it, the queue still brings every item to its end."""
    still_open = {item.reference: item for item in items(*range(300))}

    async def worker(name: str) -> None:
        while still_open:
            for lease in await queue.claim(4, 30.0, name):
                try:
                    await queue.settle(lease.reference, lease.token, Done())
                except LeaseLost:
                    continue
                still_open.pop(lease.reference, None)

    async def ruin() -> None:
        for turn in range(12):
            await queue.put(list(still_open.values()))
            await asyncio.sleep(0)
            await redis.flushall()
            if turn % 3 == 0:
                await redis.script_flush()
        await queue.put(list(still_open.values()))

    await asyncio.wait_for(asyncio.gather(ruin(), *(worker(f"w{n}") for n in range(5))), 30)
    assert not still_open


async def test_a_server_that_is_gone_is_a_temporary_failure_and_then_an_empty_queue(own_valkey: PrivateValkey) -> None:
    async with Redis.from_url(own_valkey.url) as redis:
        queue = DepartmentQueue(redis, "after_sales")
        await queue.put(items(1))
        (lease,) = await queue.claim(1, 30.0, "a")
        own_valkey.kill()
        calls = [
            queue.put(items(2)),
            queue.claim(1, 30.0, "a"),
            queue.settle(lease.reference, lease.token, Done()),
            queue.counts(),
            queue.wait(1),
        ]
        for call in calls:
            with pytest.raises(TemporaryFailure, match="ledger refills") as failure:
                await call
            assert failure.value.retry_after
        own_valkey.start()
        await wait_until(lambda: taken(queue, items(1)), "the restarted server takes items")
        with pytest.raises(LeaseLost):
            await queue.settle(lease.reference, lease.token, Done())
        assert len(await queue.claim(1, 30.0, "a")) == 1
        await queue.aclose()


async def test_a_full_server_is_a_temporary_failure(own_valkey: PrivateValkey) -> None:
    async with Redis.from_url(own_valkey.url) as redis:
        queue = DepartmentQueue(redis, "after_sales")
        await redis.config_set("maxmemory", "1")
        with pytest.raises(TemporaryFailure, match="memory"):
            await queue.put(items(1))


async def test_each_of_many_waiters_gets_one_item_over_one_connection(redis: Redis) -> None:
    queues = [DepartmentQueue(redis, "after_sales") for _ in range(3)]
    waiting = [asyncio.create_task(queues[n % 3].claim(1, 30.0, f"w{n}", wait=30.0)) for n in range(60)]

    async def all_wait() -> bool:
        return sum(len(queue._doorbell._waiting) for queue in queues) == 60

    await wait_until(all_wait, "all sixty wait")
    subscribed = [client for client in await redis.client_list() if client["sub"] != "0"]
    assert len(subscribed) <= len(queues), "sixty waiters hold no more connections than there are queue objects"
    for number in range(60):
        await queues[0].put(items(number))
    got = sorted(lease.reference for leases in await asyncio.gather(*waiting) for lease in leases)
    assert got == sorted(item.reference for item in items(*range(60)))
    for queue in queues:
        await queue.aclose()


async def test_a_waiter_is_served_after_the_server_was_wiped_or_restarted(own_valkey: PrivateValkey) -> None:
    async with Redis.from_url(own_valkey.url) as redis:
        queue = DepartmentQueue(redis, "after_sales")

        async def listening() -> bool:
            return any(client["sub"] != "0" for client in await redis.client_list())

        waiting = asyncio.create_task(queue.claim(1, 30.0, "a", wait=30.0))
        await wait_until(listening, "the waiter listens")
        await redis.flushall()
        await queue.put(items(1))
        assert len(await waiting) == 1

        patient = asyncio.create_task(queue.wait(30.0))
        await wait_until(listening, "the waiter listens again")
        own_valkey.kill()
        own_valkey.start()
        await wait_until(lambda: taken(queue, items(2)), "the restarted server takes items")
        assert await patient
        await queue.aclose()


async def test_whoever_waits_is_woken_at_once_and_not_by_chance(redis: Redis, queue: DepartmentQueue) -> None:
    """A listener that looks by itself only once a minute hears of everything that makes an item claimable."""
    bell = Doorbell(redis, "desk:q:{after_sales}:wake", queue._look, longest_silence=60.0)

    async def listening() -> bool:
        return any(client["sub"] != "0" for client in await redis.client_list())

    async def woken_by(cause: Awaitable[object]) -> Lease:
        waiting = asyncio.create_task(bell.wait(30.0))
        await wait_until(listening, "the listener listens")
        await redis.ping()
        await cause
        assert await asyncio.wait_for(waiting, 10.0)
        (lease,) = await queue.claim(1, 60.0, "a")
        return lease

    lease = await woken_by(queue.put(items(1)))
    lease = await woken_by(queue.settle(lease.reference, lease.token, Retry()))
    lease = await woken_by(queue.settle(lease.reference, lease.token, Retry(0.2)))
    await queue.settle(lease.reference, lease.token, Dead("x"))
    lease = await woken_by(queue.requeue(lease.reference))
    await queue.extend(lease.reference, lease.token, 0.3)
    assert (await woken_by(asyncio.sleep(0))).attempts == 5
    await bell.aclose()


async def test_instants_are_epoch_seconds_of_the_server(queue: DepartmentQueue) -> None:
    before = time.time()
    await queue.put(items(1))
    (lease,) = await queue.claim(1, 30.0, "a")
    after = time.time()
    assert before - 0.01 <= lease.enqueued_at <= after + 0.01
    assert before + 29.99 <= lease.expires_at <= after + 30.01
    assert lease.due_at == DUE + 1


async def test_a_waiter_that_goes_away_takes_nobodys_turn(queue: DepartmentQueue) -> None:
    waiters = [asyncio.create_task(queue.claim(1, 30.0, f"w{n}", wait=20.0)) for n in range(3)]

    async def all_wait() -> bool:
        return len(queue._doorbell._waiting) == 3

    await wait_until(all_wait, "all three wait")
    waiters[0].cancel()
    await queue.put(items(1, 2))
    assert [len(leases) for leases in await asyncio.gather(*waiters[1:])] == [1, 1]


@pytest.mark.parametrize("options", [{"decode_responses": True}, {"protocol": 3}, {"protocol": 3, "decode_responses": True}])
async def test_every_way_of_decoding_works(redis: Redis, shared_valkey: PrivateValkey, options: dict[str, object]) -> None:
    async with Redis.from_url(shared_valkey.url, **options) as other:
        queue = DepartmentQueue(other, "after_sales")
        await queue.put(items(1))
        (lease,) = await queue.claim(1, 30.0, "王芳")
        await queue.settle(lease.reference, lease.token, Dead("客户号码是空号"))
        (entry,) = await queue.entries(Place.DEAD)
        assert (entry.worker, entry.reason) == ("王芳", "客户号码是空号")
        assert await queue.wait(0.05) is False
        await queue.aclose()


async def test_a_store_that_lost_some_keys_loses_no_item(redis: Redis, queue: DepartmentQueue) -> None:
    await queue.put(items(0, 1))
    await redis.delete("desk:q:{after_sales}:items")
    leases = await queue.claim(5, 0.01, "a")
    assert [lease.priority for lease in leases] == [Priority.URGENT, Priority.HIGH], "the order survives in the score"
    await redis.delete("desk:q:{after_sales}:leased")
    assert await queue.claim(5, 30.0, "a") == []
    assert await queue.put(items(0, 1)) == 2, "items that are nowhere are put back"
    assert len(await queue.claim(5, 30.0, "a")) == 2


async def test_all_keys_of_a_department_live_on_one_node(redis: Redis, queue: DepartmentQueue) -> None:
    await queue.put(items(1, 2, 3, 4))
    leases = await queue.claim(3, 30.0, "a")
    outcomes = [Retry(60.0), Dead("x")]
    for lease, outcome in zip(leases, outcomes, strict=False):
        await queue.settle(lease.reference, lease.token, outcome)
    keys = await redis.keys("*")
    assert len(keys) == 6
    assert len({key_slot(key) for key in keys}) == 1


async def test_an_empty_queue_leaves_nothing_behind(redis: Redis, queue: DepartmentQueue) -> None:
    await queue.put(items(1, 2))
    for lease in await queue.claim(2, 30.0, "a"):
        await queue.settle(lease.reference, lease.token, Done())
    assert await redis.keys("*") == []


async def test_departments_do_not_see_each_other(make_queue: Callable[[], DepartmentQueue]) -> None:
    one, other = make_queue(), make_queue()
    await one.put(items(1))
    assert await other.claim(1, 30.0, "a") == []
    await other.withdraw(items(1)[0].reference)
    assert len(await one.claim(1, 30.0, "a")) == 1


def test_the_score_is_exact_to_the_millisecond() -> None:
    latest = 9_999_999_999.999
    scores = [score_of(priority, due) for priority in BY_RANK for due in (0.0, 0.001, DUE, DUE + 0.001, latest)]
    assert scores == sorted(set(scores))
    assert all(float(score) == score and score < 2**53 for score in scores)


@pytest.mark.parametrize("name", ["", "a}b", "{x}", "退货", "a b", "x" * 65, "A"])
async def test_a_name_that_would_break_the_keys_is_refused(redis: Redis, name: str) -> None:
    with pytest.raises(ValueError, match="as the policy does"):
        DepartmentQueue(redis, name)
