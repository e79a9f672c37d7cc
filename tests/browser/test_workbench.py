"""The workbench in a real browser: a clerk signs in, claims, resolves; no page is wider than its screen or asks anything from elsewhere.

SCREENSHOTS names a folder to keep screenshots in.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright

from services.process import Desk
from shared.complaint import Priority, State
from shared.ledger import complaints
from tests.departments.conftest import *  # noqa: F403 -- the desk's fixtures
from tests.departments.conftest import Filing, make_key

CHROMIUM = Path("/usr/bin/chromium")
SHOTS = os.environ.get("SCREENSHOTS", "")
WIDTHS = (1280, 390)

pytestmark = pytest.mark.browser


@pytest.fixture
def chromium() -> str:
    if not CHROMIUM.exists():
        message = f"{CHROMIUM} is missing: install the Debian package chromium"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return str(CHROMIUM)


@pytest.fixture
async def browser(chromium: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        await started.close()


async def shoot(page: Page, name: str) -> None:
    """The page at each width: never wider than the screen; kept as a picture where SCREENSHOTS says so."""
    for width in WIDTHS:
        await page.set_viewport_size({"width": width, "height": 900})
        wide = await page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{name} is {wide} px wide on a screen of {width}"
        if SHOTS:
            await page.screenshot(path=str(Path(SHOTS) / f"{name}-{width}.png"), full_page=True)


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
async def test_a_clerk_works_a_complaint(desk: Desk, address: str, browser: Browser, file: Filing) -> None:
    long = "收到的包裹里少了一副耳机，外箱完好。\n\n我已经联系客服三次，每次都说会查，但一直没有结果。请尽快补发，或者退还这一件的货款。"
    first = await file(priority=Priority.URGENT, due_in=1.2, text=long)
    await file(priority=Priority.HIGH, due_in=-3)
    await file(due_in=30, language="en", text="One of the two headphones is missing.")
    await file(priority=Priority.LOW, due_in=70)
    page = await browser.new_page()
    outside: list[str] = []
    page.on("request", lambda request: outside.append(request.url) if not request.url.startswith(address) else None)
    await page.goto(f"{address}/")
    await shoot(page, "sign-in")
    await page.get_by_label("API 密钥").fill(await make_key(desk.ledger, "department", "warehouse"))
    await page.get_by_role("button", name="登录").click()
    await page.get_by_role("heading", name="仓储部").wait_for()
    await shoot(page, "queue")
    await page.get_by_role("button", name="领取最紧急的一件").click()
    await page.get_by_role("heading", name=first).wait_for()
    await page.get_by_text("记录进展").click()
    await page.get_by_label("进展说明").fill("已联系仓库，正在调取拣货录像。")
    await page.get_by_label("同时告知客户").check()
    await page.locator("details[open]").get_by_role("button", name="提交").click()
    await page.get_by_text("已记录。").wait_for()
    await shoot(page, "complaint")
    await page.get_by_text("提出方案", exact=True).first.click()
    await shoot(page, "propose")
    await page.locator("summary", has_text="办结").click()
    form = page.locator("details[open]", has=page.get_by_role("button", name="办结"))
    await form.get_by_label("原因").fill("拣货时漏放一件。")
    await form.get_by_label("处理措施").fill("已补发，顺丰 SF1234567890。")
    await form.get_by_role("button", name="办结").click()
    await page.get_by_role("heading", name="仓储部").wait_for()
    async with desk.ledger.read() as tx:
        assert (await complaints.get(tx, first)).state is State.RESOLVED
    await page.get_by_role("button", name="领取最紧急的一件").click()
    await page.get_by_text("无法处理，搁置").click()
    await page.locator("details[open]").get_by_label("原因").fill("订单号查不到，等待客户补充。")
    await page.locator("details[open]").get_by_role("button", name="提交").click()
    await page.get_by_role("link", name="搁置件").click()
    await page.get_by_text("订单号查不到").wait_for()
    await shoot(page, "dead")
    await page.goto(f"{address}/workbench/complaints/{first}?lang=en")
    await page.get_by_role("heading", name="History").wait_for()
    await shoot(page, "complaint-en")
    await page.goto(f"{address}/workbench/departments/warehouse?lang=zh-TW")
    await page.get_by_text("領取最緊急的一件").wait_for()
    await shoot(page, "queue-tw")
    assert outside == []
