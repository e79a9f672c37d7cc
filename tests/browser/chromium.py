"""The installed Chromium, headless, for tests that look at pages as customers do."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page, async_playwright

BINARY = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))


@asynccontextmanager
async def chromium(**context: Any) -> AsyncIterator[BrowserContext]:
    """A fresh browser without a past. context: Playwright's options for it (viewport, locale, java_script_enabled, ...)."""
    if not BINARY.exists():
        message = f"there is no {BINARY}: apt-get install chromium, or name another in CHROMIUM"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(BINARY), args=["--no-sandbox"])
        opened = await browser.new_context(**context)
        opened.set_default_timeout(15_000)
        try:
            yield opened
        finally:
            await opened.close()
            await browser.close()


def complaints_of(page: Page) -> list[str]:
    """What the browser has to complain about on a page, gathered from now on: blocked by the policy, failed scripts, files not found."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("requestfailed", lambda request: said.append(f"failed: {request.url}"))
    return said
