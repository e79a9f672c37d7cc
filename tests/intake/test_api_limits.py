"""When things go wrong: bodies too large, too slow or cut short, the ledger or Redis away, the service stopped in the middle."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from services.intake import requests
from services.intake.requests import CutShort, TooSlow, read_body
from shared.errors import TooLarge
from shared.ledger import Ledger, complaints, outbox
from tests.arrivals import AT
from tests.intake.serving import SECRET, Intake, answering, free_port, serving
from tests.queues.waiting import wait_until
from tests.valkey import PrivateValkey

BODY = msgspec.json.encode({"text": "壶坏了", "phone": "13800138000"})


def head(path: str, length: int | None, more: str = "") -> bytes:
    size = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    return f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{size}\r\n{more}\r\n".encode()


async def test_a_body_said_to_be_too_large_is_refused_before_it_is_sent(intake: Intake) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", intake.port)
    writer.write(head("/api/v1/complaints", 1 << 30))
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    assert answer.startswith(b"HTTP/1.1 413")
    writer.close()


async def test_a_body_that_turns_out_too_large_is_refused(tmp_path: Path, sqlite_url: str, shared_valkey: PrivateValkey) -> None:
    async with serving(tmp_path / "home", sqlite_url, shared_valkey.url, max_submission=100_000) as intake:

        async def endless() -> Any:
            for _ in range(10):
                yield b"x" * 100_000

        answer = await intake.http.post("/api/v1/complaints", content=endless(), headers={"content-type": "application/json"})
        assert answer.status_code == 413
        assert answer.json()["code"] == "too_large"
        assert "100,000" not in answer.json()["title"]


class Sender:
    """What a server hands on of a body: the given pieces, then silence, or the end of the connection."""

    def __init__(self, *pieces: bytes, hangs_up: bool = False) -> None:
        self._messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
        if hangs_up:
            self._messages.append({"type": "http.disconnect"})

    async def __call__(self) -> Any:
        if not self._messages:
            await asyncio.Event().wait()
        return self._messages.pop(0)


async def test_a_sender_who_falls_silent_is_given_up() -> None:
    with pytest.raises(TooSlow):
        await read_body([], Sender(b"{"), 1000, patience=0.01)


async def test_a_sender_who_hangs_up_is_not_half_believed() -> None:
    with pytest.raises(CutShort):
        await read_body([], Sender(b'{"text": "x"', hangs_up=True), 1000)


async def test_a_drained_body_is_refused_all_the_same() -> None:
    message = {"type": "http.request", "body": b"x" * 50, "more_body": False}

    async def rest() -> Any:
        return message

    with pytest.raises(TooLarge):
        await read_body([(b"content-length", b"50")], rest, 10, drain=100)


def test_the_limits_leave_room_for_a_poor_line() -> None:
    """25 MB in the whole time is what a poor mobile line manages."""
    assert (26_214_400 + requests.FORM_OVERHEAD) / requests.WHOLE < 100_000


async def test_while_the_ledger_is_away_nothing_is_taken_and_the_client_is_told_when_to_come_again(
    tmp_path: Path, sqlite_url: str, shared_valkey: PrivateValkey
) -> None:
    async with serving(tmp_path / "home", sqlite_url, shared_valkey.url) as intake:
        async with intake.desk.ledger.engine.connect() as connection:
            path = connection.engine.url.database or ""
        await intake.desk.ledger.close()
        kept = Path(path).rename(f"{path}.away")
        for suffix in ("-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        Path(path).mkdir()  # nobody can open a folder as a database
        answer = await intake.http.post("/api/v1/complaints", content=BODY, headers={"content-type": "application/json"})
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["code"] == "temporary_failure"
        page = await intake.http.post("/", data={"text": "壶坏了", "phone": "13800138000"})
        assert page.status_code == 503
        assert "没有提交成功" in page.text
        assert (await intake.http.get("/ready")).status_code == 503
        assert (await intake.http.get("/metrics")).status_code == 200
        Path(path).rmdir()
        kept.rename(path)
        answer = await intake.http.post("/api/v1/complaints", content=BODY, headers={"content-type": "application/json"})
        assert answer.json()["outcome"] == "accepted"


async def test_while_redis_is_away_complaints_are_taken_and_wait_in_the_outbox(
    tmp_path: Path, sqlite_url: str, own_valkey: PrivateValkey
) -> None:
    async with serving(tmp_path / "home", sqlite_url, own_valkey.url) as intake:
        own_valkey.kill()
        answer = await intake.http.post("/api/v1/complaints", content=BODY, headers={"content-type": "application/json"})
        assert answer.status_code == 202
        assert (await intake.http.get("/ready")).json()["status"] == "degraded"

        async def waiting() -> list[str]:
            async with intake.desk.ledger.read() as tx:
                return [entry.topic for entry in await outbox.waiting(tx, before=AT.replace(year=2999))]

        assert sorted(await waiting()) == ["received"] or sorted(await waiting()) == ["notice", "received"]
        own_valkey.start()

        async def nothing_waits() -> bool:
            return not await waiting()

        await wait_until(nothing_waits, "the relay handed all over once Redis was back", 20)
        assert await intake.desk.redis.xlen("desk:s:{received}") == 1


async def test_the_service_as_a_process_takes_what_is_under_way_when_it_is_stopped(
    tmp_path: Path, sqlite_url: str, shared_valkey: PrivateValkey
) -> None:
    port = free_port()
    environ = {
        "PATH": os.environ["PATH"],
        "DESK_HOME": str(tmp_path / "home"),
        "DESK_LEDGER_URL": sqlite_url,
        "DESK_REDIS_URL": shared_valkey.url,
        "DESK_SECRET": SECRET,
        "DESK_INTAKE_PORT": str(port),
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "services.intake.app", env=environ, stderr=asyncio.subprocess.PIPE)
    try:
        await answering(port, 40)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            assert (await http.get("/health")).json()["status"] == "ok"
            assert (await http.get("/ready")).json()["status"] == "ok"
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head("/api/v1/complaints", len(BODY)) + BODY[:10])
        await writer.drain()
        assert process.stderr
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            await http.get("/health")  # what was written before it has been read by now
        process.send_signal(signal.SIGTERM)
        while b"service.stopping" not in await asyncio.wait_for(process.stderr.readline(), 10):
            pass
        writer.write(BODY[10:])
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        assert answer.startswith(b"HTTP/1.1 202"), answer
        writer.close()
        assert await asyncio.wait_for(process.wait(), 30) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    ledger = Ledger.open(sqlite_url)
    async with ledger.read() as tx:
        assert await complaints.count(tx) == 1
    await ledger.close()


async def test_a_wrong_setting_keeps_the_process_from_starting_and_is_named() -> None:
    environ = {"PATH": os.environ["PATH"], "DESK_INTAKE_PROT": "1"}
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "services.intake.app", env=environ, stderr=asyncio.subprocess.PIPE)
    _, said = await asyncio.wait_for(process.communicate(), 40)
    assert process.returncode != 0
    assert b"DESK_INTAKE_PORT" in said
