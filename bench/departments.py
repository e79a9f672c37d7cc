"""Claim and settle per second: over HTTP and with the Python client, one router process, ledger on SQLite (synchronous=FULL).

    python -m bench.departments [--complaints 3000] [--clients 16] [--only http]

cpu_ms is what the router's process itself spent on one unit, which says more on a machine that others use too.
Each unit is one claim (with the customer's text) and one `done` with a resolution: history, clocks, result notice and outbox committed.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import socket
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import psutil
import uvloop

from services.process import open_desk, serve
from services.router.app import build
from shared.client import DeskClient
from shared.complaint import (
    Category,
    Channel,
    Complaint,
    Customer,
    Deadline,
    Decision,
    Event,
    Identity,
    Priority,
    State,
    Submission,
    encode,
)
from shared.dialogue import Resolve, SettleOne
from shared.ledger import accounts, complaints, deadlines, submissions
from shared.queues.contract import Item
from shared.settings import Settings
from tests.valkey import private_valkey

RESOLUTION = {"cause": "拣货时漏放一件。", "measure": "已补发缺少的耳机，顺丰 SF1234567890。", "improvement": "改为双人复核。"}
CLOCKS = ("first_response", "customer_reply", "department_answer", "resolution", "follow_up", "escalation_1", "escalation_2")


async def file(settings: Settings, first: int, count: int) -> None:
    """`count` complaints before the warehouse."""
    async with open_desk(settings) as desk:
        now = datetime.now(UTC)
        due = now + timedelta(hours=12)
        decision = Decision(category=Category.MISSING_ITEMS, priority=Priority.NORMAL, department="warehouse", confidence=0.9)
        made = [_complaint(f"C261122-{n:06d}", now, decision) for n in range(first, first + count)]
        async with desk.ledger.write() as tx:
            await complaints.insert_new(tx, [msgspec.structs.replace(c, version=1) for c in made])
            await submissions.insert_new(tx, [_submission(c) for c in made])
            await complaints.save_decided(tx, [(c, due) for c in made])
            await complaints.add_events(
                tx, [Event(c.reference, n, now, k, "bench") for c in made for n, k in ((1, "received"), (2, "decided"))]
            )
            await deadlines.add(tx, [(c.reference, Deadline(clock=k, due_by=due, why="自然时间")) for c in made for k in CLOCKS])
        items = [Item(reference=c.reference, priority=Priority.NORMAL, due_at=due.timestamp()) for c in made]
        await desk.queues["warehouse"].put(items)


def _complaint(reference: str, now: datetime, decision: Decision) -> Complaint:
    return Complaint(
        reference=reference, state=State.ASSIGNED, channel=Channel.WEB_FORM, source="web_form", account="web", customer_id=reference,
        received_at=now, updated_at=now, version=2, subject="少发了一件", order_number=reference[-6:], category=Category.MISSING_ITEMS,
        priority=Priority.NORMAL, department="warehouse", confidence=0.9, decision=decision,
    )  # fmt: skip


def _submission(c: Complaint) -> dict[str, Any]:
    said = Submission(
        channel=Channel.WEB_FORM, source="web_form", account="web", text="收到的包裹里少了一副耳机，请尽快补发。" * 12, subject=c.subject,
        customer=Customer(name="王芳", identities=(Identity("email", f"{c.reference.lower()}@example.com"),)),
    )  # fmt: skip
    return {
        "dedupe_key": c.reference, "reference": c.reference, "role": "complaint", "received_at": c.received_at,
        "body": encode(said).decode(), "raw": b"x", "raw_blob": "", "headers": "{}",
    }  # fmt: skip


def serve_desk(settings: Settings) -> None:
    """The router's web side alone, in a process of its own."""

    async def main() -> None:
        async with open_desk(settings, consumer="bench") as desk:
            await serve(desk, build(desk), (settings.router_host, settings.router_port), {})

    uvloop.run(main())


