"""The WeChat and Telegram senders against the platforms' stand-ins: every answer that the platforms document."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import pytest

from services.demo.chat_platforms import TelegramPlatform, WeChatPlatform
from services.demo.http_peer import Answer, HttpPeer, Request
from services.notifier.compose import compose
from services.notifier.sender import Letter
from services.notifier.senders.telegram import TelegramSender
from services.notifier.senders.wechat import COME_BACK, GIVE_UP, OPERATOR, WeChatSender
from shared.errors import ConfigError, TemporaryFailure, Undeliverable
from shared.notice_details import Acknowledgement
from tests.notifier.notices import DESK, SECRET, SOON, notice

LONG = "。".join(f"第{number}句话说明处理的经过" for number in range(400))


def letter(source: str, recipient: str = "oCustomer", text: str = "", account: str = "gh_demo") -> Letter:
    asked = notice(Acknowledgement(next_by=SOON), source=source, recipient=recipient, account=account)
    composed = compose(asked, desk=DESK, secret=SECRET)
    return msgspec.structs.replace(composed, text=text) if text else composed


def to_wechat(**given: Any) -> Letter:
    return letter("social/wechat", **given)


def to_telegram(**given: Any) -> Letter:
    return letter("social/telegram", **{"recipient": "42", **given})


@pytest.fixture
async def platform() -> WeChatPlatform:
    return WeChatPlatform()


@pytest.fixture
async def wechat(platform: WeChatPlatform) -> AsyncGenerator[WeChatSender]:
    async with HttpPeer(platform) as http:
        sender = WeChatSender()
        await sender.open({"app_id": "wx_demo_app", "secret": "demo-app-secret", "base_url": http.url, "timeout": "5"})
        yield sender
        await sender.close()


@pytest.fixture
async def bot_api() -> TelegramPlatform:
    return TelegramPlatform()


@pytest.fixture
async def telegram(bot_api: TelegramPlatform) -> AsyncGenerator[TelegramSender]:
    async with HttpPeer(bot_api) as http:
        sender = TelegramSender()
        await sender.open({"token": "777000:demo-bot-token", "base_url": http.url, "timeout": "5"})
        yield sender
        await sender.close()


async def test_many_letters_ask_for_one_token(platform: WeChatPlatform, wechat: WeChatSender) -> None:
    await asyncio.gather(*(wechat.send(to_wechat()) for _ in range(20)))
    assert platform.count == 20
    assert platform.token_requests == 1


async def test_a_token_that_was_renewed_elsewhere_is_fetched_once_for_all(platform: WeChatPlatform, wechat: WeChatSender) -> None:
    await wechat.send(to_wechat())
    platform.expire_tokens()
    await asyncio.gather(*(wechat.send(to_wechat()) for _ in range(10)))
    assert platform.count == 11
    assert platform.token_requests == 2
    assert platform.forced == 0


async def test_a_token_that_wechat_hands_out_and_refuses_is_forced_new_once(platform: WeChatPlatform, wechat: WeChatSender) -> None:
    platform.refuse_code = 42001
    with pytest.raises(TemporaryFailure, match="42001"):
        await wechat.send(to_wechat())
    assert platform.forced == 1
    assert platform.count == 0


async def test_a_token_is_renewed_before_it_ends(platform: WeChatPlatform, wechat: WeChatSender) -> None:
    platform.lifetime = 299
    await wechat.send(to_wechat())
    await wechat.send(to_wechat())
    assert platform.token_requests == 2


@pytest.mark.parametrize("code", GIVE_UP)
async def test_what_no_retry_mends_is_undeliverable(platform: WeChatPlatform, wechat: WeChatSender, code: int) -> None:
    platform.refuse_code = code
    with pytest.raises(Undeliverable, match=str(code)):
        await wechat.send(to_wechat())


@pytest.mark.parametrize("code", COME_BACK)
async def test_limits_are_waited_for(platform: WeChatPlatform, wechat: WeChatSender, code: int) -> None:
    platform.refuse_code = code
    with pytest.raises(TemporaryFailure, match=str(code)) as caught:
        await wechat.send(to_wechat())
    assert caught.value.retry_after == COME_BACK[code]


@pytest.mark.parametrize("code", [*OPERATOR, 99999])
async def test_what_the_operator_mends_waits(platform: WeChatPlatform, wechat: WeChatSender, code: int) -> None:
    platform.refuse_code = code
    with pytest.raises(TemporaryFailure, match=str(code)) as caught:
        await wechat.send(to_wechat())
    assert not caught.value.uncertain


async def test_five_messages_and_then_another_channel(platform: WeChatPlatform, wechat: WeChatSender) -> None:
    platform.left["oCustomer"] = 5
    for _ in range(5):
        await wechat.send(to_wechat())
    with pytest.raises(Undeliverable, match="used up"):
        await wechat.send(to_wechat())


async def test_chinese_goes_out_as_chinese(platform: WeChatPlatform, wechat: WeChatSender) -> None:
    """WeChat shows \\u escapes to the customer where JSON is sent escaped."""
    seen: list[bytes] = []

    def spy(request: Request) -> Answer | None:
        seen.append(request.body)
        return platform(request)

    async with HttpPeer(spy) as http:
        sender = WeChatSender()
        await sender.open({"app_id": "wx_demo_app", "secret": "demo-app-secret", "base_url": http.url})
        await sender.send(to_wechat())
        await sender.close()
    assert "我们非常抱歉".encode() in seen[-1]
    assert b"\\u" not in seen[-1]


async def test_long_words_are_split_numbered_and_whole(platform: WeChatPlatform, wechat: WeChatSender) -> None:
    await wechat.send(to_wechat(text=LONG))
    texts = [message.text for message in platform.messages]
    assert all(len(text.encode()) <= 2048 for text in texts)
    assert texts[0].startswith(f"(1/{len(texts)})\n")
    assert "".join(text.split("\n", 1)[1] for text in texts) == LONG


async def test_a_break_between_the_parts_is_uncertain(platform: WeChatPlatform, wechat: WeChatSender) -> None:
    platform.left["oCustomer"] = 2
    with pytest.raises(Undeliverable):
        await wechat.send(to_wechat(text=LONG))
    platform.clear()
    del platform.left["oCustomer"]

    def busy_after_one(request: Request) -> Answer | None:
        platform.busy = 1 if platform.count == 1 else 0
        return platform(request)

    async with HttpPeer(busy_after_one) as http:
        sender = WeChatSender()
        await sender.open({"app_id": "wx_demo_app", "secret": "demo-app-secret", "base_url": http.url})
        with pytest.raises(TemporaryFailure, match="Part 2") as caught:
            await sender.send(to_wechat(text=LONG))
        await sender.close()
    assert caught.value.uncertain


async def test_each_account_answers_its_own_customers() -> None:
    platform = WeChatPlatform({"wx_one": "secret-one", "wx_two": "secret-two"})
    accounts = {"gh_one": {"app_id": "wx_one", "secret": "secret-one"}, "gh_two": {"app_id": "wx_two", "secret": "secret-two"}}
    async with HttpPeer(platform) as http:
        sender = WeChatSender()
        await sender.open({"accounts": json.dumps(accounts), "base_url": http.url})
        await sender.send(to_wechat(account="gh_two", recipient="gh_two:oCustomer"))
        with pytest.raises(TemporaryFailure, match="no account 'gh_three'"):
            await sender.send(to_wechat(account="gh_three"))
        await sender.close()
    assert [(message.account, message.recipient) for message in platform.messages] == [("wx_two", "oCustomer")]


@pytest.mark.parametrize("maker", [WeChatSender, TelegramSender])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"accounts": "not json"},
        {"accounts": '{"a": {"hunter2": "x"}}'},
        {"base_url": "ftp://x", "accounts": "{}"},
        {"timeout": "soon"},
        {"tokne": "x"},
    ],
)
async def test_wrong_settings_are_named(maker: type[WeChatSender | TelegramSender], settings: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="DESK_SENDERS"):
        await maker().open(settings)


async def test_a_bot_writes_to_its_chat(bot_api: TelegramPlatform, telegram: TelegramSender) -> None:
    sent = await telegram.send(to_telegram())
    assert sent.external_id == "1"
    assert bot_api.messages[0].recipient == "42"


async def test_telegram_says_when_to_come_back(bot_api: TelegramPlatform, telegram: TelegramSender) -> None:
    bot_api.busy = 1
    with pytest.raises(TemporaryFailure) as caught:
        await telegram.send(to_telegram())
    assert caught.value.retry_after == 7.0


@pytest.mark.parametrize(("knob", "told"), [("unknown", "chat not found"), ("closed", "blocked")])
async def test_chats_that_cannot_be_reached(bot_api: TelegramPlatform, telegram: TelegramSender, knob: str, told: str) -> None:
    getattr(bot_api, knob).add("42")
    with pytest.raises(Undeliverable, match=told):
        await telegram.send(to_telegram())


async def test_a_chat_that_moved_is_followed(bot_api: TelegramPlatform, telegram: TelegramSender) -> None:
    bot_api.moved["42"] = -1001
    await telegram.send(to_telegram())
    assert bot_api.messages[0].recipient == "-1001"


async def test_trouble_at_telegram_is_waited_for(bot_api: TelegramPlatform, telegram: TelegramSender) -> None:
    bot_api.failing = 1
    with pytest.raises(TemporaryFailure, match="500"):
        await telegram.send(to_telegram())
    assert (await telegram.send(to_telegram())).external_id == "1"


async def test_a_revoked_token_is_the_operators(bot_api: TelegramPlatform, telegram: TelegramSender) -> None:
    bot_api.bots = {"1:new": "demo_bot"}
    with pytest.raises(TemporaryFailure, match="DESK_SENDERS") as caught:
        await telegram.send(to_telegram())
    assert "demo-bot-token" not in caught.value.message


async def test_telegram_counts_in_utf16(bot_api: TelegramPlatform, telegram: TelegramSender) -> None:
    await telegram.send(to_telegram(text="😀" * 3000))
    assert [len(message.text) for message in bot_api.messages] == [2048, 952]


@pytest.mark.parametrize(
    ("status", "body", "uncertain"), [(502, "<html>", True), (503, "<html>", False), (200, "not json", True), (200, ["list"], True)]
)
async def test_answers_that_are_none(status: int, body: Any, uncertain: bool) -> None:
    async with HttpPeer(lambda _: Answer(body, status)) as http:
        sender = TelegramSender()
        await sender.open({"token": "777000:demo-bot-token", "base_url": http.url})
        with pytest.raises(TemporaryFailure) as caught:
            await sender.send(to_telegram())
        await sender.close()
    assert caught.value.uncertain is uncertain


async def test_no_token_means_that_nothing_was_sent() -> None:
    """A cut while the token is fetched is certain: the message has not gone out."""
    async with HttpPeer(lambda _: Answer({}, cut=True)) as http:
        sender = WeChatSender()
        await sender.open({"app_id": "a", "secret": "b", "base_url": http.url})
        with pytest.raises(TemporaryFailure, match="token") as caught:
            await sender.send(to_wechat())
        await sender.close()
    assert not caught.value.uncertain
