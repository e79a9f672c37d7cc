"""What goes wrong: other departments' keys, leases that end, callers that hang up, a Redis that comes back empty, races."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime

import httpx
import msgspec
import pytest
from redis.asyncio import Redis

from services.keys import REMEMBERED, KeyRing
from services.process import Desk
from services.router.departments import auth
from services.router.departments.commit import Actions, Outcome, Request
from services.router.departments.leases import Caller, Departments
from shared.complaint import Event, Priority, State
from shared.dialogue import Claiming, ClaimRequest, Progress, Reopen
from shared.errors import LeaseLost, NotAllowed
from shared.ledger import accounts, complaints, notices, outbox, work
from shared.ledger.outbox import Entry, Topic
from shared.lifecycle import after
from shared.queues.contract import Done, Item, Place
from shared.queues.department import DepartmentQueue
from shared.queues.rebuild import Rebuild
from tests.departments.conftest import Filing, make_key, wait_until
from tests.departments.test_api_way import RESOLUTION, claim

OPERATOR = Caller(name="test", client="test")


async def test_each_key_opens_its_own_department_only(http, warehouse, logistics, operator, desk: Desk, file: Filing) -> None:
    reference = await file()
    assert (await http.post("/departments/warehouse/claim", json={}, headers=logistics)).status_code == 404
    assert (await http.get("/departments/warehouse/queue", headers=logistics)).status_code == 404
    assert (await http.get(f"/complaints/{reference}", headers=logistics)).status_code == 404
    assert (await http.get("/complaints", params={"department": "warehouse"}, headers=logistics)).json()["complaints"] == []
    (lease,) = await claim(http, warehouse)
    stolen = await http.post(f"/leases/{reference}/progress", json={"token": lease["token"], "note": "x"}, headers=logistics)
    assert (stolen.status_code, stolen.json()["code"]) == (409, "lease_lost")
    by_operator = await http.post(f"/leases/{reference}/progress", json={"token": lease["token"], "note": "x"}, headers=operator)
    assert by_operator.status_code == 200
    prioritised = await http.post(f"/complaints/{reference}/priority", json={"priority": "low", "reason": "x"}, headers=logistics)
    assert prioritised.status_code == 404


async def test_no_key_an_unknown_key_and_a_key_for_intake_are_refused_as_problems(http, desk: Desk) -> None:
    intake = {"Authorization": f"Bearer {await make_key(desk.ledger, 'intake')}"}
    for headers, status in (({}, 401), ({"Authorization": "Bearer desk_00000000_x"}, 401), (intake, 403)):
        answer = await http.get("/departments/warehouse/queue", headers=headers)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/departments/warehouse/claim", {"n": 0}, "n"),
        ("/departments/warehouse/claim", {"m": 1}, "m"),
        ("/leases/C261121-000001/settle", {"token": "t", "outcome": "dead"}, "reason"),
        ("/leases/C261121-000001/settle", {"token": "t", "outcome": "gone"}, "gone"),
        ("/leases/C261121-000001/ask", {"token": "t"}, "question"),
        ("/leases/C261121-000001/propose", {"token": "t", "options": [{"title": "x", "by": "2026-11-25T18:00:00"}]}, "by"),
        ("/leases/C261121-000001/progress", {"token": "t", "note": " "}, "note"),
    ],
)
async def test_a_wrong_body_is_told_what_is_wrong(http, warehouse, path: str, body: dict, said: str) -> None:
    answer = await http.post(path, json=body, headers=warehouse)
    assert answer.status_code == 400
    assert said in answer.json()["detail"]


async def test_a_lease_that_ran_out_is_lost_and_the_next_worker_gets_the_complaint(http, warehouse, desk: Desk, file: Filing) -> None:
    reference = await file()
    (old,) = await claim(http, warehouse, lease_seconds=1)
    (new,) = await claim(http, warehouse, wait=5)
    assert (new["reference"], new["attempts"]) == (reference, 2)
    late = {"token": old["token"], "outcome": "done", "resolution": RESOLUTION}
    lost = await http.post(f"/leases/{reference}/settle", json=late, headers=warehouse)
    assert (lost.status_code, lost.json()["code"]) == (409, "lease_lost")
    async with desk.ledger.read() as tx:
        assert (await complaints.get(tx, reference)).state is State.INVESTIGATING
        assert await notices.of_complaint(tx, reference) == []


async def test_settling_twice_tells_the_customer_once(http, warehouse, desk: Desk, file: Filing) -> None:
    reference = await file()
    (lease,) = await claim(http, warehouse)
    body = {"token": lease["token"], "outcome": "done", "resolution": RESOLUTION}
    answers = await asyncio.gather(*(http.post(f"/leases/{reference}/settle", json=body, headers=warehouse) for _ in range(4)))
    assert sorted(a.status_code for a in answers) == [200, 409, 409, 409]
    async with desk.ledger.read() as tx:
        assert len(await notices.of_complaint(tx, reference)) == 1


async def test_a_waiting_claim_wakes_when_work_comes(http, warehouse, file: Filing) -> None:
    waiting = asyncio.create_task(claim(http, warehouse, wait=20))
    await asyncio.sleep(0)
    reference = await file()
    async with asyncio.timeout(3):
        (lease,) = await waiting
    assert lease["reference"] == reference


async def test_a_caller_that_hung_up_while_waiting_gets_nothing(address: str, warehouse, redis: Redis, desk: Desk, file: Filing) -> None:
    async def listeners() -> int:
        return (await redis.pubsub_numsub("desk:q:{warehouse}:wake"))[0][1]

    async def one_listens() -> bool:
        return await listeners() == 1

    async def nobody_listens() -> bool:
        return await listeners() == 0

    async with httpx.AsyncClient(base_url=f"{address}/api/v1") as http:
        waiting = asyncio.create_task(http.post("/departments/warehouse/claim", json={"wait": 20}, headers=warehouse))
        await wait_until(one_listens)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
    await wait_until(nobody_listens)
    await file()
    counts = await desk.queues["warehouse"].counts()
    assert (counts.ready, counts.leased) == (1, 0)


async def test_a_process_that_stops_keeps_nobody_waiting(http, warehouse, desk: Desk, redis: Redis) -> None:
    waiting = asyncio.create_task(claim(http, warehouse, wait=30))

    async def one_listens() -> bool:
        return (await redis.pubsub_numsub("desk:q:{warehouse}:wake"))[0][1] == 1

    await wait_until(one_listens)
    desk.stopping.set()
    async with asyncio.timeout(3):
        assert await waiting == []


async def test_after_redis_was_emptied_the_lease_is_lost_and_the_complaint_comes_again(
    http, warehouse, desk: Desk, redis: Redis, file: Filing
) -> None:
    reference = await file()
    (lease,) = await claim(http, warehouse)
    await redis.flushall()
    body = {"token": lease["token"], "outcome": "done", "resolution": RESOLUTION}
    lost = await http.post(f"/leases/{reference}/settle", json=body, headers=warehouse)
    assert (lost.status_code, lost.json()["code"]) == (409, "lease_lost")
    await Rebuild(desk.ledger, redis, desk.received, desk.notices, dict(desk.queues)).now()
    (again,) = await claim(http, warehouse, wait=5)
    done = await http.post(f"/leases/{reference}/settle", json={**body, "token": again["token"]}, headers=warehouse)
    assert (again["reference"], done.status_code) == (reference, 200)
    async with desk.ledger.read() as tx:
        assert [e.kind for e in await complaints.history(tx, reference)] == ["received", "decided", "claimed", "resolved"]


async def test_withdrawn_while_leased_the_lease_is_lost(http, warehouse, desk: Desk, file: Filing) -> None:
    reference = await file()
    (lease,) = await claim(http, warehouse)
    await http.post(f"/complaints/{reference}/withdraw", json={"reason": "客户撤回"}, headers=warehouse)

    async def gone() -> bool:
        return bool(await desk.queues["warehouse"].lost([(reference, lease["token"].split(":")[1])]))

    await wait_until(gone)
    lost = await http.post(f"/leases/{reference}/progress", json={"token": lease["token"], "note": "x"}, headers=warehouse)
    assert (lost.status_code, lost.json()["code"]) == (409, "lease_lost")


async def test_items_that_are_no_work_any_more_are_never_handed_out(http, warehouse, desk: Desk, file: Filing) -> None:
    closed, moved, real = await file(due_in=1), await file(due_in=2), await file(due_in=3)
    await desk.queues["warehouse"].put([Item(reference="C261121-ZZZZZZ", priority=Priority.URGENT, due_at=1.0)])
    await http.post(f"/complaints/{closed}/withdraw", json={"reason": "x"}, headers=warehouse)
    async with desk.ledger.write() as tx:
        await complaints.save(tx, [(2, msgspec.structs.replace(await complaints.get(tx, moved), department="logistics", version=3))])
    answer = (await http.post("/departments/warehouse/claim", json={"n": 4}, headers=warehouse)).json()
    assert [one["reference"] for one in answer["leases"]] == [real]
    assert answer["withdrawn"] in (2, 3)  # the relay may have been faster with the closed one
    counts = await desk.queues["warehouse"].counts()
    assert (counts.ready, counts.leased, counts.dead) == (0, 1, 0)


async def test_leases_that_run_out_too_often_become_dead_letters_in_the_ledger(http, warehouse, desk: Desk, redis, file: Filing) -> None:
    reference = await file()
    impatient = DepartmentQueue(redis, "warehouse", max_lapses=1)
    assert await impatient.claim(1, 0.001, "crashing")

    async def died() -> bool:
        await impatient.reap()
        return (await impatient.counts()).dead == 1

    await wait_until(died)
    (shown,) = (await http.get("/departments/warehouse/dead", headers=warehouse)).json()["complaints"]
    assert shown["reference"] == reference
    assert "expired" in shown["reason"]
    async with desk.ledger.read() as tx:
        assert (await work.standing(tx, [reference]))[reference].work == "dead"
    await http.post(f"/departments/warehouse/dead/{reference}/requeue", headers=warehouse)
    assert [one["reference"] for one in await claim(http, warehouse, wait=5)] == [reference]


async def test_a_dead_letter_whose_customer_wrote_again_comes_alive(http, warehouse, desk: Desk, file: Filing) -> None:
    reference = await file()
    (lease,) = await claim(http, warehouse)
    dead = {"token": lease["token"], "outcome": "dead", "reason": "缺少订单号"}
    await http.post(f"/leases/{reference}/settle", json=dead, headers=warehouse)
    entry = Entry(f"assigned/{reference}/9", Topic.ASSIGNED, reference)
    now = datetime.now(UTC)
    async with desk.ledger.write() as tx:  # what intake does with a follow-up
        c = await complaints.get(tx, reference)
        changed = msgspec.structs.replace(c, version=c.version + 1, state=after(c.state, "followed_up"), updated_at=now)
        await complaints.save(tx, [(c.version, changed)], work={reference: {"work": "open"}})
        await complaints.add_events(tx, [Event(reference, changed.version, now, "followed_up", "customer")])
        await outbox.add(tx, [entry], now)
    desk.relay.forward([entry])
    departments = Departments(desk)
    assert await departments.sweep_all_dead() == 0
    assert [one["reference"] for one in await claim(http, warehouse, wait=5)] == [reference]


async def test_when_the_ledger_cannot_take_a_claim_the_item_goes_back(desk: Desk, file: Filing) -> None:
    await file()
    departments = Departments(desk)
    broken = type(desk.ledger).open("postgresql+asyncpg://nobody@127.0.0.1:1/none")
    departments.actions = Actions(broken, desk.policy, desk.queues, desk.relay.forward)
    with pytest.raises(Exception, match="ledger"):
        await departments.claim("warehouse", ClaimRequest(), OPERATOR)
    await broken.close()
    counts = await desk.queues["warehouse"].counts()
    assert (counts.ready, counts.leased) == (1, 0)
    assert len((await Departments(desk).claim("warehouse", ClaimRequest(), OPERATOR)).leases) == 1


async def test_two_processes_never_take_the_same_step(desk: Desk, file: Filing) -> None:
    reference = await file()
    forwarded: list[Entry] = []
    both = [Actions(desk.ledger, desk.policy, desk.queues, forwarded.extend) for _ in range(2)]
    claims = [Request(reference=reference, action=Claiming(department="warehouse"), actor="x") for _ in both]
    await asyncio.gather(*(a.one(r) for a, r in zip(both, claims, strict=True)))
    notes = [Request(reference=reference, action=Progress(note=f"第{n}条", tell_customer=True), actor="x") for n in range(20)]
    answers = await asyncio.gather(*(both[n % 2].one(r) for n, r in enumerate(notes)))
    assert sorted(a.acted.version for a in answers) == list(range(4, 24))
    async with desk.ledger.read() as tx:
        history = await complaints.history(tx, reference)
        assert len(await notices.of_complaint(tx, reference)) == 20
    assert [e.seq for e in history] == list(range(1, 24))
    assert len([e for e in history if e.kind == "claimed"]) == 1


async def test_one_refused_action_does_not_touch_the_others(desk: Desk, file: Filing) -> None:
    references = [await file() for _ in range(3)]
    actions = Actions(desk.ledger, desk.policy, desk.queues, lambda _: None)
    requests = [Request(reference=r, action=Progress(note="x"), actor="x") for r in references]
    requests[1] = Request(reference=references[1], action=Reopen(reason="x"), actor="x")
    answers = await actions.many([*requests, Request(reference="C261121-NOBODY", action=Progress(note="x"), actor="x")])
    assert [type(a) is Outcome for a in answers] == [True, False, True, False]
    assert "assigned" in str(answers[1])


async def test_a_lease_is_of_its_department_even_for_the_operator(desk: Desk, file: Filing) -> None:
    reference = await file()
    departments = Departments(desk)
    (lease,) = (await departments.claim("warehouse", ClaimRequest(), OPERATOR)).leases
    for token in ("", "warehouse", "warehouse:", lease.token.replace("warehouse", "logistics"), "nowhere:00"):
        with pytest.raises(LeaseLost):
            await departments.act(reference, token, Progress(note="x"), OPERATOR, ends=Done())
    assert len(await desk.queues["warehouse"].entries(Place.LEASED)) == 1


async def test_a_revoked_key_stops_working_when_it_is_forgotten(desk: Desk) -> None:
    now = [0.0]
    keys = KeyRing(desk.ledger, lambda: now[0])
    key = await make_key(desk.ledger, "department", "warehouse")
    caller = await auth.of_key(keys, key)
    assert (await auth.of_session(keys, caller.client)).department == "warehouse"
    async with desk.ledger.write() as tx:
        await accounts.revoke(tx, caller.client, datetime.now(UTC))
    now[0] = REMEMBERED + 1
    with pytest.raises(NotAllowed):
        await auth.of_key(keys, key)
    with pytest.raises(NotAllowed):
        await auth.of_session(keys, caller.client)
