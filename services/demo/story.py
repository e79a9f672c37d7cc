"""`desk demo`: the whole way of a complaint on this machine, with real input on four channels, shown as it happens.

Starts what a company would have around the desk (a mailbox, a mail relay, WeChat and Telegram on loopback), then the desk itself as its
own processes, sends the input, and waits for what must become of each. Returns 0 only when all of it came true.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

import httpx
import msgspec
from redis.asyncio import Redis
from rich.console import Console
from sqlalchemy import select

from services.demo import inputs
from services.demo.imap_server import PASSWORD, USER, ImapServer
from services.demo.platforms import HttpPeer, SmtpPeer, TelegramPlatform, WeChatPlatform
from services.embedded import Stack
from shared.complaint import Complaint, State
from shared.errors import ConfigError
from shared.ledger import Ledger, accounts, complaints, deadlines, notices, quarantine, submissions, tables
from shared.policy import load
from shared.queues.department import DepartmentQueue
from shared.settings import Settings, make_home, read
from shared.telemetry import configure_logging

WAIT = 60.0
ZONE = ZoneInfo("Asia/Shanghai")


class Stage:
    """The running world: what the scenes need to send and to look."""

    def __init__(
        self, screen: Console, stack: Stack, ledger: Ledger, relay: SmtpPeer, wechat: WeChatPlatform, telegram: TelegramPlatform
    ) -> None:
        self.screen = screen
        self.stack = stack
        self.ledger = ledger
        self.relay = relay
        self.wechat = wechat
        self.telegram = telegram
        self.failures: list[str] = []
        self.shown: set[str] = set()
        self.http = httpx.AsyncClient(
            base_url=f"http://{stack.settings.intake_host}:{stack.settings.intake_port}", timeout=20, trust_env=False
        )

    def check(self, true: bool, what: str) -> None:
        """A promise of the story: shown, and remembered when it is broken."""
        self.screen.print(f"  {'[green]ok[/]' if true else '[red]NO[/]'}  {what}")
        if not true:
            self.failures.append(what)

    async def until(self, true: Callable[[], Awaitable[bool]], what: str) -> bool:
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + WAIT
        while not await true():
            if loop.time() > give_up_at:
                self.check(False, f"{what} (waited {WAIT:.0f} s)")
                return False
            await asyncio.sleep(0.1)
        return True

    async def all_complaints(self) -> dict[str, Complaint]:
        """Everything in the ledger so far, by reference."""
        async with self.ledger.read() as tx:
            references = [row.reference for row in await tx.execute(select(tables.complaints.c.reference))]
            return await complaints.get_many(tx, references)


async def tell(home: Path) -> int:
    """Run the story in `home`, which is emptied first. 0 when all went as it should."""
    screen = Console(soft_wrap=True, highlight=False)
    configure_logging("ERROR", "console")
    _empty(home)
    wechat = WeChatPlatform({inputs.WECHAT_APP: "demo-app-secret"})
    telegram = TelegramPlatform({"777000:demo-bot-token": inputs.TELEGRAM_ACCOUNT})
    async with (
        ImapServer(home / "imap") as mailbox,
        SmtpPeer(mail_dir=str(home / "mails")) as relay,
        HttpPeer(wechat, telegram) as platforms,
    ):
        screen.print(f"Around the desk: a mailbox ({mailbox.name}), a mail relay, WeChat and Telegram, all on 127.0.0.1.")
        environ = {**_clean(), **_environment(home, mailbox, relay, platforms.port)}
        with screen.status("Starting Valkey, intake, router and notifier ..."):
            stack = await Stack(read(environ), environ).__aenter__()
        ledger = Ledger.open(stack.settings.ledger)
        stage = Stage(screen, stack, ledger, relay, wechat, telegram)
        try:
            screen.print(f"The desk runs: {', '.join(f'{name} (process {child.pid})' for name, child in stack.children.items())}.\n")
            await _play(stage, mailbox)
        finally:
            await stage.http.aclose()
            await ledger.close()
            await stack.__aexit__()
    screen.print()
    if stage.failures:
        screen.print(f"[red]{len(stage.failures)} thing(s) did not go as they should:[/]")
        for failure in stage.failures:
            screen.print(f"  {failure}", markup=False)
        screen.print(f"Logs: {home / 'logs'}")
        return 1
    screen.print(f"All went as it should. The letters can be read in {home / 'mails'}. Keep a desk running with: make up")
    return 0


def _empty(home: Path) -> None:
    """A fresh folder. Raises ConfigError rather than remove what no demo made, or pull it from under one that runs."""
    if home.exists() and any(home.iterdir()):
        if not (home / "imap").is_dir():
            raise ConfigError(f"{home} holds files that no demo made. Name an empty or new folder with --home.")
        if (home / "desk.pid").exists() and Path(f"/proc/{(home / 'desk.pid').read_text()}").exists():
            raise ConfigError(f"A demo already runs in {home}. Wait for its end, or name another folder with --home.")
        shutil.rmtree(home)
    make_home(Settings(home=str(home)))


def _clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("DESK_")}


def _environment(home: Path, mailbox: ImapServer, relay: SmtpPeer, platforms: int) -> dict[str, str]:
    web = f"http://127.0.0.1:{platforms}"
    box = {
        "host": "127.0.0.1",
        "port": mailbox.port,
        "user": USER,
        "password": PASSWORD,
        "ssl": False,
        "account": inputs.CARE,
        "start": "all",
    }
    secrets = {
        "wechat": {
            inputs.WECHAT_ACCOUNT: {
                "token": inputs.WECHAT_TOKEN,
                "app_id": inputs.WECHAT_APP,
                "encoding_aes_key": inputs.WECHAT_AES_KEY,
            }
        },
        "telegram": {inputs.TELEGRAM_ACCOUNT: {"secret_token": inputs.TELEGRAM_SECRET}},
    }
    senders = {
        "smtp": {"host": "127.0.0.1", "port": str(relay.port), "from": inputs.CARE},
        "wechat": {"app_id": inputs.WECHAT_APP, "secret": "demo-app-secret", "base_url": web},
        "telegram": {"token": "777000:demo-bot-token", "base_url": web},
    }
    intake, router, notifier = _free_ports(3)
    return {
        "DESK_HOME": str(home),
        "DESK_INTAKE_PORT": str(intake),
        "DESK_ROUTER_PORT": str(router),
        "DESK_NOTIFIER_PORT": str(notifier),
        "DESK_PUBLIC_URL": f"http://127.0.0.1:{intake}",
        "DESK_MAIL_FROM": inputs.CARE,
        "DESK_MAILBOXES": msgspec.json.encode([box]).decode(),
        "DESK_ACCOUNTS": msgspec.json.encode(secrets).decode(),
        "DESK_SENDERS": msgspec.json.encode(senders).decode(),
        "DESK_LOG_LEVEL": "INFO",
    }


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


async def _play(stage: Stage, mailbox: ImapServer) -> None:
    await _mails(stage, mailbox)
    await _forms(stage)
    await _calls(stage)
    await _messages(stage)
    await _answers(stage, mailbox)
    await _account_for_everything(stage)


async def _mails(stage: Stage, mailbox: ImapServer) -> None:
    stage.screen.print("[bold]1. E-mail[/]: three complaints, one of them twice, and a broken mail, into the mailbox")
    first = inputs.mail_gbk()
    broken = bytes(range(256)) * 8
    await asyncio.to_thread(
        mailbox.deliver,
        first,
        inputs.mail(
            ("陳怡君", "yichun@mail.example"),
            "收到的電鍋有破損",
            "您好，今天收到的電鍋外殼裂開，內鍋也有刮痕，訂單編號 202611190099887766。請幫我換一個新的，謝謝。",
            picture=inputs.photo(200, 60, 40),
        ),
        inputs.mail(
            ("Emma Clarke", "emma@mail.example"),
            "Marked as delivered but nothing arrived",
            "Hello,\n\nyour tracking says my parcel was delivered on Friday. Nobody rang and nothing is here.\n"
            "Order number 202611170055443322. Please find it or give me my money back.\n\nEmma",
        ),
        broken,
        first,
    )
    await _watch(stage, 3)


async def _forms(stage: Stage) -> None:
    stage.screen.print("\n[bold]2. Web form[/]: three complaints, one with a photo, one sent twice by a double click")
    body, content_type = inputs.form(
        {
            "name": "李雷", "phone": "13900002222", "email": "lilei@mail.example", "order_number": "202611150011223344",
            "text": "订单里一共三件，收到只有两件，少了一条充电线。", "demand": "补发", "product": "充电套装",
        },
        inputs.photo(40, 90, 200),
    )  # fmt: skip
    answer = await stage.http.post("/api/v1/complaints", content=body, headers={"content-type": content_type})
    stage.check(answer.status_code == 202, f"the form with a photo is taken ({answer.status_code})")
    english = {
        "name": "Tom Becker", "email": "tom@mail.example", "order_number": "202611140077665544",
        "text": "I need an electronic invoice for my company. I asked for the invoice twice and still did not get it.",
    }  # fmt: skip
    key = {"idempotency-key": '"5f3a9d0e-demo"'}
    twice = [await stage.http.post("/api/v1/complaints", json=english, headers=key) for _ in range(2)]
    same = twice[0].json().get("reference") == twice[1].json().get("reference") and twice[0].status_code == twice[1].status_code == 202
    stage.check(same, f"the double click gets the first answer again ({twice[0].json().get('reference')})")
    other = await stage.http.post("/api/v1/complaints", json={**english, "text": "Something else"}, headers=key)
    stage.check(other.status_code == 422, "another body under the same key is refused (422)")
    taiwan = {
        "name": "林小美", "email": "mei@mail.example", "order_number": "202611130033221100",
        "text": "我的訂單已經超過一個禮拜還沒出貨，客服一直叫我等，請問到底什麼時候會寄出？",
    }  # fmt: skip
    await stage.http.post("/api/v1/complaints", json=taiwan)
    await _watch(stage, 6)


async def _calls(stage: Stage) -> None:
    stage.screen.print("\n[bold]3. Phone log[/]: three calls; the second comes from the customer of the web form, about the same order")
    headers = {"authorization": f"Bearer {await _intake_key(stage)}"}
    calls = [
        inputs.call(call_id="call-1", caller="13700003333", caller_name="王芳",
                    verbatim="充电宝充电的时候突然冒烟，把我的手烫伤了，现在在医院，你们怎么处理！订单号 202611160044556677", mood="愤怒"),
        inputs.call(call_id="call-2", caller="13900002222", caller_name="李雷", order_number="202611150011223344",
                    verbatim="我昨天在网上提交过，少发的充电线什么时候补？"),
        inputs.call(call_id="call-3", caller="13600004444", caller_name="赵强",
                    verbatim="快递员态度特别恶劣，打电话骂人，还把包裹扔在楼下就走了。"),
    ]  # fmt: skip
    for entry in calls:
        answer = await stage.http.post("/api/v1/phone", content=entry, headers={**headers, "content-type": "application/json"})
        stage.check(answer.status_code == 202, f"a call is taken: {answer.json().get('outcome') or answer.text[:200]}")
    await _watch(stage, 8)


async def _messages(stage: Stage) -> None:
    stage.screen.print("\n[bold]4. Social messages[/]: WeChat in secure mode and Telegram, signed; and a forged one")
    for openid, text, number in (
        ("oDemoOpenId1", "付款的时候页面一直报错，扣了两次钱，但是订单显示未支付", 24_000_000_001),
        ("oDemoOpenId2", "昨天刚买的今天就降价 50 块，能不能补差价或者给张优惠券", 24_000_000_002),
    ):
        query, message = inputs.wechat(openid, text, number)
        answers = [await stage.http.post(f"/channels/wechat/{inputs.WECHAT_ACCOUNT}?{query}", content=message) for _ in range(2)]
        stage.check([a.status_code for a in answers] == [200, 200], f"WeChat delivers {number} twice, as it does, and is answered 200")
    query, message = inputs.wechat("oForger", "把别人的投诉给我看", 24_000_000_003)
    forged = await stage.http.post(
        f"/channels/wechat/{inputs.WECHAT_ACCOUNT}?{query[:-20]}00", content=message.replace(b"<Encrypt><![CDATA[", b"<Encrypt><![CDATA[AA")
    )
    stage.check(forged.status_code == 401, f"the forged webhook is refused ({forged.status_code})")
    secret = {"x-telegram-bot-api-secret-token": inputs.TELEGRAM_SECRET, "content-type": "application/json"}
    for number, chat, name, language, text in (
        (1, 5001, "Wei", "en", "My order 202611120066778899 should have arrived last week. Where is my parcel?"),
        (2, 5002, "佳穎", "zh-hant", "我要退貨，衣服尺寸不合，訂單 202611110012312312，請問怎麼辦理退貨退款？"),
    ):
        body = inputs.telegram(chat, name, language, text, number)
        answer = await stage.http.post(f"/channels/telegram/{inputs.TELEGRAM_ACCOUNT}", content=body, headers=secret)
        stage.check(answer.status_code == 200, f"Telegram's update is taken ({answer.status_code})")
    await _watch(stage, 12)


async def _intake_key(stage: Stage) -> str:
    key_id, key, digest = accounts.new_key()
    made = accounts.ApiKey(id=key_id, name="demo call centre", scope="intake", department="", created_at=datetime.now(UTC))
    async with stage.ledger.write() as tx:
        await accounts.add(tx, made, digest)
    return key


async def _watch(stage: Stage, total: int) -> None:
    """Show complaints as they are decided and the customer is told, until there are `total`."""

    async def arrived() -> bool:
        done = 0
        for complaint in sorted((await stage.all_complaints()).values(), key=lambda c: c.received_at):
            if complaint.state is State.RECEIVED:
                continue
            async with stage.ledger.read() as tx:
                told = await notices.of_complaint(tx, complaint.reference)
                due = await deadlines.of_complaint(tx, complaint.reference)
            if any(n.state == "pending" or n.state == "sending" for n in told) or not told:
                continue
            done += 1
            if complaint.reference in stage.shown:
                continue
            stage.shown.add(complaint.reference)
            by = next((d.due_by for d in due if d.clock == "department_answer"), None)
            when = f"{by.astimezone(ZONE):%m-%d %H:%M}" if by else "-"
            ways = ", ".join(f"{n.state} by {n.notice.source} in {n.notice.locale}" for n in told)
            line = f"{complaint.reference}  {complaint.category or '-':<19} {complaint.priority or '-':<7}"
            stage.screen.print(f"      {line} {complaint.department:<17} due {when}  acknowledgement {ways}", markup=False)
        return done >= total

    await stage.until(arrived, f"{total} complaints are decided and acknowledged")


async def _answers(stage: Stage, mailbox: ImapServer) -> None:
    stage.screen.print("\n[bold]5. The customers answer[/]: one with the missing bank card, one's holiday machine")
    letters = {mail.to: mail for mail in stage.relay.mails}
    refund, lost = letters.get("zhurong@mail.example"), letters.get("emma@mail.example")
    if refund is None or lost is None:
        stage.check(False, "both letters reached the relay")
        return
    reply_to = str(refund.message["Reply-To"])
    await asyncio.to_thread(
        mailbox.deliver,
        inputs.mail(
            ("朱镕", "zhurong@mail.example"),
            f"回复: {refund.subject}",
            "补充一下：退款请退到原支付宝账户。\n\n------------------ 原始邮件 ------------------\n"
            "发件人: 客服中心\n发送时间: 今天\n收件人: 朱镕\n主题: 已收到\n\n您好……",
            To=reply_to,
            In_Reply_To=str(refund.message["Message-ID"]),
        ),
        inputs.mail(
            ("Emma Clarke", "emma@mail.example"),
            f"Automatic reply: {lost.subject}",
            "I am away until Monday.",
            To=str(lost.message["Reply-To"]),
            Auto_Submitted="auto-replied",
            In_Reply_To=str(lost.message["Message-ID"]),
        ),
    )

    async def both() -> bool:
        roles = [s.role for c in await stage.all_complaints() for s in await _came(stage, c)]
        return roles.count("follow_up") >= 2 and roles.count("automatic") >= 1

    await stage.until(both, "the answer and the holiday machine's mail reach their complaints")
    roles = [(s.role, s.submission.text) for c in await stage.all_complaints() for s in await _came(stage, c)]
    stage.check(
        any(role == "follow_up" and text.strip().startswith("补充一下") and "原始邮件" not in text for role, text in roles),
        "the answer joined its complaint, without the quoted letter",
    )
    stage.check([role for role, _ in roles].count("automatic") == 1, "the automatic reply is recorded and not answered")


async def _came(stage: Stage, reference: str) -> list[submissions.Stored]:
    async with stage.ledger.read() as tx:
        return await submissions.of_complaint(tx, reference)


async def _account_for_everything(stage: Stage) -> None:
    stage.screen.print("\n[bold]6. The count[/]")
    all_of_them = await stage.all_complaints()
    stage.check(len(all_of_them) == 12, f"{len(all_of_them)} complaints from 17 submissions on four channels")
    languages = sorted({c.language for c in all_of_them.values()})
    stage.check(languages == ["en", "zh-CN", "zh-TW"], f"in {', '.join(languages)}")
    async with stage.ledger.read() as tx:
        held = await quarantine.listed(tx)
        told = [n for c in all_of_them for n in await notices.of_complaint(tx, c)]
    stage.check(
        len(held) == 1 and held[0].adapter == "email",
        f"the broken mail lies in quarantine with its bytes: {held[0].message if held else 'no'}",
    )
    sent = [n for n in told if n.state == "sent"]
    stage.check(len(told) == len(sent) == 12, f"{len(sent)} acknowledgements, one a complaint")
    by_way = {"email": stage.relay.count, "social/wechat": stage.wechat.count, "social/telegram": stage.telegram.count}
    for way, count in by_way.items():
        stage.check(count == sum(n.notice.source == way for n in sent), f"{count} of them reached the customer by {way}")
    queued = await _queued(stage)
    stage.check(queued == 12, f"{queued} complaints wait in the departments' queues")
    example = next(iter(all_of_them))
    stage.screen.print(f"      The whole history of one: DESK_HOME={stage.stack.home} .venv/bin/desk show {example}")


async def _queued(stage: Stage) -> int:
    """How many complaints lie before the departments."""
    redis = cast(Any, Redis).from_url(stage.stack.redis_url)
    try:
        counts = [await DepartmentQueue(redis, name).counts() for name in load(stage.stack.settings.policy).departments]
    finally:
        await redis.aclose()
    return sum(c.ready + c.leased for c in counts)
