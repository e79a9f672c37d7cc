"""What every department queue must do, as checks that any implementation can be put through. Knows no test framework.

    await run(make_queue, advance)      # all of CHECKS, each with a fresh queue; AssertionError says in a sentence what is wrong

`make_queue(max_lapses)` gives a new, empty queue; `advance(seconds)` lets that much time pass for it (by moving its clock, or by waiting).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from shared.complaint import Priority
from shared.errors import LeaseLost, UnknownReference
from shared.queues.contract import Counts, Dead, Done, Item, Lease, Place, Queue, Retry, Settlement

MakeQueue = Callable[[int], Awaitable[Queue]]
Advance = Callable[[float], Awaitable[None]]
Check = Callable[[Queue, Advance], Awaitable[None]]

DUE = 1_800_000_000.0
LEASE = 30.0
MAX_LAPSES = 3
MANY = 60


async def run(make_queue: MakeQueue, advance: Advance) -> None:
    """Put an implementation through every check. Raises AssertionError with a sentence that names the broken promise."""
    for check in CHECKS:
        await check(await make_queue(MAX_LAPSES), advance)


async def gives_the_most_pressing_first(queue: Queue, advance: Advance) -> None:
    """Priority decides, then the deadline, to the millisecond."""
    del advance
    wanted = [
        item("C1", Priority.URGENT, DUE + 9000),
        item("C2", Priority.HIGH, 1.0),
        item("C3", Priority.HIGH, DUE),
        item("C4", Priority.HIGH, DUE + 0.001),
        item("C5", Priority.NORMAL, 0.0),
        item("C6", Priority.LOW, 0.0),
        item("C7", Priority.LOW, 9_999_999_999.0),
    ]
    added = await queue.put(wanted[::-1])
    demand(added == len(wanted), f"put took {len(wanted)} new items and said it took {added}")
    seen = [entry.reference for entry in await queue.entries(Place.READY, limit=3)]
    demand(seen == ["C1", "C2", "C3"], f"entries shows the ready items in the order {seen}, not most pressing first")
    leases = await queue.claim(3, LEASE, "a") + await queue.claim(10, LEASE, "a")
    order = [lease.reference for lease in leases]
    demand(order == [one.reference for one in wanted], f"claims came in the order {order}: priority goes first, then the deadline")
    for lease, one in zip(leases, wanted, strict=True):
        same = (lease.priority, lease.due_at, lease.attempts) == (one.priority, one.due_at, 1)
        demand(same, f"the lease {lease} does not say what was put: {one}")


async def never_doubles(queue: Queue, advance: Advance) -> None:
    """An item put again is the same item, wherever it is."""
    del advance
    await queue.put([item("C1"), item("C1")])
    demand(await queue.put([item("C1")]) == 0, "an item put twice was taken for a new one")
    (lease,) = await queue.claim(5, LEASE, "a")
    demand(await queue.put([item("C1")]) == 0, "an item that is leased was taken for a new one when put again")
    demand(not await queue.claim(5, LEASE, "b"), "an item was claimed twice at once after it was put again while leased")
    await queue.settle("C1", lease.token, Done())
    demand(not await queue.claim(5, LEASE, "b"), "an item came back although it was done")
    demand(await queue.put([item("C1")]) == 1, "a reference that was done cannot be put anew")


async def put_again_changes_the_order(queue: Queue, advance: Advance) -> None:
    """A second put with another priority or deadline re-prioritises, wherever the item is, and moves it nowhere."""
    del advance
    await queue.put([item("C1", Priority.NORMAL), item("C2", Priority.NORMAL, DUE + 1)])
    await queue.put([item("C2", Priority.HIGH, DUE + 1)])
    second = await only(queue, "a")
    demand(second.reference == "C2", "an item put again with a higher priority was not claimed first")
    first = await only(queue, "a")
    await queue.settle("C1", first.token, Dead("x"))
    await queue.put([item("C2", Priority.LOW), item("C1", Priority.URGENT)])
    demand(not await queue.claim(5, LEASE, "b"), "a leased item or a dead letter was claimed after it was put with another priority")
    await queue.put([item("C3", Priority.NORMAL)])
    await queue.settle("C2", second.token, Retry())
    await queue.requeue("C1")
    leases = [(lease.reference, lease.priority) for lease in await queue.claim(3, LEASE, "a")]
    wanted = [("C1", Priority.URGENT), ("C3", Priority.NORMAL), ("C2", Priority.LOW)]
    demand(leases == wanted, f"items put again with another priority while leased or dead came back as {leases}")


async def lease_ends(queue: Queue, advance: Advance) -> None:
    """A lease that has expired is lost, the item goes to the next, and attempts counts both."""
    await queue.put([item("C1")])
    first = await only(queue, "a")
    await advance(LEASE / 2)
    demand(not await queue.claim(1, LEASE, "b"), "an item was claimed while somebody held a lease on it")
    await advance(LEASE / 2 + 0.01)
    await must_lose(queue.settle("C1", first.token, Done()), "an expired lease could be settled")
    second = await only(queue, "b")
    demand(second.attempts == 2, f"the second claim of an item counts as attempt {second.attempts}, not 2")
    demand(second.token != first.token, "two leases have the same token")
    await must_lose(queue.settle("C1", first.token, Done()), "the first holder could settle what another has claimed since")
    await must_lose(queue.extend("C1", first.token, LEASE), "the first holder could extend what another has claimed since")
    await queue.settle("C1", second.token, Done())
    await must_lose(queue.settle("C1", second.token, Done()), "a lease could be settled twice")


async def extends(queue: Queue, advance: Advance) -> None:
    """An extended lease lasts from the moment of extending."""
    await queue.put([item("C1")])
    lease = await only(queue, "a")
    await advance(LEASE * 0.8)
    expires_at = await queue.extend("C1", lease.token, LEASE)
    demand(expires_at > lease.expires_at, "extending a lease did not move its end")
    await advance(LEASE * 0.8)
    demand(not await queue.claim(1, LEASE, "b"), "an item was claimed though its lease was extended")
    await must_lose(queue.extend("C1", "0" * 16, LEASE), "a made-up token could extend a lease")
    demand(await queue.lost([("C1", lease.token)]) == [], "a lease that is held was called lost")
    lost = await queue.lost([("C1", "0" * 16), ("C9", lease.token)])
    demand(lost == ["C1", "C9"], f"asked about a made-up token and a reference without lease, the queue called lost: {lost}")
    await queue.settle("C1", lease.token, Done())


async def retries_later(queue: Queue, advance: Advance) -> None:
    """A retry waits out its delay, then has its old place in the order; without delay it is ready at once."""
    await queue.put([item("C1", Priority.HIGH), item("C2", Priority.NORMAL)])
    lease = await only(queue, "a")
    await queue.settle("C1", lease.token, Retry(60.0))
    await must_lose(queue.settle("C1", lease.token, Done()), "a lease was still good after its item went to be retried")
    (entry,) = await queue.entries(Place.DELAYED)
    demand(entry.reference == "C1", "an item that waits for its retry is not shown as delayed")
    other = await only(queue, "a")
    demand(other.reference == "C2", "an item was claimed before its delay was over")
    await queue.settle("C2", other.token, Retry())
    await advance(60.01)
    leases = await queue.claim(2, LEASE, "a")
    order = [one.reference for one in leases]
    demand(order == ["C1", "C2"], f"after the delay the items came as {order}, not in their old order")
    demand(all(one.attempts == 2 for one in leases), "a retry does not count as another attempt")


async def keeps_dead_letters(queue: Queue, advance: Advance) -> None:
    """A dead letter shows its reason, is not claimed, is not revived by a put, and can be requeued."""
    del advance
    await queue.put([item("C1")])
    lease = await only(queue, "a")
    await queue.settle("C1", lease.token, Dead("订单号不存在"))
    await queue.put([item("C1")])
    demand(not await queue.claim(1, LEASE, "a"), "a dead letter was claimed")
    (entry,) = await queue.entries(Place.DEAD)
    demand(
        (entry.reference, entry.reason, entry.worker) == ("C1", "订单号不存在", "a"),
        f"a dead letter shows {entry}, not its reason and worker",
    )
    await queue.requeue("C1")
    demand(not await queue.entries(Place.DEAD), "a requeued item is still shown as a dead letter")
    again = await only(queue, "a")
    demand(again.attempts == 2, "a requeued item forgot its attempts")
    await must_not_know(queue.requeue("C1"), "something that is not a dead letter was requeued")


async def buries_what_kills_its_workers(queue: Queue, advance: Advance) -> None:
    """After MAX_LAPSES expired leases in a row the item is a dead letter that says so; a worker's word in between counts anew."""
    await queue.put([item("C1"), item("C2")])
    for _ in range(MAX_LAPSES):
        leases = {lease.reference: lease for lease in await queue.claim(2, LEASE, "a")}
        await queue.settle("C2", leases["C2"].token, Retry())
        await advance(LEASE + 0.01)
        demand(await queue.reap() == 1, "reap did not say that one lease had expired")
    (entry,) = await queue.entries(Place.DEAD)
    demand(entry.reference == "C1" and str(MAX_LAPSES) in entry.reason, f"after {MAX_LAPSES} expired leases the dead letter is {entry}")
    other = await only(queue, "a")
    demand(other.reference == "C2", "an item whose worker always answered became a dead letter")
    await queue.settle("C2", other.token, Done())
    await queue.requeue("C1")
    for _ in range(2):
        for _ in range(MAX_LAPSES - 1):
            await only(queue, "a")
            await advance(LEASE + 0.01)
        lease = await only(queue, "a")
        await queue.settle("C1", lease.token, Retry())
    demand(not await queue.entries(Place.DEAD), f"an item died before {MAX_LAPSES} leases in a row had expired since its requeue or retry")


