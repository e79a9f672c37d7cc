"""The platforms that the conformance checks run the four senders against."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from services.demo.chat_platforms import ChatPlatform, TelegramPlatform, WeChatPlatform
from services.demo.http_peer import HttpPeer
from services.demo.smtp_peer import SmtpFaults, SmtpPeer
from services.notifier.conformance import Fault, Taken

USER, PASSWORD = "care", "correct horse battery staple"


class MailWorld:
    source = "email"
    recipient = "customer@mail.example"
    secrets: Sequence[str] = (PASSWORD,)

    def __init__(self, peer: SmtpPeer) -> None:
        self.peer = peer

    @property
    def settings(self) -> Mapping[str, str]:
        return {
            "port": str(self.peer.port),
            "user": USER,
            "password": PASSWORD,
            "hello": "desk",
            "timeout": "5",
        }

    def taken(self) -> list[Taken]:
        return [Taken(mail.to, mail.text, mail.message_id) for mail in self.peer.mails]

    async def clear(self) -> None:
        self.peer.clear()
        self.peer.faults = SmtpFaults()
        self.peer.login = (USER, PASSWORD)
        if self.peer.server is None:
            await self.peer.start()

    async def fault(self, fault: Fault) -> bool:
        match fault:
            case Fault.BUSY:
                self.peer.faults.busy = 1
            case Fault.UNKNOWN_RECIPIENT:
                self.peer.faults.refuse[self.recipient] = "550 5.1.1 no such user"
            case Fault.CUT:
                self.peer.faults.cut_after_data = 1
            case Fault.AWAY:
                await self.peer.stop()
            case Fault.WRONG_LOGIN:
                self.peer.login = (USER, "another password")
        return True


class ChatWorld:
    """WeChat and Telegram alike; what differs is given."""

    def __init__(self, http: HttpPeer, platform: WeChatPlatform | TelegramPlatform) -> None:
        self.http = http
        self.platform: ChatPlatform = platform
        wechat = isinstance(platform, WeChatPlatform)
        self.source = "social/wechat" if wechat else "social/telegram"
        self.recipient = "oConformance" if wechat else "7700112233"
        self.secrets: Sequence[str] = ("demo-app-secret", "token-wx") if wechat else ("777000:demo-bot-token",)

    @property
    def settings(self) -> Mapping[str, str]:
        login = {"app_id": "wx_demo_app", "secret": self.secrets[0]} if self.source == "social/wechat" else {"token": self.secrets[0]}
        return {**login, "base_url": self.http.url, "timeout": "5"}

    def taken(self) -> list[Taken]:
        return [Taken(message.recipient, message.text) for message in self.platform.messages]

    async def clear(self) -> None:
        self.platform.clear()
        self.platform.busy = self.platform.cut_after_send = 0
        self.platform.unknown.clear()
        if isinstance(self.platform, TelegramPlatform):
            self.platform.bots = {"777000:demo-bot-token": "demo_bot"}
        elif isinstance(self.platform, WeChatPlatform):
            self.platform.accounts = {"wx_demo_app": "demo-app-secret"}
            self.platform.expire_tokens()
        if self.http.server is None:
            await self.http.start()

    async def fault(self, fault: Fault) -> bool:
        match fault:
            case Fault.BUSY:
                self.platform.busy = 1
            case Fault.UNKNOWN_RECIPIENT:
                self.platform.unknown.add(self.recipient)
            case Fault.CUT:
                self.platform.cut_after_send = 1
            case Fault.AWAY:
                await self.http.stop()
            case Fault.WRONG_LOGIN if isinstance(self.platform, TelegramPlatform):
                self.platform.bots = {"1:revoked": "demo_bot"}
            case Fault.WRONG_LOGIN if isinstance(self.platform, WeChatPlatform):
                self.platform.accounts = {"wx_demo_app": "another secret"}
            case _:
                return False
        return True


class CallBackList:
    """Behind the console sender: the file it writes. The words stay in the desk; the line is all that goes out."""

    source = "phone"
    recipient = "+8613800000000"
    secrets: Sequence[str] = ()

    def __init__(self, folder: Path) -> None:
        self.file = folder / "calls.txt"
        self.settings: Mapping[str, str] = {"file": str(self.file)}

    def lines(self) -> list[str]:
        return self.file.read_text(encoding="utf-8").splitlines() if self.file.exists() else []

    def taken(self) -> list[Taken]:
        return [Taken(self.recipient, line) for line in self.lines()]

    async def clear(self) -> None:
        self.file.unlink(missing_ok=True)

    async def fault(self, fault: Fault) -> bool:
        return False


World = MailWorld | ChatWorld | CallBackList


@asynccontextmanager
async def world(name: str, folder: Path) -> AsyncGenerator[World]:
    if name == "console":
        yield CallBackList(folder)
    elif name == "smtp":
        async with SmtpPeer(login=(USER, PASSWORD)) as peer:
            yield MailWorld(peer)
    else:
        platform = WeChatPlatform() if name == "wechat" else TelegramPlatform()
        async with HttpPeer(platform) as http:
            yield ChatWorld(http, platform)
