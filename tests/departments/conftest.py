"""A router's web side in full: real Valkey, a ledger on each database, the relay running, and a real HTTP server on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import msgspec
import pytest
from granian.constants import Interfaces
from granian.server.embed import Server
from redis.asyncio import Redis

from services.process import Desk
from services.router.app import build
from services.router.departments.leases import Departments
from shared.complaint import (
    Attachment,
    Category,
    Channel,
    Complaint,
    Customer,
    Deadline,
    Decision,
    Event,
    Identity,
    Priority,
    Reason,
    State,
    Submission,
    Thread,
    encode,
)
from shared.ledger import Ledger, accounts, complaints, customers, deadlines, outbox, submissions
from shared.ledger.outbox import Entry, Topic
from shared.policy import load
from shared.queues.contract import Place
from shared.settings import Settings
from tests.valkey import PrivateValkey, private_valkey

NOW = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)


async def wait_until(holds: Callable[[], Awaitable[bool]], seconds: float = 10.0) -> None:
    give_up_at = time.monotonic() + seconds
    while not await holds():
        assert time.monotonic() < give_up_at, f"not within {seconds} s: {holds}"
        await asyncio.sleep(0.01)


@pytest.fixture(scope="session")
def valkey() -> Iterator[PrivateValkey]:
    with private_valkey() as server:
        yield server


@pytest.fixture
async def redis(valkey: PrivateValkey) -> AsyncIterator[Redis]:
    async with Redis.from_url(valkey.url) as client:
        await client.flushall()
        yield client


@pytest.fixture
async def desk(ledger: Ledger, redis: Redis, tmp_path: Path) -> AsyncIterator[Desk]:
    made = Desk(Settings(home=str(tmp_path), secret="x" * 64), load(), ledger, redis, consumer="test")
    running = asyncio.create_task(made.relay.run())
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    for queue in made.queues.values():
        await queue.aclose()


@dataclass
class Filing:
    """Puts complaints before departments, as intake and router would have."""

    desk: Desk
    number: int = 0
    references: list[str] = field(default_factory=list)

    async def __call__(
        self,
        department: str = "warehouse",
        *,
        priority: Priority = Priority.NORMAL,
        state: State = State.ASSIGNED,
        due_in: float = 12.0,
        identities: tuple[Identity, ...] | None = None,
        language: str = "zh-CN",
        text: str = "收到的包裹里少了一副耳机，请补发。",
        name: str = "王芳",
        channel: Channel = Channel.EMAIL,
        attachments: tuple[Attachment, ...] = (),
    ) -> str:
        self.number += 1
        reference = f"C261121-{self.number:06d}"
        now = datetime.now(UTC)
        if identities is None:
            identities = (Identity("email", f"wang{self.number}@example.com", True),)
        complaint = Complaint(
            reference=reference,
            state=state,
            channel=Channel.EMAIL,
            source="email",
            account="care@shop.example",
            customer_id=f"U{self.number}",
            received_at=now,
            updated_at=now,
            version=2,
            language=language,
            subject="少发了一件",
            order_number=f"2026112100{self.number:06d}",
            category=Category.MISSING_ITEMS,
            priority=priority,
            department=department,
            confidence=0.9,
            decision=Decision(
                category=Category.MISSING_ITEMS,
                priority=priority,
                department=department,
                confidence=0.9,
                reasons=(Reason("missing.word", "提到少发", ("少了",)),),
            ),
        )
        submission = Submission(
            channel=channel,
            source=channel.value,
            account="care@shop.example",
            text=text,
            attachments=attachments,
            subject="少发了一件",
            customer=Customer(name=name, identities=identities),
            thread=Thread(message_id=f"m{self.number}@example.com"),
        )
        row = {
            "dedupe_key": f"key{self.number}", "reference": reference, "role": "complaint", "received_at": now,
            "body": encode(submission).decode(), "raw": b"", "raw_blob": "", "headers": "{}",
        }  # fmt: skip
        due = now + timedelta(hours=due_in)
        clocks = ("department_answer", "resolution", "follow_up", "customer_reply", "escalation_1")
        entry = Entry(f"assigned/{reference}/2", Topic.ASSIGNED, reference)
        async with self.desk.ledger.write() as tx:
            await customers.insert_new(
                tx, [(complaint.customer_id, submission.customer, now)], [(complaint.customer_id, i) for i in identities]
            )
            await complaints.insert_new(tx, [msgspec.structs.replace(complaint, version=1)])
            await submissions.insert_new(tx, [row])
            await complaints.save_decided(tx, [(complaint, due)])
            await complaints.add_events(tx, [Event(reference, n, now, k, "test") for n, k in ((1, "received"), (2, "decided"))])
            await deadlines.add(tx, [(reference, Deadline(clock=c, due_by=due, why="测试")) for c in clocks])
            await outbox.add(tx, [entry], now)
        self.desk.relay.forward([entry])
        self.references.append(reference)

        async def queued() -> bool:
            queue = self.desk.queues[department]
            return reference in [e.reference for place in Place for e in await queue.entries(place, 1000)]

        await wait_until(queued)
        return reference


@pytest.fixture
def file(desk: Desk) -> Filing:
    return Filing(desk)


async def make_key(ledger: Ledger, scope: str, department: str = "") -> str:
    key_id, key, digest = accounts.new_key()
    owner = accounts.ApiKey(id=key_id, name=f"{scope} {department}".strip(), scope=scope, department=department, created_at=NOW)
    async with ledger.write() as tx:
        await accounts.add(tx, owner, digest)
    return key


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextlib.asynccontextmanager
async def served(desk: Desk) -> AsyncIterator[str]:
    """The address of a running server of the desk's router."""
    port = free_port()
    server = Server(build(desk, Departments(desk)), port=port, interface=Interfaces.ASGI, log_enabled=False, websockets=False)
    running = asyncio.create_task(server.serve())
    address = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient() as probe:

        async def answers() -> bool:
            try:
                return (await probe.get(f"{address}/health")).status_code == 200
            except httpx.TransportError:
                return False

        await wait_until(answers)
    yield address
    server.stop()
    await running


@pytest.fixture
async def address(desk: Desk) -> AsyncIterator[str]:
    async with served(desk) as at:
        yield at


Caller = Callable[..., Awaitable[httpx.Response]]


@pytest.fixture
async def http(address: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"{address}/api/v1", timeout=40) as client:
        yield client


@pytest.fixture
async def warehouse(desk: Desk, http: httpx.AsyncClient) -> dict[str, str]:
    """The headers of the warehouse's key."""
    return {"Authorization": f"Bearer {await make_key(desk.ledger, 'department', 'warehouse')}"}


@pytest.fixture
async def logistics(desk: Desk) -> dict[str, str]:
    return {"Authorization": f"Bearer {await make_key(desk.ledger, 'department', 'logistics')}"}


@pytest.fixture
async def operator(desk: Desk) -> dict[str, str]:
    return {"Authorization": f"Bearer {await make_key(desk.ledger, 'operator')}"}
