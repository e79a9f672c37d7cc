"""Notices go out at most once: the ledger's part of that promise, on both databases."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from shared.ledger import Ledger, notices
from shared.ledger.notices import Settled
from tests.ledger.rows import AT, REF, notice

MINUTE = timedelta(minutes=1)
KEY = f"acknowledgement/{REF}"


async def test_a_notice_key_exists_once(ledger: Ledger):
    async with ledger.write() as tx:
        await notices.add(tx, [notice()])
    with pytest.raises(IntegrityError):
        async with ledger.write() as tx:
            await notices.add(tx, [notice()])


async def test_a_claimed_notice_is_nobody_elses_until_its_time_is_up(ledger: Ledger):
    async with ledger.write() as tx:
        await notices.add(tx, [notice(), notice("later", created_at=AT + MINUTE)])
        assert await notices.claim(tx, [KEY], AT - MINUTE, AT) == []
        [claimed] = await notices.claim(tx, [KEY, "later", "unknown"], AT, AT + MINUTE)
        assert await notices.claim(tx, [KEY], AT, AT + MINUTE) == []
        assert await notices.claim(tx, [], AT, AT + MINUTE) == []
        [again] = await notices.claim(tx, [KEY], AT + MINUTE, AT + 2 * MINUTE)
    assert (claimed.notice, claimed.attempts, claimed.crashed) == (notice(), 1, False)
    assert (again.attempts, again.crashed) == (2, True)


async def test_several_notifiers_never_both_claim_one(ledger_url: str):
    ledgers = [Ledger.open(ledger_url) for _ in range(4)]
    keys = [f"progress/{n:03d}" for n in range(200)]
    async with ledgers[0].write() as tx:
        await notices.add(tx, [notice(k) for k in keys])

    async def notifier(ledger: Ledger, mine: list[str]) -> list[str]:
        got: list[str] = []
        for start in range(0, len(mine), 16):
            async with ledger.write() as tx:
                got += [c.notice.key for c in await notices.claim(tx, mine[start : start + 16], AT, AT + MINUTE)]
        return got

    orders = [keys, keys[::-1], keys[100:] + keys[:100], keys[50:] + keys[:50]]
    got = await asyncio.gather(*(notifier(ledger, mine) for ledger, mine in zip(ledgers, orders, strict=True)))
    claimed = [key for part in got for key in part]
    assert len(claimed) == len(set(claimed))
    async with ledgers[0].write() as tx:  # what a neighbour's lock hid is still there for the next round
        rest = await notices.claim(tx, keys, AT, AT + MINUTE)
    assert len(claimed) + len(rest) == 200
    for ledger in ledgers:
        await ledger.close()


async def test_how_attempts_end(ledger: Ledger):
    keys = ["a", "b", "c", "d"]
    async with ledger.write() as tx:
        await notices.add(tx, [notice(k) for k in keys])
        await notices.claim(tx, keys, AT, AT + MINUTE)
        await notices.settle(
            tx,
            [
                Settled(key="a", state="sent", at=AT, external_id="x1"),
                Settled(key="b", state="pending", at=AT, next_at=AT + 5 * MINUTE, reason="451 later"),
                Settled(key="c", state="dead", at=AT, reason="550 no"),
                Settled(key="d", state="uncertain", at=AT, reason="cut off"),
            ],
        )
        await notices.settle(tx, [Settled(key="a", state="dead", at=AT)])  # settled is settled
        await notices.settle(tx, [])
    async with ledger.read() as tx:
        shown = {s.notice.key: s for s in await notices.of_complaint(tx, REF)}
        assert {k: s.state for k, s in shown.items()} == {"a": "sent", "b": "pending", "c": "dead", "d": "uncertain"}
        assert (shown["a"].sent_at, shown["a"].external_id, shown["b"].reason) == (AT, "x1", "451 later")
        assert {s.notice.key for s in await notices.failed(tx)} == {"c", "d"}
        assert await notices.states(tx) == {"sent": 1, "pending": 1, "dead": 1, "uncertain": 1}
        assert await notices.unfinished(tx, before=AT + MINUTE) == []
        assert await notices.unfinished(tx, before=AT + 6 * MINUTE) == ["b"]


async def test_a_person_may_have_a_failed_notice_tried_again(ledger: Ledger):
    async with ledger.write() as tx:
        await notices.add(tx, [notice()])
        assert await notices.requeue(tx, KEY, AT) is False
        await notices.claim(tx, [KEY], AT, AT + MINUTE)
        await notices.settle(tx, [Settled(key=KEY, state="dead", at=AT, reason="550")])
        assert await notices.requeue(tx, KEY, AT) is True
        [claimed] = await notices.claim(tx, [KEY], AT, AT + MINUTE)
    assert (claimed.attempts, claimed.crashed) == (1, False)


async def test_a_crashed_attempt_is_found_by_the_sweep(ledger: Ledger):
    async with ledger.write() as tx:
        await notices.add(tx, [notice()])
        await notices.claim(tx, [KEY], AT, AT + MINUTE)
        assert await notices.unfinished(tx, before=AT + MINUTE) == []
        assert await notices.unfinished(tx, before=AT + 2 * MINUTE) == [KEY]
