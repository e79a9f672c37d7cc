"""One private Valkey for the folder's tests, an empty one for each test, and one of its own for tests that break it."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from redis.asyncio import Redis

from shared.queues.department import DepartmentQueue
from tests.queues.waiting import Clock
from tests.valkey import PrivateValkey, private_valkey


@pytest.fixture(scope="session")
def shared_valkey() -> Iterator[PrivateValkey]:
    with private_valkey() as server:
        yield server


@pytest.fixture
def own_valkey() -> Iterator[PrivateValkey]:
    with private_valkey() as server:
        yield server


@pytest.fixture
async def redis(shared_valkey: PrivateValkey) -> AsyncIterator[Redis]:
    async with Redis.from_url(shared_valkey.url) as client:
        await client.flushall()
        yield client


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def make_queue(redis: Redis, clock: Clock) -> AsyncIterator[Callable[[int], DepartmentQueue]]:
    """Fresh queues under the test's clock, closed afterwards."""
    made: list[DepartmentQueue] = []
    number = itertools.count()

    def make(max_lapses: int = 3) -> DepartmentQueue:
        made.append(DepartmentQueue(redis, f"department_{next(number)}", max_lapses=max_lapses, clock=clock))
        return made[-1]

    yield make
    for queue in made:
        await queue.aclose()