async def reprioritises_anywhere(queue: Queue, advance: Advance) -> None:
    """A new priority holds for a ready item at once, for a leased or delayed one when it is ready again."""
    await queue.put([item("C1"), item("C2"), item("C3")])
    await queue.reprioritise("C3", Priority.URGENT, DUE)
    urgent = await only(queue, "a")
    demand(urgent.reference == "C3", "an item made urgent was not claimed first")
    first = await only(queue, "a")
    await queue.reprioritise("C3", Priority.LOW, DUE)
    demand(
        [lease.reference for lease in await queue.claim(2, LEASE, "b")] == ["C2"], "a leased item was claimed after it was re-prioritised"
    )
    await queue.withdraw("C2")
    await queue.put([item("C2")])
    await queue.settle("C3", urgent.token, Retry())
    await queue.settle(first.reference, first.token, Retry(5.0))
    await queue.reprioritise(first.reference, Priority.HIGH, DUE)
    await advance(5.01)
    order = [lease.reference for lease in await queue.claim(3, LEASE, "a")]
    demand(order == [first.reference, "C2", "C3"], f"items re-prioritised while leased or delayed came as {order}")
    await must_not_know(queue.reprioritise("C9", Priority.HIGH, DUE), "a reference that is not in the queue was re-prioritised")


