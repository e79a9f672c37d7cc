"""A whole intake for tests: the real application behind a real server on loopback, with its loops, in the test's own event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
from granian.constants import Interfaces
from granian.server.embed import Server

from services.intake.app import build, doors
from services.intake.door import Door
from services.process import Desk, end_all, open_desk
from shared.ledger import accounts
from shared.ledger.accounts import ApiKey, new_key
from shared.settings import Settings
from tests.arrivals import AT

SECRET = "a secret of the tests, long enough to be one"
TELEGRAM = {"secret_token": "telegram-says-this"}
ACCOUNTS = msgspec.json.encode({"telegram": {"shop_bot": TELEGRAM}, "wechat": {"gh_shop": {"token": "wx", "app_id": "wx1"}}}).decode()


@dataclass
class Intake:
    """A running intake. `http` talks to it; `desk` and `door` are its own parts."""

    http: httpx.AsyncClient
    desk: Desk
    door: Door
    port: int

    async def key(self, scope: str) -> dict[str, str]:
        """The headers of a fresh API key."""
        key_id, key, digest = new_key()
        async with self.desk.ledger.write() as tx:
            await accounts.add(tx, ApiKey(id=key_id, name=f"{scope} line", scope=scope, department="", created_at=AT), digest)
        return {"Authorization": f"Bearer {key}"}


@asynccontextmanager
async def serving(home: Path, ledger_url: str, redis_url: str, **more: Any) -> AsyncIterator[Intake]:
    port = free_port()
    settings = Settings(
        home=str(home),
        ledger_url=ledger_url,
        redis_url=redis_url,
        secret=SECRET,
        accounts=ACCOUNTS,
        public_url=more.pop("public_url", f"http://127.0.0.1:{port}"),
        **more,
    )
    async with open_desk(settings, consumer="test") as desk:
        accept, door = doors(desk)
        app = build(desk, door)
        server = Server(app, address="127.0.0.1", port=port, interface=Interfaces.ASGI, log_enabled=False, websockets=False)
        tasks = [asyncio.create_task(work) for work in (server.serve(), accept.run(), desk.relay.run())]
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=15, trust_env=False) as http:
                await answering(port)
                yield Intake(http, desk, door, port)
        finally:
            server.stop()
            await asyncio.wait(tasks[:1], timeout=10)
            await end_all(set(tasks))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def answering(port: int, seconds: float = 20.0) -> None:
    """Come back when somebody listens."""
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + seconds
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            assert loop.time() < give_up_at, f"nobody listens on port {port} after {seconds} s"
            await asyncio.sleep(0.02)
        else:
            writer.close()
            await writer.wait_closed()
            return
