"""Customers on every channel, who send again as their real counterparts do until they are answered.

A web form's script repeats with the same Idempotency-Key, a call centre's program posts the same entry again, WeChat delivers a message
three times in all, Telegram until it hears 2xx, a mail server until it hears 250. Each customer and each order number is unique, so that
each input must become exactly one complaint.
"""

from __future__ import annotations

import asyncio
import random

import aiosmtplib
import httpx
import msgspec

from services.demo import inputs
from services.demo.imap_server import ImapServer
from tests.end_to_end.world import Desk, letter

PATIENCE = 180.0
"""Seconds after which a client that is never answered gives up, which fails the test."""
WECHAT_TRIES, WECHAT_WAITS = 3, 5.0


class Told(msgspec.Struct, kw_only=True):
    """One input and what its sender heard. order: unique, stands in the text. answers: the references heard, one an answer."""

    number: int
    channel: str
    order: str
    address: str
    tries: int = 0
    answers: list[str] = []
    answered: bool = False
    trouble: str = ""

    @property
    def text(self) -> str:
        return f"订单 {self.order} 的包裹一直没有收到，物流显示已签收，请尽快查一下，不行就退款。"


class Customers:
    """All of them, and the ways they write. `ways` gives the share of each channel."""

    ways = ("web_form", "web_form", "phone", "wechat", "telegram", "imap", "imap", "smtp")

    def __init__(self, desk: Desk, mailbox: ImapServer, phone_key: dict[str, str], seed: int) -> None:
        self.desk = desk
        self.mailbox = mailbox
        self.phone_key = phone_key
        self.chance = random.Random(seed)
        self.told: list[Told] = []

    def new(self, number: int) -> Told:
        channel = self.ways[number % len(self.ways)]
        order = f"2026112{number:011d}"
        address = {
            "phone": f"139{number:08d}",
            "wechat": f"oChaos{number:06d}",
            "telegram": str(6_000_000 + number),
        }.get(channel, f"kunde{number}@mail.example")
        told = Told(number=number, channel=channel, order=order, address=address)
        self.told.append(told)
        return told

    async def all_write(self, count: int, seconds: float) -> None:
        """`count` inputs, spread over so many seconds at random; comes back when every one of them was answered or has given up."""
        moments = sorted(self.chance.uniform(0, seconds) for _ in range(count))
        loop = asyncio.get_running_loop()
        start = loop.time()
        async with asyncio.TaskGroup() as group:
            for number, moment in enumerate(moments):
                await asyncio.sleep(max(0.0, start + moment - loop.time()))
                group.create_task(self.write(self.new(number)))

    async def write(self, told: Told) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await getattr(self, told.channel)(told)
        except TimeoutError:
            told.trouble = f"never answered in {PATIENCE:.0f} s and {told.tries} tries; {told.trouble}"
        else:
            told.answered = not told.trouble

    async def web_form(self, told: Told) -> None:
        """A form's script. Every third customer clicks twice, and one in five has a script that sends no Idempotency-Key."""
        body = {"name": "王小明", "email": told.address, "order_number": told.order, "text": told.text}
        headers = {"idempotency-key": f'"chaos-{told.number}"'} if told.number % 5 else {}
        clicks = 2 if told.number % 3 == 0 else 1
        await asyncio.gather(*(self.post(told, "/api/v1/complaints", msgspec.json.encode(body), headers) for _ in range(clicks)))

    async def phone(self, told: Told) -> None:
        who = {"caller": told.address, "caller_name": "李雷"}
        entry = inputs.call(call_id=f"call-{told.number}", verbatim=told.text, order_number=told.order, **who)
        await self.post(told, "/api/v1/phone", entry, self.phone_key)

    async def wechat(self, told: Told) -> None:
        """Three tries in all, each after five seconds without an answer; the platform then gives up, and so the customer hears nothing."""
        query, message = inputs.wechat(told.address, told.text, 24_100_000_000 + told.number)
        path = f"/channels/wechat/{inputs.WECHAT_ACCOUNT}?{query}"
        for _ in range(WECHAT_TRIES):
            told.tries += 1
            at = asyncio.get_running_loop().time()
            try:
                answer = await self.desk.http.post(path, content=message, timeout=WECHAT_WAITS)
                if answer.status_code == 200:
                    return
                told.trouble = f"HTTP {answer.status_code} {answer.text[:200]}"
            except httpx.HTTPError as error:
                told.trouble = repr(error)
            await asyncio.sleep(max(0.0, at + WECHAT_WAITS - asyncio.get_running_loop().time()))
        told.trouble = f"the platform gave up after {WECHAT_TRIES} tries: {told.trouble}"

    async def telegram(self, told: Told) -> None:
        body = inputs.telegram(int(told.address), "Wei", "zh", told.text, told.number)
        headers = {"x-telegram-bot-api-secret-token": inputs.TELEGRAM_SECRET, "content-type": "application/json"}
        await self.post(told, f"/channels/telegram/{inputs.TELEGRAM_ACCOUNT}", body, headers, reference=False)

    async def post(self, told: Told, path: str, body: bytes, headers: dict[str, str], *, reference: bool = True) -> None:
        """Until it is answered 2xx; what is said to be wrong for good is noted as trouble."""
        while True:
            told.tries += 1
            try:
                answer = await self.desk.http.post(path, content=body, headers={"content-type": "application/json", **headers})
            except httpx.HTTPError as error:
                told.trouble = repr(error)
            else:
                if answer.is_success:
                    told.trouble = ""
                    if reference:
                        told.answers.append(answer.json()["reference"])
                    return
                told.trouble = f"HTTP {answer.status_code} {answer.text[:300]}"
                if answer.status_code not in (409, 429, 500, 502, 503, 504):
                    return
                if answer.status_code == 503 and "retry-after" not in answer.headers:
                    told.trouble = f"503 without Retry-After: {answer.text[:200]}"
                    return
            await asyncio.sleep(self.chance.uniform(0.2, 1.0))

    def mail(self, told: Told) -> bytes:
        return letter(told.address, f"没有收到货 {told.order}", told.text, f"chaos-{told.number}@mail.example")

    async def imap(self, told: Told) -> None:
        """Into the mailbox; every fourth mail lies there twice, as after a mail server's own retry."""
        raw = self.mail(told)
        copies = 2 if told.number % 4 == 1 else 1
        told.tries += 1
        await asyncio.to_thread(self.mailbox.deliver, *[raw] * copies)

    async def smtp(self, told: Told) -> None:
        """The company's mail server at our door: again after every 4xx and every cut, until it hears 250."""
        raw = self.mail(told)
        while True:
            told.tries += 1
            try:
                door = aiosmtplib.SMTP(hostname="127.0.0.1", port=self.desk.settings.smtp_door_port, start_tls=False, timeout=20)
                async with door as client:
                    await client.sendmail(told.address, [inputs.CARE], raw)
            except aiosmtplib.SMTPResponseException as error:
                told.trouble = f"SMTP {error.code} {error.message}"
                if error.code >= 500:
                    return
            except (aiosmtplib.SMTPException, OSError) as error:
                told.trouble = repr(error)
            else:
                told.trouble = ""
                return
            await asyncio.sleep(self.chance.uniform(0.5, 2.0))