async def withdraws_anywhere(queue: Queue, advance: Advance) -> None:
    """A withdrawn item is gone from every place, and a lease on it is lost."""
    await queue.put([item("C1"), item("C2"), item("C3"), item("C4")])
    leased, delayed, dead = await queue.claim(3, LEASE, "a")
    await queue.settle(delayed.reference, delayed.token, Retry(5.0))
    await queue.settle(dead.reference, dead.token, Dead("x"))
    for reference in ("C1", "C2", "C3", "C4", "C9"):
        await queue.withdraw(reference)
    await must_lose(queue.settle(leased.reference, leased.token, Done()), "the lease on a withdrawn item could still be settled")
    await must_lose(queue.extend(leased.reference, leased.token, LEASE), "the lease on a withdrawn item could still be extended")
    await advance(LEASE + 5.01)
    demand(not await queue.claim(4, LEASE, "a"), "a withdrawn item was claimed")
    demand(await queue.counts() == Counts(ready=0, leased=0, delayed=0, dead=0, oldest_age=0.0), "a withdrawn item is still counted")


async def settles_many(queue: Queue, advance: Advance) -> None:
    """Of many settlements the lost ones are named and the others hold."""
    await queue.put([item(f"C{n}") for n in range(1, 5)])
    old = await only(queue, "a")
    await advance(LEASE + 0.01)
    leases = await queue.claim(4, LEASE, "b")
    outcomes = [Done(), Retry(9.0), Dead("x"), Done()]
    settlements = [
        Settlement(reference=lease.reference, token=lease.token, outcome=outcome) for lease, outcome in zip(leases, outcomes, strict=True)
    ]
    stale = Settlement(reference=old.reference, token=old.token, outcome=Done())
    lost = await queue.settle_many([stale, *settlements, settlements[0]])
    demand(lost == [old.reference, settlements[0].reference], f"of six settlements, two of them lost, these were named: {lost}")
    demand(await queue.settle_many([]) == [], "settling nothing lost something")
    counts = await queue.counts()
    demand((counts.ready, counts.leased, counts.delayed, counts.dead) == (0, 0, 1, 1), f"after settling four the queue counts {counts}")


