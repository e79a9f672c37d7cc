"""A department's day over HTTP: claim, tell, ask, propose, transfer, resolve, settle."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import msgspec

from services.process import Desk
from shared.complaint import Attachment, Channel, Identity, Priority, State
from shared.ledger import complaints, customers, deadlines, notices, work
from tests.departments.conftest import Filing, wait_until

RESOLUTION = {"cause": "拣货时漏放一件。", "measure": "已补发，顺丰 SF123。", "improvement": "改为双人复核。"}


async def claim(http: httpx.AsyncClient, key: dict[str, str], department: str = "warehouse", **wanted: object) -> list[dict]:
    answer = await http.post(f"/departments/{department}/claim", json=wanted, headers=key)
    assert answer.status_code == 200, answer.text
    return answer.json()["leases"]


async def test_the_most_pressing_comes_first_with_what_the_customer_said(http, warehouse, file: Filing) -> None:
    later = await file(due_in=10)
    sooner = await file(due_in=5)
    urgent = await file(priority=Priority.URGENT, due_in=20)
    leases = await claim(http, warehouse, n=3, worker="li.na")
    assert [one["reference"] for one in leases] == [urgent, sooner, later]
    shown = leases[0]["complaint"]
    assert shown["said"][0]["text"] == "收到的包裹里少了一副耳机，请补发。"
    assert shown["customer"] == "王芳"
    assert shown["contacts"] == [{"kind": "email", "value": "wang3@example.com"}]
    assert shown["state"] == "investigating"


async def test_done_with_a_resolution_resolves_and_tells_the_customer(http, warehouse, desk: Desk, file: Filing) -> None:
    reference = await file()
    (lease,) = await claim(http, warehouse)
    answer = await http.post(
        f"/leases/{reference}/settle", json={"token": lease["token"], "outcome": "done", "resolution": RESOLUTION}, headers=warehouse
    )
    assert answer.json()["state"] == "resolved"
    async with desk.ledger.read() as tx:
        complaint = await complaints.get(tx, reference)
        told = await notices.of_complaint(tx, reference)
        due = await deadlines.of_complaint(tx, reference)
        history = await complaints.history(tx, reference)
    assert complaint.state is State.RESOLVED
    assert [n.notice.kind for n in told] == ["result"]
    assert told[0].notice.detail["cause"] == RESOLUTION["cause"]
    assert told[0].notice.recipient == "wang1@example.com"
    assert told[0].notice.thread is not None
    assert all(d.met_at for d in due)
    assert [e.kind for e in history] == ["received", "decided", "claimed", "resolved"]
    counts = await desk.queues["warehouse"].counts()
    assert counts.ready + counts.leased + counts.delayed + counts.dead == 0


async def test_done_without_a_word_to_the_customer_is_refused_and_says_what_to_do(http, warehouse, file: Filing) -> None:
    reference = await file()
    (lease,) = await claim(http, warehouse)
    answer = await http.post(f"/leases/{reference}/settle", json={"token": lease["token"], "outcome": "done"}, headers=warehouse)
    assert answer.status_code == 409
    assert answer.json()["code"] == "unanswered"
    assert "resolution" in answer.json()["detail"]
    again = await http.post(
        f"/leases/{reference}/settle", json={"token": lease["token"], "outcome": "done", "resolution": RESOLUTION}, headers=warehouse
    )
    assert again.status_code == 200


async def test_asking_pauses_the_clocks_and_the_work_can_be_done(http, warehouse, desk: Desk, file: Filing) -> None:
    reference = await file(due_in=3)
    (lease,) = await claim(http, warehouse)
    answer_by = datetime.now(UTC) + timedelta(hours=24)
    answer = await http.post(
        f"/leases/{reference}/ask",
        json={"token": lease["token"], "question": "外箱有破损吗？", "fields": ["evidence"], "answer_by": answer_by.isoformat()},
        headers=warehouse,
    )
    assert answer.json()["state"] == "awaiting_customer"
    settled = await http.post(f"/leases/{reference}/settle", json={"token": lease["token"], "outcome": "done"}, headers=warehouse)
    assert (settled.status_code, settled.json()["work"]) == (200, "done")
    async with desk.ledger.read() as tx:
        (told,) = await notices.of_complaint(tx, reference)
        due = {d.clock: d for d in await deadlines.of_complaint(tx, reference)}
    assert told.notice.kind == "info_request"
    assert told.notice.detail["missing"] == ["evidence"]
    assert due["department_answer"].due_by > datetime.now(UTC) + timedelta(hours=26)
    assert "顺延" in due["department_answer"].why


async def test_a_progress_note_may_stay_inside_or_reach_the_customer(http, warehouse, desk: Desk, file: Filing) -> None:
    reference = await file()
    (lease,) = await claim(http, warehouse)
    inside = await http.post(f"/leases/{reference}/progress", json={"token": lease["token"], "note": "录像在调取"}, headers=warehouse)
    told = await http.post(
        f"/leases/{reference}/progress", json={"token": lease["token"], "note": "正在核对录像", "tell_customer": True}, headers=warehouse
    )
    assert inside.json()["notice"] == ""
    assert told.json()["notice"] == f"progress/{reference}/{told.json()['version']}"
    async with desk.ledger.read() as tx:
        due = {d.clock: d for d in await deadlines.of_complaint(tx, reference)}
    assert due["department_answer"].met_at
    assert due["customer_reply"].met_at
    assert due["follow_up"].met_at is None
    assert due["follow_up"].due_by > datetime.now(UTC) + timedelta(hours=47)


async def test_a_proposal_is_accepted_and_carried_out(http, warehouse, file: Filing) -> None:
    reference = await file()
    (lease,) = await claim(http, warehouse)
    by = (datetime.now(UTC) + timedelta(days=2)).isoformat()
    token = {"token": lease["token"]}
    proposed = await http.post(
        f"/leases/{reference}/propose",
        json={**token, "options": [{"title": "补发", "by": by}, {"title": "退款", "by": by}]},
        headers=warehouse,
    )
    assert proposed.json()["state"] == "solution_proposed"
    accepted = await http.post(f"/leases/{reference}/answer", json={**token, "accepted": True}, headers=warehouse)
    assert accepted.json()["state"] == "investigating"
    resolved = await http.post(f"/leases/{reference}/resolve", json={**token, **RESOLUTION}, headers=warehouse)
    assert resolved.json()["state"] == "resolved"
    assert (await http.post(f"/leases/{reference}/extend", json=token, headers=warehouse)).status_code == 409


async def test_a_transfer_moves_the_work(http, warehouse, logistics, desk: Desk, file: Filing) -> None:
    reference = await file()
    (lease,) = await claim(http, warehouse)
    answer = await http.post(
        f"/leases/{reference}/transfer",
        json={"token": lease["token"], "department": "logistics", "reason": "途中丢失", "category": "logistics_lost"},
        headers=warehouse,
    )
    assert (answer.status_code, answer.json()["state"]) == (200, "assigned")
    (moved,) = await claim(http, logistics, "logistics", wait=5)
    assert (moved["reference"], moved["complaint"]["category"]) == (reference, "logistics_lost")
    lost = await http.post(f"/leases/{reference}/progress", json={"token": lease["token"], "note": "x"}, headers=warehouse)
    assert lost.json()["code"] == "lease_lost"
    assert (await http.get(f"/complaints/{reference}", headers=warehouse)).status_code == 404
    story = (await http.get(f"/complaints/{reference}", headers=logistics)).json()
    (event,) = [e for e in story["history"] if e["kind"] == "transferred"]
    assert (event["detail"]["from"], event["detail"]["to"]) == ("warehouse", "logistics")


async def test_a_complaint_nobody_can_do_is_a_dead_letter_until_it_is_requeued(http, warehouse, desk: Desk, file: Filing) -> None:
    reference = await file()
    (lease,) = await claim(http, warehouse)
    dead = await http.post(
        f"/leases/{reference}/settle", json={"token": lease["token"], "outcome": "dead", "reason": "订单号不存在"}, headers=warehouse
    )
    assert dead.json()["work"] == "dead"
    (shown,) = (await http.get("/departments/warehouse/dead", headers=warehouse)).json()["complaints"]
    assert (shown["reference"], shown["reason"]) == (reference, "订单号不存在")
    assert (await http.get("/departments/warehouse/queue", headers=warehouse)).json()["dead"] == 1
    requeued = await http.post(f"/departments/warehouse/dead/{reference}/requeue", json={"reason": "已补全"}, headers=warehouse)
    assert requeued.json()["work"] == "open"
    (again,) = await claim(http, warehouse, wait=5)
    assert again["reference"] == reference
    twice = await http.post(f"/departments/warehouse/dead/{reference}/requeue", headers=warehouse)
    assert twice.status_code == 409


async def test_a_retry_waits_and_comes_back(http, warehouse, desk: Desk, file: Filing) -> None:
    reference = await file()
    (lease,) = await claim(http, warehouse)
    answer = await http.post(
        f"/leases/{reference}/settle", json={"token": lease["token"], "outcome": "retry", "delay": 3600}, headers=warehouse
    )
    assert answer.json()["work"] == "open"
    assert await claim(http, warehouse) == []
    view = (await http.get("/departments/warehouse/queue", headers=warehouse)).json()
    assert (view["delayed"], view["waiting"][0]["place"]) == (1, "delayed")


async def test_staff_reprioritise_withdraw_and_reopen(http, warehouse, desk: Desk, file: Filing) -> None:
    first, second, third = await file(), await file(), await file()
    answer = await http.post(f"/complaints/{third}/priority", json={"priority": "urgent", "reason": "12315"}, headers=warehouse)
    assert answer.status_code == 200

    async def reordered() -> bool:
        return (await desk.queues["warehouse"].entries())[0].reference == third

    await wait_until(reordered)
    assert (await http.post(f"/complaints/{first}/withdraw", json={"reason": "客户撤回"}, headers=warehouse)).json()["state"] == "closed"

    async def gone() -> bool:
        return (await desk.queues["warehouse"].counts()).ready == 2

    await wait_until(gone)
    leases = {one["reference"]: one for one in await claim(http, warehouse, n=5)}
    assert list(leases) == [third, second]
    done = {"token": leases[second]["token"], "outcome": "done", "resolution": RESOLUTION}
    await http.post(f"/leases/{second}/settle", json=done, headers=warehouse)
    reopened = await http.post(f"/complaints/{second}/reopen", json={"reason": "客户不满意"}, headers=warehouse)
    assert (reopened.json()["state"], reopened.json()["work"]) == ("assigned", "open")
    (again,) = await claim(http, warehouse, wait=5)
    assert again["reference"] == second
    async with desk.ledger.read() as tx:
        standing = (await work.standing(tx, [second]))[second]
    assert standing.complaint.resolution == ""


async def test_many_are_settled_in_one_request(http, warehouse, file: Filing) -> None:
    references = [await file() for _ in range(5)]
    leases = await claim(http, warehouse, n=5)
    settlements = [{"reference": one["reference"], "token": one["token"], "outcome": "done", "resolution": RESOLUTION} for one in leases]
    settlements[1] = {"reference": leases[1]["reference"], "token": leases[1]["token"], "outcome": "retry", "delay": 60}
    settlements[2]["token"] = "warehouse:0000000000000000"
    settlements[3] = {"reference": leases[3]["reference"], "token": leases[3]["token"], "outcome": "done"}
    answer = (await http.post("/departments/warehouse/settle", json={"settlements": settlements}, headers=warehouse)).json()
    assert sorted(one["reference"] for one in answer["settled"]) == sorted([references[0], references[1], references[4]])
    assert {one["reference"]: one["code"] for one in answer["refused"]} == {references[2]: "lease_lost", references[3]: "unanswered"}


async def test_the_whole_story_and_the_list(http, warehouse, operator, file: Filing) -> None:
    references = [await file() for _ in range(3)]
    await file("logistics")
    page = (await http.get("/complaints", params={"limit": 2}, headers=warehouse)).json()
    rest = (await http.get("/complaints", params={"limit": 2, "after": page["next"]}, headers=warehouse)).json()
    found = [c["reference"] for c in page["complaints"] + rest["complaints"]]
    assert found == sorted(references, reverse=True)
    assert rest["next"] == ""
    assert len((await http.get("/complaints", headers=operator)).json()["complaints"]) == 4
    by_mail = await http.get("/complaints", params={"customer": "wang1@example.com", "state": "assigned"}, headers=operator)
    assert [c["reference"] for c in by_mail.json()["complaints"]] == [references[0]]
    story = (await http.get(f"/complaints/{references[0]}", headers=warehouse)).json()
    assert [line["kind"] for line in story["history"]] == ["received", "decided"]
    assert {clock["clock"] for clock in story["deadlines"]} >= {"department_answer", "resolution"}


async def test_a_customer_nobody_can_reach_is_said_to_be_untold(http, warehouse, desk: Desk, file: Filing) -> None:
    reference = await file(identities=())
    (lease,) = await claim(http, warehouse)
    answer = await http.post(f"/leases/{reference}/resolve", json={"token": lease["token"], **RESOLUTION}, headers=warehouse)
    assert (answer.json()["state"], answer.json()["notice"]) == ("resolved", "")
    async with desk.ledger.read() as tx:
        last = (await complaints.history(tx, reference))[-1]
    assert "untold" in last.detail


async def test_a_file_comes_as_a_download_and_only_from_its_complaint(http, warehouse, desk: Desk, file: Filing) -> None:
    page, picture = b"<script>alert(1)</script>", b"\x89PNG\r\n"
    kept = {name: await desk.blobs.put(data) for name, data in (("page", page), ("picture", picture))}
    reference = await file(
        attachments=(Attachment("a.html", "text/html", 25, kept["page"]), Attachment("b.png", "image/png", 6, kept["picture"]))
    )
    other = await file()
    answer = await http.get(f"/complaints/{reference}/files/{kept['page']}", headers=warehouse)
    assert (answer.content, answer.headers["content-type"]) == (page, "application/octet-stream")
    assert answer.headers["content-disposition"] == "attachment"
    answer = await http.get(f"/complaints/{reference}/files/{kept['picture']}", headers=warehouse)
    assert (answer.headers["content-type"], answer.headers["x-content-type-options"]) == ("image/png", "nosniff")
    for wrong in (f"/complaints/{other}/files/{kept['page']}", f"/complaints/{reference}/files/{'0' * 64}"):
        assert (await http.get(wrong, headers=warehouse)).status_code == 404


async def test_the_description_has_an_example_for_every_body_and_says_what_may_go_wrong(address: str) -> None:
    async with httpx.AsyncClient() as plain:
        described = (await plain.get(f"{address}/schema/openapi.json")).json()
    operations = [(path, method, op) for path, item in described["paths"].items() if "/api/" in path for method, op in item.items()]
    assert len(operations) >= 18
    for path, method, operation in operations:
        assert operation["summary"], path
        assert operation["security"] == [{"api_key": []}], path
        assert {"401", "403", "404", "409", "503"} <= set(operation["responses"]), path
        if method == "post":
            body = operation["requestBody"]["content"]["application/json"]
            assert body.get("examples") or body["schema"].get("examples"), path


async def test_an_address_whose_mail_came_back_is_not_written_to(http, warehouse, desk: Desk, file: Filing) -> None:
    there, back = Identity("phone", "+8613800138000", True), Identity("email", "gone@example.com", True)
    form = await file(identities=(back, there), channel=Channel.WEB_FORM)
    mail = await file(identities=(Identity("email", "also-gone@example.com", True),))
    async with desk.ledger.write() as tx:
        for value in ("gone@example.com", "also-gone@example.com"):
            await customers.mark_unusable(tx, "email", value, datetime.now(UTC) + timedelta(days=7), "550")
    leases = {one["reference"]: one for one in await claim(http, warehouse, n=2)}
    for reference in (form, mail):
        await http.post(f"/leases/{reference}/resolve", json={"token": leases[reference]["token"], **RESOLUTION}, headers=warehouse)
    async with desk.ledger.read() as tx:
        (told,) = await notices.of_complaint(tx, form)
        assert (told.notice.source, told.notice.recipient) == ("phone", "+8613800138000")
        assert await notices.of_complaint(tx, mail) == []


async def test_the_same_action_sent_twice_under_one_key_is_taken_once(http, warehouse, desk: Desk, file: Filing) -> None:
    reference = await file()
    (lease,) = await claim(http, warehouse)
    body = {"token": lease["token"], "outcome": "done", "resolution": RESOLUTION}
    keyed = {**warehouse, "Idempotency-Key": '"settle-1"'}
    first = await http.post(f"/leases/{reference}/settle", json=body, headers=keyed)
    second = await http.post(f"/leases/{reference}/settle", json=body, headers=keyed)
    other = await http.post(f"/leases/{reference}/settle", json={**body, "outcome": "retry"} | {"resolution": None}, headers=keyed)
    assert (first.status_code, second.status_code) == (200, 200)
    assert second.json() == {**first.json(), "notice": "", "repeated": True}
    assert other.status_code == 409
    async with desk.ledger.read() as tx:
        assert len(await notices.of_complaint(tx, reference)) == 1


def test_shapes_decode_what_they_encode() -> None:
    from shared.dialogue import Settle

    with_dead = msgspec.json.decode(b'{"token":"t","outcome":"dead","reason":"x"}', type=Settle)
    assert msgspec.json.decode(msgspec.json.encode(with_dead), type=Settle) == with_dead
