"""The phone log, the platforms' webhooks, the public progress and the quarantine, over HTTP."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import msgspec
import pytest

from shared.ledger import complaints, submissions
from shared.references import tracking_token
from tests.intake.serving import SECRET, TELEGRAM, Intake

CALL = {"caller": "13900139000", "verbatim": "快递显示签收，但没有收到", "call_id": "20261121-1", "agent": "8001"}
SAID_BY_TELEGRAM = {"X-Telegram-Bot-Api-Secret-Token": TELEGRAM["secret_token"]}


def telegram(update: int, text: str) -> dict[str, object]:
    chat = {"id": 77, "type": "private", "first_name": "Li"}
    message = {"message_id": update, "date": 1795230000, "chat": chat, "from": {**chat, "is_bot": False}, "text": text}
    return {"update_id": update, "message": message}


async def test_an_agent_logs_a_call_and_reads_the_reference_out(intake_on_both: Intake) -> None:
    intake = intake_on_both
    answer = await intake.http.post("/api/v1/phone", json=CALL, headers=await intake.key("intake"))
    assert answer.status_code == 202, answer.text
    async with intake.desk.ledger.read() as tx:
        (stored,) = await submissions.of_complaint(tx, answer.json()["reference"])
    assert stored.submission.account == "intake line"
    assert stored.submission.text == CALL["verbatim"]


async def test_a_list_of_calls_gets_a_list_of_answers(intake: Intake) -> None:
    calls = [CALL, {**CALL, "call_id": "20261121-2", "caller": "13900139001"}]
    answer = await intake.http.post("/api/v1/phone", json=calls, headers=await intake.key("operator"))
    assert [a["outcome"] for a in answer.json()] == ["accepted", "accepted"]
    assert len({a["reference"] for a in answer.json()}) == 2


@pytest.mark.parametrize(("scope", "status", "code"), [("", 401, "not_authorised"), ("department", 403, "not_allowed")])
async def test_the_phone_log_wants_a_key_of_the_right_scope(intake: Intake, scope: str, status: int, code: str) -> None:
    answer = await intake.http.post("/api/v1/phone", json=CALL, headers=await intake.key(scope) if scope else {})
    assert answer.status_code == status
    assert answer.json()["code"] == code
    assert answer.json()["detail"]


async def test_a_wrong_key_is_refused(intake: Intake) -> None:
    answer = await intake.http.post("/api/v1/phone", json=CALL, headers={"Authorization": "Bearer desk_00000000_wrong"})
    assert answer.status_code == 401


async def test_a_platform_delivers_and_repeats_without_harm(intake: Intake) -> None:
    for _ in range(2):
        answer = await intake.http.post("/channels/telegram/shop_bot", json=telegram(1, "退款一直没到账"), headers=SAID_BY_TELEGRAM)
        assert answer.status_code == 200, answer.text
    async with intake.desk.ledger.read() as tx:
        assert await complaints.count(tx) == 1


async def test_a_forged_delivery_is_refused_and_nothing_stored(intake: Intake) -> None:
    for headers in ({}, {"X-Telegram-Bot-Api-Secret-Token": "guess"}):
        answer = await intake.http.post("/channels/telegram/shop_bot", json=telegram(1, "x"), headers=headers)
        assert answer.status_code == 401
        assert answer.json()["code"] == "untrusted"
    async with intake.desk.ledger.read() as tx:
        assert await complaints.count(tx) == 0


async def test_what_a_platform_vouches_for_but_nobody_can_read_is_kept_for_people(intake: Intake) -> None:
    answer = await intake.http.post("/channels/telegram/shop_bot", content=b'{"update_id": "one"', headers=SAID_BY_TELEGRAM)
    assert answer.status_code == 200
    held = (await intake.http.get("/api/v1/quarantine", headers=await intake.key("operator"))).json()
    assert [(h["adapter"], h["account"], h["code"]) for h in held] == [("telegram", "shop_bot", "unreadable")]


async def test_an_account_that_is_not_set_up_says_how(intake: Intake) -> None:
    answer = await intake.http.post("/channels/telegram/other_bot", json=telegram(1, "x"), headers=SAID_BY_TELEGRAM)
    assert answer.status_code == 401
    assert "DESK_ACCOUNTS" in answer.json()["detail"]


@pytest.mark.parametrize("name", ["email", "web_form", "phone", "nonsense"])
async def test_only_channels_with_secrets_have_an_address(intake: Intake, name: str) -> None:
    answer = await intake.http.post(f"/channels/{name}/x", content=b"{}")
    assert answer.status_code == 404
    assert answer.json()["code"] == "unknown_channel"
    assert "telegram" in answer.json()["detail"]


async def test_the_handshake_is_answered_when_signed_and_refused_when_not(intake: Intake) -> None:
    stamp = str(int(datetime.now(UTC).timestamp()))
    signature = hashlib.sha1("".join(sorted(["wx", stamp, "n"])).encode()).hexdigest()
    query = {"signature": signature, "timestamp": stamp, "nonce": "n", "echostr": "7788"}
    answer = await intake.http.get("/channels/wechat/gh_shop", params=query)
    assert (answer.status_code, answer.text) == (200, "7788")
    assert (await intake.http.get("/channels/wechat/gh_shop", params={**query, "nonce": "m"})).status_code == 401


async def test_progress_shows_stages_and_promise_and_nothing_personal(intake_on_both: Intake) -> None:
    intake = intake_on_both
    form = {"text": "壶坏了，我叫王芳", "phone": "13800138000", "name": "王芳", "order_number": "DD1"}
    told = (await intake.http.post("/api/v1/complaints", json=form)).json()
    reference, token = told["tracking_url"].split("/")[-2:]
    answer = await intake.http.get(f"/api/v1/complaints/{reference}", params={"token": token})
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    seen = answer.json()
    assert seen["state"] == "received"
    assert [s["name"] for s in seen["stages"] if s["reached"]] == ["received"]
    assert datetime.fromisoformat(seen["promised_by"]) > datetime.now(UTC)
    for personal in ("王芳", "13800138000", "DD1", "壶"):
        assert personal not in answer.text


@pytest.mark.parametrize("token", ["", "0" * 32, "é"])
async def test_a_wrong_token_is_the_same_as_an_unknown_reference(intake: Intake, token: str) -> None:
    told = (await intake.http.post("/api/v1/complaints", json={"text": "坏了", "phone": "13800138000"})).json()
    wrong = await intake.http.get(f"/api/v1/complaints/{told['reference']}", params={"token": token})
    known_key = tracking_token("C261121-7K3QXP", SECRET.encode())
    unknown = await intake.http.get("/api/v1/complaints/C261121-7K3QXP", params={"token": known_key})
    assert wrong.status_code == unknown.status_code == 404
    assert wrong.json() == unknown.json()


async def held_of(intake: Intake, operator: dict[str, str]) -> str:
    (held,) = (await intake.http.get("/api/v1/quarantine", headers=operator)).json()
    return str(held["id"])


async def test_quarantine_gives_the_bytes_as_a_download_only(intake: Intake) -> None:
    operator = await intake.key("operator")
    body = msgspec.json.encode({"text": "<script>alert(1)</script>", "phone": "13800138000", "website": "x"})
    await intake.http.post("/api/v1/complaints", content=body, headers={"content-type": "application/json"})
    answer = await intake.http.get(f"/api/v1/quarantine/{await held_of(intake, operator)}/raw", headers=operator)
    assert answer.content == body
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_what_people_replay_becomes_a_complaint_and_leaves_the_list(intake_on_both: Intake) -> None:
    intake = intake_on_both
    operator = await intake.key("operator")
    await intake.http.post("/api/v1/complaints", json={"text": "真的坏了", "phone": "13800138000", "website": "自动填的"})
    held = await held_of(intake, operator)
    answer = await intake.http.post(f"/api/v1/quarantine/{held}/replay", headers=operator)
    assert answer.status_code == 200, answer.text
    assert answer.json()["state"] == "replayed"
    async with intake.desk.ledger.read() as tx:
        assert (await complaints.get(tx, answer.json()["receipts"][0]["reference"])).channel == "web_form"
    assert (await intake.http.get("/api/v1/quarantine", headers=operator)).json() == []
    assert [h["id"] for h in (await intake.http.get("/api/v1/quarantine?state=replayed", headers=operator)).json()] == [held]
    assert (await intake.http.post(f"/api/v1/quarantine/{held}/replay", headers=operator)).status_code == 409


async def test_what_is_refused_again_stays_in_quarantine(intake: Intake) -> None:
    operator = await intake.key("operator")
    await intake.http.post("/channels/telegram/shop_bot", content=b"[", headers=SAID_BY_TELEGRAM)
    held = await held_of(intake, operator)
    answer = await intake.http.post(f"/api/v1/quarantine/{held}/replay", headers=operator)
    assert (answer.status_code, answer.json()["code"]) == (422, "unreadable")
    assert await held_of(intake, operator) == held


async def test_what_people_discard_leaves_the_list_and_stays_on_record(intake: Intake) -> None:
    operator = await intake.key("operator")
    await intake.http.post("/channels/telegram/shop_bot", content=b"[", headers=SAID_BY_TELEGRAM)
    held = await held_of(intake, operator)
    assert (await intake.http.post(f"/api/v1/quarantine/{held}/discard", headers=operator)).json()["state"] == "discarded"
    assert (await intake.http.get("/api/v1/quarantine", headers=operator)).json() == []
    assert (await intake.http.get(f"/api/v1/quarantine/{held}/raw", headers=operator)).content == b"["


@pytest.mark.parametrize("path", ["", "/0f3a9c5d1b7e2486/raw"])
async def test_quarantine_is_for_operators(intake: Intake, path: str) -> None:
    assert (await intake.http.get(f"/api/v1/quarantine{path}")).status_code == 401
    assert (await intake.http.get(f"/api/v1/quarantine{path}", headers=await intake.key("intake"))).status_code == 403


async def test_what_is_not_there_says_so(intake: Intake) -> None:
    operator = await intake.key("operator")
    assert (await intake.http.get("/api/v1/quarantine/nothing/raw", headers=operator)).json()["code"] == "not_in_quarantine"
    assert (await intake.http.get("/api/v1/quarantine?state=lost", headers=operator)).status_code == 409
