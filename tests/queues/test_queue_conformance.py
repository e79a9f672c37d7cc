"""The department queue on Redis keeps every promise of the conformance suite, and the suite sees a queue that does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.queues import conformance
from shared.queues.contract import Done, Lease, Outcome, Queue
from shared.queues.department import DepartmentQueue
from tests.queues.waiting import Clock


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
async def test_the_redis_queue_keeps(check: conformance.Check, make_queue: Callable[[int], DepartmentQueue], clock: Clock) -> None:
    queue: Queue = make_queue(conformance.MAX_LAPSES)
    await check(queue, clock.advance)


class Forgetful(DepartmentQueue):
    """Takes anybody's word that an item is done."""

    async def settle(self, reference: str, token: str, outcome: Outcome) -> None:
        if isinstance(outcome, Done):
            await self.withdraw(reference)
        else:
            await super().settle(reference, token, outcome)


class Generous(DepartmentQueue):
    """Gives the least pressing first."""

    async def claim(self, n: int, lease_seconds: float, worker: str, *, wait: float = 0.0) -> list[Lease]:
        return (await super().claim(n, lease_seconds, worker, wait=wait))[::-1]


@pytest.mark.parametrize(("broken", "sentence"), [(Forgetful, "expired lease could be settled"), (Generous, "priority goes first")])
async def test_the_suite_names_the_broken_promise(redis, clock: Clock, broken: type[DepartmentQueue], sentence: str) -> None:
    made: list[DepartmentQueue] = []

    async def make(max_lapses: int) -> Queue:
        made.append(broken(redis, f"broken_{len(made)}", max_lapses=max_lapses, clock=clock))
        return made[-1]

    with pytest.raises(AssertionError, match=sentence):
        await conformance.run(make, clock.advance)


async def test_the_suite_runs_as_a_third_party_would_run_it(make_queue: Callable[[int], DepartmentQueue], clock: Clock) -> None:
    async def make(max_lapses: int) -> Queue:
        return make_queue(max_lapses)

    await conformance.run(make, clock.advance)
