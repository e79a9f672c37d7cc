"""POST /api/v1/complaints: what a program that sends complaints can rely on."""

from __future__ import annotations

import asyncio
import re

import pytest

from services.intake.requests import BadKey, idempotency_key
from shared.ledger import complaints, notices, submissions
from shared.references import REFERENCE
from tests.intake.serving import Intake
from tests.picture import PNG

FORM = {"text": "热水壶底座有裂缝，一通电就跳闸", "phone": "13800138000", "email": "wang@example.com", "order_number": "DD20261120008812"}


async def count(intake: Intake) -> int:
    async with intake.desk.ledger.read() as tx:
        return await complaints.count(tx)


async def test_a_complaint_is_stored_and_gets_a_reference_and_a_link(intake_on_both: Intake) -> None:
    intake = intake_on_both
    answer = await intake.http.post("/api/v1/complaints", json=FORM)
    assert answer.status_code == 202, answer.text
    told = answer.json()
    assert REFERENCE.fullmatch(told["reference"])
    assert told["outcome"] == "accepted"
    assert told["locale"] == "zh-CN"
    assert answer.headers["location"] == told["tracking_url"]
    assert told["tracking_url"].startswith(f"http://127.0.0.1:{intake.port}/track/{told['reference']}/")
    async with intake.desk.ledger.read() as tx:
        stored = await submissions.of_complaint(tx, told["reference"])
        letters = await notices.of_complaint(tx, told["reference"])
    assert [s.submission.text for s in stored] == [FORM["text"]]
    assert [(n.notice.kind, n.notice.recipient) for n in letters] == [("acknowledgement", "wang@example.com")]


async def test_the_same_body_again_gets_the_same_reference(intake: Intake) -> None:
    first = (await intake.http.post("/api/v1/complaints", json=FORM)).json()
    again = (await intake.http.post("/api/v1/complaints", json=FORM)).json()
    assert again == {**first, "outcome": "repeated"}
    assert await count(intake) == 1


async def test_an_idempotency_key_gives_the_first_answer_again(intake_on_both: Intake) -> None:
    intake = intake_on_both
    first = await intake.http.post("/api/v1/complaints", json=FORM, headers={"Idempotency-Key": '"one-form"'})
    again = await intake.http.post("/api/v1/complaints", json=FORM, headers={"Idempotency-Key": "one-form"})
    assert again.status_code == first.status_code
    assert again.content == first.content
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers


async def test_an_idempotency_key_with_another_body_is_refused(intake_on_both: Intake) -> None:
    intake = intake_on_both
    key = {"Idempotency-Key": '"one-form"'}
    await intake.http.post("/api/v1/complaints", json=FORM, headers=key)
    other = await intake.http.post("/api/v1/complaints", json={**FORM, "text": "另一件事", "order_number": ""}, headers=key)
    assert other.status_code == 422
    assert other.headers["content-type"] == "application/problem+json"
    assert other.json()["code"] == "idempotency_key_reused"
    assert await count(intake) == 1


async def test_a_key_whose_first_request_is_under_way_conflicts(intake: Intake) -> None:
    """The ledger is held by somebody else, so whichever comes first waits; the other hears 409 at once."""
    key = {"Idempotency-Key": '"slow"'}
    async with intake.desk.ledger.write():
        both = {asyncio.create_task(intake.http.post("/api/v1/complaints", json=FORM, headers=key)) for _ in range(2)}
        answered, waiting = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    assert answered.pop().result().json()["code"] == "idempotency_in_progress"
    assert (await waiting.pop()).status_code == 202
    assert (await intake.http.post("/api/v1/complaints", json=FORM, headers=key)).headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize("key", ['"unclosed', "", "with space", '""', "x" * 256, "täst"])
async def test_a_malformed_key_is_refused_and_nothing_stored(intake: Intake, key: str) -> None:
    answer = await intake.http.post("/api/v1/complaints", json=FORM, headers=[(b"Idempotency-Key", key.encode("latin-1"))])
    assert answer.status_code == 400
    assert answer.json()["code"] == "bad_idempotency_key"
    assert await count(intake) == 0


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (b'"a b"', "a b"),
        (b'"a\\"b\\\\"', 'a"b\\'),
        (b"8e03978e-40d5-43e8-bc93-6894a57f9324", "8e03978e-40d5-43e8-bc93-6894a57f9324"),
        (b'"k";v=1', "k"),
    ],
)
def test_keys_are_read_as_structured_field_strings(sent: bytes, read: str) -> None:
    assert idempotency_key([(b"idempotency-key", sent)]) == read


