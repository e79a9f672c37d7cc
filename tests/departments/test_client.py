"""The Python client does a department's day, says refusals in the desk's own errors, and repeats only what is safe."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from services.process import Desk
from shared.client import DeskClient
from shared.complaint import Priority, State
from shared.dialogue import Resolve, SettleOne
from shared.errors import LeaseLost, NotAllowed, RuleViolation, TemporaryFailure, UnknownReference
from shared.ledger import complaints, notices
from shared.notice_details import MissingFact, Option
from tests.departments.conftest import Filing, make_key, wait_until


@pytest.fixture
async def client(address: str, desk: Desk) -> AsyncIterator[DeskClient]:
    key = await make_key(desk.ledger, "department", "warehouse")
    async with DeskClient(address, key, "warehouse", worker="li.na") as made:
        yield made


async def test_a_day(client: DeskClient, file: Filing) -> None:
    first, second, third = await file(due_in=1), await file(due_in=2), await file(due_in=3)
    one, two, three = await client.claim(3, lease_seconds=30)
    assert [one.reference, two.reference, three.reference] == [first, second, third]
    assert one.complaint.said[0].text.startswith("收到的包裹")
    assert await one.extend(600) > datetime.now(UTC) + timedelta(seconds=500)
    await one.progress("正在核对", tell_customer=True)
    await one.propose([Option(title="补发", by=datetime.now(UTC) + timedelta(days=2))], cause="漏放")
    await one.answer(True)
    assert (await one.done("漏放一件。", "已补发。", "双人复核。")).state is State.RESOLVED
    await two.ask("外箱有破损吗？", [MissingFact.EVIDENCE])
    assert (await two.done()).state is State.AWAITING_CUSTOMER
    await three.dead("订单号不存在")
    assert [c.reason for c in (await client.dead_letters()).complaints] == ["订单号不存在"]
    await client.requeue(third, "已补全")
    await client.prioritise(third, Priority.URGENT, "12315")
    (again,) = await client.claim(wait=5)
    await again.transfer("logistics", "途中丢失")
    story_of_first = await client.story(first)
    assert [line.kind for line in story_of_first.history][-1] == "resolved"
    assert story_of_first.history[2].actor == "warehouse/li.na"
    with pytest.raises(UnknownReference):
        await client.story(third)
    await client.reopen(first, "客户不满意")
    assert (await client.withdraw(second, "客户撤回")).state is State.CLOSED

    async def only_the_reopened_one_waits() -> bool:
        queue = await client.queue()
        return (queue.ready, queue.leased, queue.dead) == (1, 0, 0)

    await wait_until(only_the_reopened_one_waits)  # the relay carries it there


async def test_refusals_are_the_desks_own_errors(client: DeskClient, address: str, file: Filing) -> None:
    await file()
    (work,) = await client.claim()
    with pytest.raises(RuleViolation, match="resolution") as refused:
        await work.done()
    assert refused.value.code == "unanswered"
    await work.retry(3600)
    with pytest.raises(LeaseLost):
        await work.progress("x")
    async with DeskClient(address, "desk_00000000_wrong", "warehouse") as stranger:
        with pytest.raises(NotAllowed):
            await stranger.claim()


async def test_many_are_settled_at_once(client: DeskClient, file: Filing) -> None:
    for _ in range(3):
        await file()
    words = Resolve(cause="漏放", measure="补发")
    ends = [SettleOne(reference=w.reference, token=w.lease.token, outcome="done", resolution=words) for w in await client.claim(3)]
    answer = await client.settle_many(ends)
    assert len(answer.settled) == 3
    assert len((await client.settle_many(ends)).refused) == 3


async def test_incoming_gives_each_complaint_as_it_comes(client: DeskClient, file: Filing) -> None:
    async def next_two() -> list[str]:
        seen: list[str] = []
        async for work in client.incoming():
            seen.append(work.reference)
            await work.retry(60)
            if len(seen) == 2:
                break
        return seen

    running = asyncio.create_task(next_two())
    references = [await file(), await file()]
    async with asyncio.timeout(5):
        assert await running == references


class LosesFirstAnswer(httpx.AsyncHTTPTransport):
    """Carries the first settlement to the desk and loses the answer on the way back."""

    def __init__(self) -> None:
        super().__init__()
        self.lost = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        if request.url.path.endswith("/settle") and not self.lost:
            self.lost += 1
            await response.aread()
            raise httpx.ReadError("cut")
        return response


async def test_a_lost_answer_is_asked_for_again_and_the_customer_is_told_once(address: str, desk: Desk, file: Filing) -> None:
    reference = await file()
    transport = LosesFirstAnswer()
    key = await make_key(desk.ledger, "department", "warehouse")
    async with DeskClient(address, key, "warehouse", transport=transport) as client:
        (work,) = await client.claim()
        answer = await work.done("漏放一件。", "已补发。")
    assert (transport.lost, answer.repeated, answer.state) == (1, True, State.RESOLVED)
    async with desk.ledger.read() as tx:
        assert len(await notices.of_complaint(tx, reference)) == 1
        assert [e.kind for e in await complaints.history(tx, reference)].count("resolved") == 1


async def test_a_desk_that_is_away_is_a_temporary_failure() -> None:
    async with DeskClient("http://127.0.0.1:9", "desk_0_0", "warehouse") as client:
        with pytest.raises(TemporaryFailure, match="not answering"):
            await client.claim()
