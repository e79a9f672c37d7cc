"""The customers' pages in a real browser: the whole way from form to addition, on a phone and on a desk, without scripts too."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from playwright.async_api import Page

from shared.complaint import Channel, Event, Notice, NoticeKind, State
from shared.ledger import complaints, notices, submissions
from tests.browser.chromium import chromium, complaints_of
from tests.intake.serving import Intake, serving
from tests.picture import PNG
from tests.valkey import PrivateValkey, private_valkey

pytestmark = pytest.mark.browser
DESK = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
STORIES = {
    "zh-CN": "上周三下的单，热水壶底座有裂缝，一通电就跳闸。打过两次客服电话，都说登记了，到今天没人回。",
    "zh-TW": "上週三下單的熱水壺底座有裂縫，一通電就跳電。打了兩次客服都說登記了，至今沒有人回覆。",
    "en": "I ordered the kettle last Wednesday. The base is cracked and it trips the fuse. I called twice and nobody came back to me.",
}
SHOTS = os.environ.get("DESK_TEST_SHOTS", "")


@pytest.fixture(scope="session")
def shared_valkey() -> Iterator[PrivateValkey]:
    with private_valkey() as server:
        yield server


@pytest.fixture
async def intake(tmp_path: Path, sqlite_url: str, shared_valkey: PrivateValkey) -> AsyncIterator[Intake]:
    async with serving(tmp_path / "home", sqlite_url, shared_valkey.url) as running:
        yield running


async def shot(page: Page, name: str) -> None:
    """A picture for people, where DESK_TEST_SHOTS names a folder for them."""
    if SHOTS:
        await page.screenshot(path=f"{SHOTS}/{name}.png", full_page=True)


async def fits(page: Page) -> bool:
    """Whether nothing sticks out at the side."""
    return bool(await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no_scripts"])
@pytest.mark.parametrize("lang", list(STORIES))
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
async def test_a_customer_complains_and_follows_it(intake: Intake, size: dict[str, int], lang: str, scripts: bool) -> None:
    name = f"{lang}-{size['width']}"
    async with chromium(viewport=size, locale=lang, java_script_enabled=scripts) as browser:
        page = await browser.new_page()
        said = complaints_of(page)
        await page.goto(f"http://127.0.0.1:{intake.port}/")
        assert await page.locator("html").get_attribute("lang") == lang
        await shot(page, f"form-{name}")

        await page.fill("#phone", "1380013")
        await page.fill("#order_number", "DD20261118")
        await page.click("form button")
        assert await page.locator("[aria-invalid=true]").count() == 2
        assert await page.input_value("#order_number") == "DD20261118"
        await shot(page, f"faults-{name}")

        await page.fill("#text", STORIES[lang])
        await page.fill("#phone", "13800138000")
        await page.fill("#email", "wang.fang@example.com")
        await page.set_input_files("#evidence", {"name": "壶.png", "mimeType": "image/png", "buffer": PNG})
        await page.click("form button")
        await page.wait_for_url("**/received/**")
        reference = await page.inner_text(".reference")
        await shot(page, f"received-{name}")

        await page.click("a.button")
        await page.wait_for_url(f"**/track/{reference}/**")
        await page.fill("#text", STORIES[lang][:12])
        await page.click("form button")
        await page.wait_for_url("**added=1*")
        assert await page.locator(".good").count() == 1
        await shot(page, f"track-{name}")
        if scripts:
            assert await fits(page)
        assert [line for line in said if "422" not in line] == []
    async with intake.desk.ledger.read() as tx:
        told = await submissions.of_complaint(tx, reference)
    assert [s.submission.text for s in told] == [STORIES[lang], STORIES[lang][:12]]
    assert len(told[0].submission.attachments) == 1


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("lang", list(STORIES))
async def test_a_long_history_is_readable(intake: Intake, size: dict[str, int], lang: str) -> None:
    told = (await intake.http.post("/api/v1/complaints", json={"text": STORIES[lang], "phone": "13800138000"})).json()
    await lived_through(intake, told["reference"])
    async with chromium(viewport=size, locale=lang, color_scheme="dark" if size is PHONE else "light") as browser:
        page = await browser.new_page()
        said = complaints_of(page)
        await page.goto(told["tracking_url"])
        assert await page.locator(".stages .done").count() == 4
        assert await page.locator("blockquote").count() == 2
        assert await page.locator("blockquote script").count() == 0
        assert await page.locator(".history > li").count() == 6
        assert await fits(page)
        assert said == []
        await shot(page, f"history-{lang}-{size['width']}")
        await page.goto(f"http://127.0.0.1:{intake.port}/track")
        await page.fill("#reference", "c261121 7k3qxp")
        await page.fill("#contact", "wang@qq.com")
        await page.click("form button")
        await shot(page, f"find-{lang}-{size['width']}")
        await page.goto(f"http://127.0.0.1:{intake.port}/nothing-here")
        await shot(page, f"lost-{lang}-{size['width']}")


async def lived_through(intake: Intake, reference: str) -> None:
    """A complaint on which a department has worked: claimed, asked, answered, a solution offered."""
    now = datetime.now(UTC)
    kinds = ("decided", "claimed", "progressed", "followed_up", "proposed")
    by = (now + timedelta(days=1)).isoformat()
    said = [
        (NoticeKind.PROGRESS, 3, {"message": "我们联系了仓库，同批次的底座正在逐个检查。<script>alert(1)</script>"}),
        (
            NoticeKind.SOLUTION,
            5,
            {"cause": "底座注塑有缺陷。", "options": [{"title": "换一台新的", "by": by}, {"title": "全额退款", "by": by}]},
        ),
    ]
    async with intake.desk.ledger.write() as tx:
        found = await complaints.get(tx, reference)
        changed = msgspec.structs.replace(found, state=State.SOLUTION_PROPOSED, version=6)
        await complaints.save(tx, [(found.version, changed)])
        await complaints.add_events(tx, [Event(reference, n, now + timedelta(minutes=n), kind, "x") for n, kind in enumerate(kinds, 2)])
        await notices.add(
            tx,
            [
                Notice(
                    key=f"{kind}/{reference}",
                    reference=reference,
                    kind=kind,
                    channel=Channel.WEB_FORM,
                    source="phone",
                    account="web",
                    recipient="+8613800138000",
                    created_at=now + timedelta(minutes=n + 1),
                    detail=detail,
                )
                for kind, n, detail in said
            ],
        )