async def counts(queue: Queue, advance: Advance) -> None:
    """Each item is counted once, where a claim would find it, and the oldest age is that of the longest-waiting."""
    demand(await queue.counts() == Counts(ready=0, leased=0, delayed=0, dead=0, oldest_age=0.0), "an empty queue counts something")
    await queue.put([item("C1")])
    await advance(10.0)
    await queue.put([item("C2"), item("C3"), item("C4")])
    leases = await queue.claim(3, LEASE, "a")
    await queue.settle(leases[1].reference, leases[1].token, Retry(100.0))
    await queue.settle(leases[2].reference, leases[2].token, Dead("x"))
    found = await queue.counts()
    demand((found.ready, found.leased, found.delayed, found.dead) == (1, 1, 1, 1), f"one item in each place is counted as {found}")
    demand(9.9 <= found.oldest_age <= 11.0, f"the oldest item came in 10 s ago, and oldest_age is {found.oldest_age}")
    await advance(101.0)
    found = await queue.counts()
    demand((found.ready, found.leased, found.delayed) == (3, 0, 0), f"items whose lease or delay is over are counted as {found}")
    for lease in await queue.claim(3, LEASE, "a"):
        await queue.settle(lease.reference, lease.token, Dead("x"))
    demand((await queue.counts()).oldest_age == 0.0, "dead letters count for the oldest age, though nobody waits for them")
    await queue.requeue("C1")
    demand((await queue.counts()).oldest_age > 100.0, "a requeued item forgot when it came in")