class Line:
    """One kept-alive connection that costs the client's side next to nothing."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._head = f"Host: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)

    async def post(self, path: str, body: Any) -> Any:
        data = msgspec.json.encode(body)
        self._writer.write(f"POST /api/v1/{path} HTTP/1.1\r\n{self._head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        answer = await self._reader.readexactly(length)
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(answer.decode())
        return msgspec.json.decode(answer)


async def over_http(port: int, key: str, clients: int, batch: int) -> int:
    """Each client claims `batch` and settles each by itself (batch 1), or all in one request."""

    async def work() -> int:
        line, done = Line(port, key), 0
        await line.open()
        while leases := (await line.post("departments/warehouse/claim", {"n": batch}))["leases"]:
            ends = [{"token": one["token"], "outcome": "done", "resolution": RESOLUTION} for one in leases]
            if batch == 1:
                await line.post(f"leases/{leases[0]['reference']}/settle", ends[0])
            else:
                many = [{**end, "reference": one["reference"]} for end, one in zip(ends, leases, strict=True)]
                answer = await line.post("departments/warehouse/settle", {"settlements": many})
                assert len(answer["settled"]) == len(leases)
            done += len(leases)
        return done

    return sum(await asyncio.gather(*(work() for _ in range(clients))))


async def with_client(port: int, key: str, clients: int, batch: int) -> int:
    async def work(desk: DeskClient) -> int:
        done = 0
        while works := await desk.claim(batch):
            if batch == 1:
                await works[0].done(**RESOLUTION)
            else:
                ends = [
                    SettleOne(reference=w.reference, token=w.lease.token, outcome="done", resolution=Resolve(**RESOLUTION)) for w in works
                ]
                assert len((await desk.settle_many(ends)).settled) == len(works)
            done += len(works)
        return done

    async with DeskClient(f"http://127.0.0.1:{port}", key, "warehouse", connections=clients) as desk:
        return sum(await asyncio.gather(*(work(desk) for _ in range(clients))))


async def measure(settings: Settings, count: int, clients: int, only: str = "") -> dict[str, float]:
    async with open_desk(settings) as desk:
        key_id, key, digest = accounts.new_key()
        now = datetime.now(UTC)
        async with desk.ledger.write() as tx:
            owner = accounts.ApiKey(id=key_id, name="bench", scope="department", department="warehouse", created_at=now)
            await accounts.add(tx, owner, digest)
    server = multiprocessing.get_context("spawn").Process(target=serve_desk, args=(settings,))
    server.start()
    figures: dict[str, float] = {}
    try:
        await _until_it_answers(settings.router_port)
        ways = (("http", over_http, 1), ("http_batch_16", over_http, 16), ("client", with_client, 1), ("client_batch_16", with_client, 16))
        for n, (name, way, batch) in enumerate(ways):
            if only not in ("", name):
                continue
            await file(settings, n * count, count)
            router = psutil.Process(server.pid)
            spent, started = sum(router.cpu_times()[:2]), time.perf_counter()
            done = await way(settings.router_port, key, clients if batch == 1 else 4, batch)
            figures[f"{name}_per_second"] = round(done / (time.perf_counter() - started), 1)
            figures[f"{name}_cpu_ms"] = round(1000 * (sum(router.cpu_times()[:2]) - spent) / done, 3)
            assert done == count, f"{name}: {done} of {count}"
    finally:
        server.terminate()
        server.join(30)
    return figures


async def _until_it_answers(port: int) -> None:
    give_up_at = time.monotonic() + 20
    while time.monotonic() < give_up_at:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise RuntimeError("the router did not start")


def main() -> None:
    """Print the figures as one JSON line."""
    options = argparse.ArgumentParser()
    options.add_argument("--complaints", type=int, default=3000)
    options.add_argument("--clients", type=int, default=16)
    options.add_argument("--only", default="", help="http, http_batch_16, client or client_batch_16")
    chosen = options.parse_args()
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with private_valkey() as valkey, tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=str(Path(folder)), redis_url=valkey.url, router_port=port, secret="x" * 64, log_level="WARNING")
        print(msgspec.json.encode(uvloop.run(measure(settings, chosen.complaints, chosen.clients, chosen.only))).decode())


if __name__ == "__main__":
    main()
