"""Any sequence of calls leaves the queue as a plain model of it says: no item lost, none leased twice, the order kept."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from redis.asyncio import Redis

from shared.errors import LeaseLost, UnknownReference
from shared.queues.contract import Dead, Done, Item, Lease, Outcome, Place, Retry, Settlement
from shared.queues.department import BY_RANK, DepartmentQueue
from tests.valkey import PrivateValkey

MAX_LAPSES = 2
NUMBER = itertools.count()
references = st.sampled_from([f"C{n}" for n in range(8)])
ranks = st.integers(0, 3)
dues = st.sampled_from([5.0, 5.001, 7.0])
outcomes: st.SearchStrategy[Outcome] = st.sampled_from([Done(), Retry(0.0), Retry(4.0), Dead("why")])


@dataclass
class Known:
    """What the model knows of one item; `at` is the end of its lease or delay."""

    rank: int
    due: float
    place: Place = Place.READY
    attempts: int = 0
    lapses: int = 0
    token: str = ""
    at: float = 0.0


class QueueMachine(RuleBasedStateMachine):
    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.now = 1000.0
        self.known: dict[str, Known] = {}
        self.leases: list[Lease] = []
        self.redis = Redis.from_url(self.url)
        self.queue = DepartmentQueue(self.redis, f"model_{next(NUMBER)}", max_lapses=MAX_LAPSES, clock=lambda: self.now)

    def teardown(self) -> None:
        self.do(self.redis.flushall())
        self.do(self.redis.aclose())
        self.runner.close()

    def do(self, call: Any) -> Any:
        return self.runner.run(call)

    def catch_up(self) -> None:
        """What time alone does, as soon as something looks at the whole queue."""
        for item in self.known.values():
            if item.place in (Place.LEASED, Place.DELAYED) and item.at <= self.now:
                if item.place is Place.LEASED:
                    item.lapses += 1
                item.token = ""
                item.place = Place.DEAD if item.lapses >= MAX_LAPSES else Place.READY

    def in_order(self) -> list[str]:
        ready = [name for name, item in self.known.items() if item.place is Place.READY]
        return sorted(ready, key=lambda name: (self.known[name].rank, self.known[name].due, name))

    def holds(self, lease: Lease) -> bool:
        item = self.known.get(lease.reference)
        return item is not None and item.place is Place.LEASED and item.token == lease.token and item.at > self.now

    @rule(puts=st.lists(st.tuples(references, ranks, dues), min_size=1, max_size=4))
    def put(self, puts: list[tuple[str, int, float]]) -> None:
        fresh = {name for name, _, _ in puts} - self.known.keys()
        added = self.do(self.queue.put([Item(reference=name, priority=BY_RANK[rank], due_at=due) for name, rank, due in puts]))
        assert added == len(fresh)
        for name, rank, due in puts:
            item = self.known.setdefault(name, Known(rank, due))
            item.rank, item.due = rank, due

    @rule(n=st.integers(1, 4), seconds=st.sampled_from([2.0, 6.0]))
    def claim(self, n: int, seconds: float) -> None:
        self.catch_up()
        expected = self.in_order()[:n]
        leases = self.do(self.queue.claim(n, seconds, "w"))
        assert [lease.reference for lease in leases] == expected
        for lease in leases:
            item = self.known[lease.reference]
            item.place, item.token, item.at, item.attempts = Place.LEASED, lease.token, self.now + seconds, item.attempts + 1
            assert (lease.priority.rank, lease.due_at, lease.attempts, lease.expires_at) == (item.rank, item.due, item.attempts, item.at)
        self.leases += leases

    @rule(data=st.data(), outcome=outcomes, batch=st.booleans())
    def settle(self, data: st.DataObject, outcome: Outcome, batch: bool) -> None:
        if not self.leases:
            return
        lease = data.draw(st.sampled_from(self.leases))
        held = self.holds(lease)
        if batch:
            lost = self.do(self.queue.settle_many([Settlement(reference=lease.reference, token=lease.token, outcome=outcome)]))
            assert lost == ([] if held else [lease.reference])
        elif held:
            self.do(self.queue.settle(lease.reference, lease.token, outcome))
        else:
            with pytest.raises(LeaseLost):
                self.do(self.queue.settle(lease.reference, lease.token, outcome))
        if not held:
            return
        item = self.known[lease.reference]
        item.token = ""
        match outcome:
            case Done():
                del self.known[lease.reference]
            case Dead():
                item.place = Place.DEAD
            case Retry(delay):
                item.lapses, item.at = 0, self.now + delay
                item.place = Place.DELAYED if delay else Place.READY

    @rule(data=st.data(), seconds=st.sampled_from([1.0, 9.0]))
    def extend(self, data: st.DataObject, seconds: float) -> None:
        if not self.leases:
            return
        lease = data.draw(st.sampled_from(self.leases))
        if self.holds(lease):
            assert self.do(self.queue.extend(lease.reference, lease.token, seconds)) == self.now + seconds
            self.known[lease.reference].at = self.now + seconds
        else:
            with pytest.raises(LeaseLost):
                self.do(self.queue.extend(lease.reference, lease.token, seconds))

    @rule(reference=references, rank=ranks, due=dues)
    def reprioritise(self, reference: str, rank: int, due: float) -> None:
        if item := self.known.get(reference):
            self.do(self.queue.reprioritise(reference, BY_RANK[rank], due))
            item.rank, item.due = rank, due
        else:
            with pytest.raises(UnknownReference):
                self.do(self.queue.reprioritise(reference, BY_RANK[rank], due))

    @rule(reference=references)
    def withdraw(self, reference: str) -> None:
        self.do(self.queue.withdraw(reference))
        self.known.pop(reference, None)

    @rule(reference=references)
    def requeue(self, reference: str) -> None:
        self.do(self.queue.reap())
        self.catch_up()
        item = self.known.get(reference)
        if item and item.place is Place.DEAD:
            self.do(self.queue.requeue(reference))
            item.place, item.lapses = Place.READY, 0
        else:
            with pytest.raises(UnknownReference):
                self.do(self.queue.requeue(reference))

    @rule(seconds=st.sampled_from([0.5, 2.0, 5.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def reap(self) -> None:
        expired = sum(item.place is Place.LEASED and item.at <= self.now for item in self.known.values())
        assert self.do(self.queue.reap()) == expired
        self.catch_up()

    @rule()
    def the_server_forgets_its_scripts(self) -> None:
        self.do(self.redis.script_flush())

    @rule()
    def look(self) -> None:
        """Every item is in exactly the place, and with exactly the order and attempts, that the model says."""
        self.catch_up()
        seen = {place: self.do(self.queue.entries(place)) for place in Place}
        assert [entry.reference for entry in seen[Place.READY]] == self.in_order()
        found = {entry.reference: (place, entry.priority.rank, entry.due_at, entry.attempts) for place in Place for entry in seen[place]}
        assert found == {name: (item.place, item.rank, item.due, item.attempts) for name, item in self.known.items()}
        assert len(found) == sum(map(len, seen.values())), "an item is in two places"

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        keys = [f"desk:q:{{{self.queue.department}}}:{place}" for place in Place]
        members = [name.decode() for key in keys for name in self.do(self.redis.zrange(key, 0, -1))]
        assert sorted(members) == sorted(self.known)


def test_any_sequence_of_calls_agrees_with_the_model(shared_valkey: PrivateValkey) -> None:
    QueueMachine.url = shared_valkey.url
    phases = (Phase.reuse, Phase.generate, Phase.shrink)
    bounded = settings(max_examples=60, stateful_step_count=40, deadline=None, phases=phases, suppress_health_check=[HealthCheck.too_slow])
    run_state_machine_as_test(QueueMachine, settings=bounded)
