"""The workbench over HTTP: who gets in, what a form needs, that a customer's words stay words."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import httpx
import pytest

from services.process import Desk
from shared.complaint import State
from shared.ledger import complaints
from tests.departments.conftest import Filing, make_key

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'


class Visitor:
    """A browser without scripts: keeps cookies, posts forms with their CSRF token."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def see(self, path: str, status: int = 200) -> str:
        page = await self.http.get(f"/workbench{path}", follow_redirects=True)
        assert page.status_code == status, page.text
        return page.text

    async def post(self, path: str, status: int = 200, **fields: object) -> str:
        page = await self.http.get("/workbench/sign-in")
        token = re.search(r'name="_csrf_token" value="(\w+)"', page.text)
        assert token
        answer = await self.http.post(f"/workbench{path}", data={"_csrf_token": token[1], **fields}, follow_redirects=True)
        assert answer.status_code == status, answer.text
        return answer.text


@pytest.fixture
async def visitor(address: str) -> AsyncIterator[Visitor]:
    async with httpx.AsyncClient(base_url=address) as http:
        yield Visitor(http)


@pytest.fixture
async def clerk(visitor: Visitor, desk: Desk) -> Visitor:
    await visitor.post("/sign-in", key=await make_key(desk.ledger, "department", "warehouse"))
    return visitor


async def test_nobody_sees_anything_without_a_key(visitor: Visitor, file: Filing) -> None:
    reference = await file()
    for path in ("", "/departments/warehouse", "/departments/warehouse/dead", f"/complaints/{reference}"):
        assert 'name="key"' in await visitor.see(path)
    assert "unknown or revoked" in await visitor.post("/sign-in", 401, key="desk_00000000_wrong")


async def test_the_session_cookie_is_closed_to_scripts_and_other_sites(visitor: Visitor, desk: Desk) -> None:
    await visitor.see("/sign-in")
    key = await make_key(desk.ledger, "department", "warehouse")
    token = visitor.http.cookies["desk_csrf"]
    answer = await visitor.http.post("/workbench/sign-in", data={"_csrf_token": token, "key": key})
    cookie = next(value for value in answer.headers.get_list("set-cookie") if value.startswith("desk_workbench"))
    assert all(word in cookie.lower() for word in ("httponly", "samesite=lax", "path=/workbench"))
    assert key not in cookie
    page = await visitor.http.get("/workbench/departments/warehouse")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"


async def test_a_form_without_its_token_changes_nothing(clerk: Visitor, file: Filing) -> None:
    await file()
    answer = await clerk.http.post("/workbench/departments/warehouse/claim", data={"_csrf_token": "0" * 128})
    assert (answer.status_code, "页面已过期" in answer.text) == (403, True)
    assert "待领取" in await clerk.see("/departments/warehouse")


async def test_a_day_at_the_workbench(clerk: Visitor, desk: Desk, file: Filing) -> None:
    reference = await file()
    assert reference in await clerk.see("")
    page = await clerk.post("/departments/warehouse/claim")
    assert "收到的包裹里少了一副耳机" in page
    assert "由你处理" in page
    page = await clerk.post(f"/complaints/{reference}/progress", note="录像已调取", tell_customer="1")
    assert ("已记录" in page, "录像已调取" in page) == (True, True)
    await clerk.post(f"/complaints/{reference}/propose", title1="补发耳机", by1="2099-01-02T18:00")
    await clerk.post(f"/complaints/{reference}/answer", accepted="1")
    page = await clerk.post(f"/complaints/{reference}/resolve", cause="漏放一件", measure="已补发", improvement="")
    assert "待办已清空" in page
    async with desk.ledger.read() as tx:
        assert (await complaints.get(tx, reference)).state is State.RESOLVED
        kinds = [e.kind for e in await complaints.history(tx, reference)]
    assert kinds[2:] == ["claimed", "progressed", "proposed", "accepted", "resolved"]
    assert "重新打开" in await clerk.see(f"/complaints/{reference}")


async def test_a_refused_form_is_shown_again_with_what_was_typed(clerk: Visitor, file: Filing) -> None:
    reference = await file()
    await clerk.post("/departments/warehouse/claim")
    page = await clerk.post(f"/complaints/{reference}/propose", 409, title1="补发耳机", by1="2001-01-02T18:00")
    assert ("没有成功" in page, "past" in page, 'value="补发耳机"' in page) == (True, True, True)
    page = await clerk.post(f"/complaints/{reference}/resolve", 409, cause="漏放一件", measure=" ")
    assert ("measure" in page, "漏放一件</textarea>" in page) == (True, True)


async def test_a_customers_words_are_never_markup(clerk: Visitor, file: Filing) -> None:
    await file(text=HOSTILE, name=HOSTILE)
    page = await clerk.post("/departments/warehouse/claim")
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;" in page


async def test_what_is_not_in_hand_cannot_be_worked(clerk: Visitor, redis, file: Filing) -> None:
    reference = await file()
    page = await clerk.post(f"/complaints/{reference}/progress", 409, note="x")
    assert "请重新领取" in page
    await clerk.post("/departments/warehouse/claim")
    await redis.flushall()
    page = await clerk.see(f"/complaints/{reference}")
    assert "不在你手中" in page


async def test_who_signed_out_is_out(clerk: Visitor) -> None:
    assert "仓储部" in await clerk.see("")
    await clerk.post("/sign-out")
    assert 'name="key"' in await clerk.see("/departments/warehouse")


async def test_dead_letters_are_put_back(clerk: Visitor, file: Filing) -> None:
    reference = await file()
    await clerk.post("/departments/warehouse/claim")
    await clerk.post(f"/complaints/{reference}/bury", reason="缺少订单号")
    assert "缺少订单号" in await clerk.see("/departments/warehouse/dead")
    assert "没有搁置件" in await clerk.post(f"/departments/warehouse/dead/{reference}/requeue", reason="已补")


async def test_other_departments_are_not_shown(clerk: Visitor, file: Filing) -> None:
    reference = await file("logistics")
    await clerk.see("/departments/logistics", 404)
    await clerk.see(f"/complaints/{reference}", 404)


async def test_the_operator_sees_all_departments_in_three_languages(visitor: Visitor, desk: Desk, file: Filing) -> None:
    await file("logistics")
    await visitor.post("/sign-in", key=await make_key(desk.ledger, "operator"))
    assert "物流部" in await visitor.see("")
    assert "倉儲部" in await visitor.see("?lang=zh-TW")
    page = await visitor.see("/departments/logistics?lang=en")
    assert ("Claim the most pressing" in page, "Missing items" in page) == (True, True)
    assert "Logistics" in await visitor.see("/find?q=c261121000001")


def test_every_word_is_there_in_every_language() -> None:
    from services.router.departments.pages.words import TABLE
    from shared.complaint import Channel, NoticeKind, Priority
    from shared.lifecycle import TRANSITIONS
    from shared.notice_details import MissingFact

    wanted = {f"state.{s}" for s in State} | {f"priority.{p}" for p in Priority} | {f"channel.{c}" for c in Channel}
    wanted |= {f"event.{e}" for e in TRANSITIONS} | {f"notice.{n}" for n in NoticeKind} | {f"fact.{f}" for f in MissingFact}
    assert wanted - set(TABLE) == set()
    assert all(len(said) == 3 and all(said) for said in TABLE.values())