def test_two_keys_in_one_request_are_refused() -> None:
    with pytest.raises(BadKey):
        idempotency_key([(b"idempotency-key", b"a"), (b"idempotency-key", b"b")])


async def test_a_form_of_a_page_without_scripts_is_taken(intake: Intake) -> None:
    answer = await intake.http.post("/api/v1/complaints", data={"text": "包裹三天没动", "phone": "13900139000"})
    assert answer.json()["outcome"] == "accepted"


async def test_photos_come_as_multipart_and_are_kept(intake: Intake) -> None:
    answer = await intake.http.post(
        "/api/v1/complaints", data={"text": "破损", "phone": "13900139000"}, files=[("evidence", ("../../壶.png", PNG, "text/html"))]
    )
    async with intake.desk.ledger.read() as tx:
        (stored,) = await submissions.of_complaint(tx, answer.json()["reference"])
    (photo,) = stored.submission.attachments
    assert (photo.filename, photo.media_type, photo.size) == ("壶.png", "image/png", len(PNG))
    assert await intake.desk.blobs.get(photo.sha256) == PNG


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b"", "empty"),
        (b"{", "JSON"),
        (b'{"text": "\xff"}', "UTF-8"),
        (b'{"text": 5, "phone": "1"}', "'text'"),
        (b'{"txt": "x"}', "Did you mean 'text'?"),
        (b'{"text": "x"}', "'email'"),
        (b'{"phone": "13800138000"}', "'text'"),
        (b'{"text": "' + b"x" * 60_000 + b'", "phone": "13800138000"}', "'text'"),
    ],
)
async def test_bad_bodies_are_refused_with_the_field_and_the_mend(intake: Intake, body: bytes, names: str) -> None:
    answer = await intake.http.post("/api/v1/complaints", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["code"] == "unreadable"
    assert names in problem["detail"]
    assert await count(intake) == 0


async def test_another_content_type_is_refused(intake: Intake) -> None:
    answer = await intake.http.post("/api/v1/complaints", content=b"<a/>", headers={"content-type": "text/xml"})
    assert answer.status_code == 422
    assert "application/json" in answer.json()["detail"]


async def test_a_filled_honeypot_is_kept_for_people_to_look_at(intake: Intake) -> None:
    answer = await intake.http.post("/api/v1/complaints", json={**FORM, "website": "https://spam.example"})
    assert answer.status_code == 202
    assert answer.json() == {"reference": "", "outcome": "held", "tracking_url": "", "locale": "zh-CN"}
    assert await count(intake) == 0
    operator = await intake.key("operator")
    held = (await intake.http.get("/api/v1/quarantine", headers=operator)).json()
    assert [(h["adapter"], h["code"]) for h in held] == [("web_form", "honeypot")]


async def test_a_stranger_who_knows_address_and_order_number_gets_no_link(intake: Intake) -> None:
    first = (await intake.http.post("/api/v1/complaints", json=FORM)).json()
    stranger = {**FORM, "text": "催一下"}
    for _ in range(2):  # repeating it must not give away more than the first time did
        joined = (await intake.http.post("/api/v1/complaints", json=stranger)).json()
        assert joined["reference"] == first["reference"]
        assert joined["tracking_url"] == ""


async def test_unknown_addresses_answer_as_problems_and_say_where_to_look(intake: Intake) -> None:
    answer = await intake.http.get("/api/v1/nothing")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert "/schema" in answer.json()["detail"]
    assert (await intake.http.put("/api/v1/complaints")).status_code == 405


async def test_the_description_names_every_route_and_needs_nothing_from_elsewhere(intake: Intake) -> None:
    described = (await intake.http.get("/schema/openapi.json")).json()
    assert described["openapi"].startswith("3.1")
    for path, method in [
        ("/api/v1/complaints", "post"),
        ("/api/v1/complaints/{reference}", "get"),
        ("/api/v1/phone", "post"),
        ("/channels/{adapter}/{account}", "post"),
        ("/api/v1/quarantine", "get"),
        ("/api/v1/quarantine/{held_id}/replay", "post"),
    ]:
        operation = described["paths"][path][method]
        assert operation["summary"]
        assert operation["tags"]
        assert "503" in operation["responses"] or method == "get" or "quarantine" in path
    body = described["paths"]["/api/v1/complaints"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", "multipart/form-data", "application/x-www-form-urlencoded"}
    assert body["application/json"]["examples"]
    page = (await intake.http.get("/schema")).text
    assert "/api/v1/complaints" in page
    assert not re.search(r"(src|href)=.?(https?:)?//", page)
    assert "<script" not in page