async def refuses_nonsense(queue: Queue, advance: Advance) -> None:
    """An argument out of bounds is refused before anything happens."""
    del advance
    await queue.put([item("C1")])
    nonsense: list[tuple[str, Coroutine[Any, Any, object]]] = [
        ("a claim of no items", queue.claim(0, LEASE, "a")),
        ("a claim of a million items", queue.claim(1_000_000, LEASE, "a")),
        ("a lease of no time", queue.claim(1, 0.0, "a")),
        ("a lease for ever", queue.claim(1, float("inf"), "a")),
        ("a deadline that is no number", queue.put([item("C2", due_at=float("nan"))])),
        ("a deadline before 1970", queue.put([item("C2", due_at=-1.0)])),
        ("a good item with one without reference", queue.put([item("C2"), item("")])),
        ("a claim by nobody", queue.claim(1, LEASE, "")),
        ("a retry in the past", queue.settle("C1", "0" * 16, Retry(-1.0))),
        ("a dead letter without reason", queue.settle("C1", "0" * 16, Dead(" "))),
    ]
    for what, call in nonsense:
        try:
            await call
        except ValueError:
            continue
        raise AssertionError(f"{what} was accepted")
    demand((await queue.counts()).ready == 1, "a refused call changed the queue")


async def gives_each_item_once(queue: Queue, advance: Advance) -> None:
    """Many at once: every item goes to exactly one of them."""
    del advance
    await queue.put([item(f"C{n}") for n in range(MANY)])

    async def worker(name: str) -> list[str]:
        mine: list[str] = []
        while leases := await queue.claim(3, LEASE, name):
            mine += [lease.reference for lease in leases]
            for lease in leases:
                await queue.settle(lease.reference, lease.token, Done())
        return mine

    got = [reference for mine in await asyncio.gather(*(worker(f"w{n}") for n in range(8))) for reference in mine]
    demand(len(got) == len(set(got)), "two workers were given the same item")
    demand(len(got) == MANY, f"of {MANY} items only {len(got)} were given to a worker")


async def wakes_those_who_wait(queue: Queue, advance: Advance) -> None:
    """A claim that waits comes back with what is put meanwhile, and empty when nothing comes."""
    del advance
    demand(not await queue.claim(1, LEASE, "a", wait=0.02), "a claim on an empty queue gave something")
    demand(not await queue.wait(0.02), "waiting on an empty queue said that there is something")
    waiting = [asyncio.create_task(queue.claim(1, LEASE, f"w{n}", wait=20.0)) for n in range(4)]
    await queue.put([item(f"C{n}") for n in range(2)])
    await queue.put([item(f"C{n}") for n in range(2, 4)])
    got = sorted(lease.reference for leases in await asyncio.gather(*waiting) for lease in leases)
    demand(got == ["C0", "C1", "C2", "C3"], f"four waiting workers and four items put: they got {got}")


CHECKS: tuple[Check, ...] = (
    gives_the_most_pressing_first,
    never_doubles,
    put_again_changes_the_order,
    lease_ends,
    extends,
    retries_later,
    keeps_dead_letters,
    buries_what_kills_its_workers,
    reprioritises_anywhere,
    withdraws_anywhere,
    settles_many,
    counts,
    refuses_nonsense,
    gives_each_item_once,
    wakes_those_who_wait,
)


def item(reference: str, priority: Priority = Priority.NORMAL, due_at: float = DUE) -> Item:
    """An item for the checks."""
    return Item(reference=reference, priority=priority, due_at=due_at)


def demand(holds: bool, otherwise: str) -> None:
    """Raise AssertionError with the sentence unless the promise holds (an `assert` would vanish under -O)."""
    if not holds:
        raise AssertionError(otherwise)


async def only(queue: Queue, worker: str) -> Lease:
    """The one lease that a claim of one must give now."""
    leases: Sequence[Lease] = await queue.claim(1, LEASE, worker)
    demand(len(leases) == 1, f"one item should be claimable by {worker}, and the claim gave {len(leases)}")
    return leases[0]


async def must_lose(call: Awaitable[object], otherwise: str) -> None:
    """The call must raise LeaseLost."""
    try:
        await call
    except LeaseLost:
        return
    raise AssertionError(otherwise)


async def must_not_know(call: Awaitable[object], otherwise: str) -> None:
    """The call must raise UnknownReference."""
    try:
        await call
    except UnknownReference:
        return
    raise AssertionError(otherwise)
