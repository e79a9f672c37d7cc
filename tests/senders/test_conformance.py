"""Every sender that ships keeps to the contract."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from services.notifier.conformance import CHECKS, Check, Nonconformity, carries_a_letter, carries_a_long_letter, letter_for
from services.notifier.sender import Letter, Sender, Sent
from services.notifier.senders.console import ConsoleSender
from services.notifier.senders.smtp import SmtpSender
from services.notifier.senders.telegram import TelegramSender
from services.notifier.senders.wechat import WeChatSender
from tests.senders.platforms import CallBackList, World, world

MAKERS = {"smtp": SmtpSender, "wechat": WeChatSender, "telegram": TelegramSender, "console": ConsoleSender}
#: the console prints a line about the letter, not the letter: its words stay in the desk for whoever rings the customer
WORDS_STAY_IN = {("console", carries_a_letter), ("console", carries_a_long_letter)}
RUNS = [(name, check) for name in MAKERS for check in CHECKS if (name, check) not in WORDS_STAY_IN]


@pytest.fixture
async def behind(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[World]:
    async with world(request.param, tmp_path) as platform:
        yield platform


@pytest.mark.parametrize(
    ("behind", "check", "name"),
    [(name, check, name) for name, check in RUNS],
    indirect=["behind"],
    ids=lambda value: getattr(value, "__name__", None) or str(value),
)
async def test_sender_keeps_to_the_contract(behind: World, check: Check, name: str) -> None:
    await check(MAKERS[name], behind)


class Careless(Sender):
    """Breaks the contract in every way it can: takes any setting, loses letters, says all is well."""

    name = "careless"
    sources = ("phone",)

    async def send(self, letter: Letter) -> Sent:
        return Sent()


@pytest.mark.parametrize(
    "check",
    [
        check
        for check in CHECKS
        if check.__name__ in {"refuses_unknown_settings", "carries_a_letter", "carries_a_long_letter", "carries_many_at_once"}
    ],
)
async def test_the_suite_finds_a_careless_sender(check: Check, tmp_path: Path) -> None:
    with pytest.raises(Nonconformity):
        await check(Careless, CallBackList(tmp_path))


async def test_console_line_names_the_notice_and_nobody(tmp_path: Path) -> None:
    calls = CallBackList(tmp_path)
    sender = ConsoleSender()
    await sender.open(calls.settings)
    await sender.send(letter_for(calls))
    assert calls.lines() == ["call back C261122-7K3QXP progress zh-CN phone [C261122-7K3QXP:progress:1]"]


async def test_console_prints_without_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    sender = ConsoleSender()
    await sender.open({})
    await sender.send(letter_for(CallBackList(tmp_path)))
    assert capsys.readouterr().out.startswith("call back C261122-7K3QXP progress")
