"""The outside world as a process of its own: it says where it is, takes mail and messages, shows them, and turns its knobs."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from services.notifier.compose import compose
from services.notifier.senders.smtp import SmtpSender
from services.notifier.senders.telegram import TelegramSender
from shared.errors import TemporaryFailure
from shared.notice_details import Acknowledgement
from tests.notifier.notices import DESK, REFERENCE, SECRET, SOON, notice


class World(NamedTuple):
    ports: dict[str, Any]
    mail_dir: Path
    watch: httpx.AsyncClient


@pytest.fixture
async def world(tmp_path: Path) -> AsyncGenerator[World]:
    command = (sys.executable, "-m", "services.demo.platforms", "--mail-dir", str(tmp_path / "mails"))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    ports = json.loads(await process.stdout.readline())
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports['http_port']}", trust_env=False) as watch:
        yield World(ports, tmp_path / "mails", watch)
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0


async def test_people_can_read_what_was_sent(world: World) -> None:
    letter = compose(notice(Acknowledgement(next_by=SOON), subject="杯子碎了"), desk=DESK, secret=SECRET)
    sender = SmtpSender()
    await sender.open({"port": str(world.ports["smtp_port"]), "hello": "desk"})
    await sender.send(letter)
    (mail,) = (await world.watch.get("/peer/mails")).json()
    assert (mail["to"], mail["subject"], mail["message_id"]) == ("customer@mail.example", f"Re: [{REFERENCE}] 杯子碎了", letter.message_id)
    assert mail["text"] == letter.text
    assert [file.name for file in world.mail_dir.iterdir()] == ["00001-customer@mail.example.eml"]
    await sender.send(letter)
    counts = (await world.watch.get("/peer/counts")).json()
    assert counts == {"mails": 2, "wechat": 0, "telegram": 0, "repeated_message_ids": {letter.message_id: 2}}
    assert len((await world.watch.get("/peer/mails", params={"since": 1})).json()) == 1
    await world.watch.post("/peer/clear")
    assert (await world.watch.get("/peer/counts")).json()["mails"] == 0
    await sender.close()


async def test_faults_are_set_from_outside(world: World) -> None:
    telegram = TelegramSender()
    await telegram.open({"token": "777000:demo-bot-token", "base_url": str(world.watch.base_url)})
    letter = compose(notice(Acknowledgement(next_by=SOON), source="social/telegram", recipient="42"), desk=DESK, secret=SECRET)
    assert (await world.watch.post("/peer/faults", json={"telegram": {"busy": 1}, "smtp": {"busy": 2}})).status_code == 200
    with pytest.raises(TemporaryFailure):
        await telegram.send(letter)
    await telegram.send(letter)
    assert [message["recipient"] for message in (await world.watch.get("/peer/messages")).json()["telegram"]] == ["42"]
    refused = await world.watch.post("/peer/faults", json={"telegram": {"bussy": 1}})
    assert (refused.status_code, refused.json()) == (400, {"error": "there is no knob telegram.bussy"})
    assert (await world.watch.get("/nowhere")).status_code == 404
    await telegram.close()
