"""A complaint on each channel comes to the right department's queue, and its customer is answered there, in the customer's language."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import aiosmtplib
import msgspec
import pytest
from sqlalchemy import select

from services.demo import inputs
from shared.complaint import Notice
from shared.ledger import tables
from tests.end_to_end.world import Outside, Whole, environment, outside, until, whole_desk

pytestmark = [pytest.mark.end_to_end, pytest.mark.xdist_group("processes"), pytest.mark.timeout(300)]


class Case(NamedTuple):
    """One complaint: by which channel, from whom, in which words, and what must become of it."""

    channel: str
    who: str
    text: str
    department: str
    locale: str
    greeting: str


CASES = (
    Case("web_form", "lan@mail.example", "退货已经一周了，退款一直没有到账，请把钱退给我。", "finance", "zh-CN", "登记"),
    Case("imap", "mei@mail.example", "我的訂單少寄了一件，箱子裡只有兩個杯子，請補寄。", "warehouse", "zh-TW", "收件"),
    Case("smtp", "emma@mail.example", "The tracking says my parcel was delivered but I never received it.", "logistics", "en", "sorry"),
    Case("phone", "13900008888", "快递员态度特别恶劣，打电话骂人。", "customer_service", "zh-CN", ""),
    Case("wechat", "oEndToEnd1", "付款的时候页面一直报错，系统崩溃了，扣了两次钱。", "technology", "zh-CN", "登记"),
    Case("telegram", "70011700117", "Please send me the electronic invoice, I asked for the invoice twice.", "finance", "en", "sorry"),
)


async def tell(whole: Whole, world: Outside, case: Case, phone_key: dict[str, str]) -> None:
    """Send it the way its channel does."""
    http = whole.desk.http
    if case.channel == "web_form":
        answer = await http.post("/api/v1/complaints", json={"name": "王兰", "email": case.who, "text": case.text})
        assert answer.status_code == 202, answer.text
    elif case.channel == "imap":
        assert world.mailbox is not None
        await asyncio.to_thread(world.mailbox.deliver, inputs.mail(("陳美", case.who), "訂單少寄", case.text))
    elif case.channel == "smtp":
        async with aiosmtplib.SMTP(hostname="127.0.0.1", port=whole.desk.settings.smtp_door_port, start_tls=False) as client:
            await client.sendmail(case.who, [inputs.CARE], inputs.mail(("Emma", case.who), "My parcel", case.text))
    elif case.channel == "phone":
        entry = inputs.call(call_id="call-1", caller=case.who, caller_name="赵强", verbatim=case.text)
        answer = await http.post("/api/v1/phone", content=entry, headers={"content-type": "application/json", **phone_key})
        assert answer.status_code == 202, answer.text
    elif case.channel == "wechat":
        query, message = inputs.wechat(case.who, case.text, 24_200_000_001)
        assert (await http.post(f"/channels/wechat/{inputs.WECHAT_ACCOUNT}?{query}", content=message)).status_code == 200
    else:
        headers = {"x-telegram-bot-api-secret-token": inputs.TELEGRAM_SECRET, "content-type": "application/json"}
        body = inputs.telegram(int(case.who), "Tom", "en", case.text, 1)
        assert (await http.post(f"/channels/telegram/{inputs.TELEGRAM_ACCOUNT}", content=body, headers=headers)).status_code == 200


def reached(world: Outside, case: Case) -> list[str]:
    """The texts that came to the customer."""
    chats = (*world.wechat.messages, *world.telegram.messages)
    return [mail.text for mail in world.relay.mails if mail.to == case.who] + [chat.text for chat in chats if chat.recipient == case.who]


@pytest.fixture
async def place(ledger_url: str, tmp_path: Path) -> AsyncIterator[tuple[Whole, Outside]]:
    """A whole desk, once on SQLite and once on PostgreSQL, and its world."""
    async with outside(imap=True) as world, whole_desk(environment(tmp_path / "home", world, ledger_url=ledger_url)) as whole:
        yield whole, world


async def test_every_channel_reaches_its_department_and_answers_its_customer(place: tuple[Whole, Outside]) -> None:
    whole, world = place
    desk = whole.desk
    key = await desk.new_key()
    for case in CASES:
        await tell(whole, world, case, key)

    async def done() -> bool:
        states = await desk.notices()
        return len(states) == len(CASES) == len(await desk.queued()) and set(states.values()) == {"sent"}

    async def standing() -> str:
        return f"{await desk.notices()}\n{await desk.stories(await desk.references(), 10)}"

    await until(done, standing, 60 * whole.slowness)
    queued = await desk.queued()
    async with desk.ledger.read() as tx:
        bodies = {row.reference: row.body for row in await tx.execute(select(tables.submissions.c.reference, tables.submissions.c.body))}
        noticed = (await tx.execute(select(tables.notices.c.body))).scalars()
        told = {notice.reference: notice for notice in (msgspec.json.decode(body, type=Notice) for body in noticed)}
    for case in CASES:
        reference = next(r for r, body in bodies.items() if case.text in msgspec.json.decode(body)["text"])
        assert queued[reference] == [case.department], f"{case}\n{await desk.story(reference)}"
        assert told[reference].locale == case.locale, f"{case}\n{await desk.story(reference)}"
        letters = reached(world, case)
        assert len(letters) == (case.channel != "phone"), f"{case}: {letters}"
        assert all(reference in letter and case.greeting in letter for letter in letters), letters
    private = ["demo-bot-token", "token-wx", "demo-app-secret", inputs.TELEGRAM_SECRET]
    private += [word for case in CASES for word in (case.who, case.text)]
    for log in (whole.stack.home / "logs").glob("*.log"):
        said = log.read_text(errors="replace")
        assert not [word for word in private if word in said], f"{log.name} tells what is private"
