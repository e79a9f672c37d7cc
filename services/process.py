"""What every service process is made of: the opened desk (ledger, Redis, blobs, policy, relay), one web server, and its loops.

A service is one asyncio process. It stops cleanly on SIGTERM: the door closes first, work in hand ends, the relay empties. A loop that
fails unexpectedly ends the process with an error, and the supervisor starts it anew: nothing is true that is not in the ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

import structlog
import uvloop
from granian.constants import Interfaces
from granian.server.embed import Server
from litestar import Litestar
from redis.asyncio import Redis

from services.ports import check_free
from shared.blobs import Blobs
from shared.ledger import Ledger
from shared.ledger.migrate import upgrade
from shared.ledger.outbox import Topic
from shared.policy import Policy, load
from shared.queues.department import DepartmentQueue
from shared.queues.relay import Relay
from shared.queues.stream import WorkStream
from shared.settings import Settings, secret_key
from shared.telemetry import configure_logging

STOP_WITHIN = 25.0
"""Seconds for work in hand at a clean stop; Docker and systemd kill after 30 or more."""

T = TypeVar("T")

log = structlog.get_logger()


class Desk:
    """Everything a service shares with the others, opened. Holds no logic."""

    def __init__(self, settings: Settings, policy: Policy, ledger: Ledger, redis: Redis, *, consumer: str) -> None:
        self.settings = settings
        self.policy = policy
        self.secret = secret_key(settings)
        self.ledger = ledger
        self.redis = redis
        self.blobs = Blobs.open(settings.blobs)
        self.queues: Mapping[str, DepartmentQueue] = {name: DepartmentQueue(redis, name) for name in policy.departments}
        self.stopping = asyncio.Event()
        """Set when the process has been told to stop: whoever waits for work to come ends at once."""
        # a batch is decided in well under a second: what another router has held for twenty, it will not decide any more
        self.received = WorkStream(redis, "received", consumer, idle_seconds=20)
        self.notices = WorkStream(redis, "notices", consumer)
        self.relay = Relay(ledger, {Topic.RECEIVED: self.received, Topic.NOTICE: self.notices}, self.queues)


@asynccontextmanager
async def open_desk(settings: Settings, *, consumer: str = "") -> AsyncGenerator[Desk]:
    """The desk by its settings, with the ledger's schema up to date. Raises ConfigError, or TemporaryFailure when the ledger is away."""
    policy = load(settings.policy)
    ledger = Ledger.open(settings.ledger)
    redis: Redis = Redis.from_url(settings.redis, socket_timeout=30, socket_connect_timeout=5, health_check_interval=30)  # pyright: ignore[reportUnknownMemberType]
    try:
        await upgrade(ledger)
        desk = Desk(settings, policy, ledger, redis, consumer=consumer)
        yield desk
        for queue in desk.queues.values():
            await queue.aclose()
    finally:
        await redis.aclose()
        await ledger.close()


Loop = Callable[[], Awaitable[None]]


def web_server(app: Litestar, address: tuple[str, int]) -> Server:
    """The web server of every service, in this very process and on its event loop."""
    return Server(app, address=address[0], port=address[1], interface=Interfaces.ASGI, log_enabled=False, websockets=False, backlog=1024)


async def serve(desk: Desk, app: Litestar, address: tuple[str, int], loops: Mapping[str, Loop]) -> None:
    """Serve the app and run the loops until SIGTERM or SIGINT, or until one of them fails (which is raised). Raises ConfigError."""
    check_free(*address, setting=f"DESK_{str(app.state.get('service', '')).upper()}_PORT")
    server = web_server(app, address)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    web = asyncio.create_task(server.serve(), name="web")
    every = {**loops, "relay": desk.relay.run, "ledger": desk.ledger.tend}
    tasks = {asyncio.ensure_future(_named(name, work)) for name, work in every.items()}
    stopping = asyncio.create_task(stop.wait())
    log.info("service.ready", app=app.state.get("service", ""), address=f"http://{address[0]}:{address[1]}", pid=os.getpid())
    try:
        done, _ = await asyncio.wait({web, stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        log.info("service.stopping", app=app.state.get("service", ""))
        desk.stopping.set()
        server.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_WITHIN):
                await asyncio.gather(web, return_exceptions=True)
        await end_all({*tasks, stopping})
        await desk.relay.flush()
    for task in done:
        if task is not stopping and (error := task.exception()):
            raise error


async def end_all(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait for their end. Said again every two seconds: Python 3.11's asyncio.wait_for, with which redis-py sends,
    swallows a cancellation that comes just as it ends, and the loop would go on for ever."""
    while tasks:
        for task in tasks:
            task.cancel()
        _, tasks = await asyncio.wait(tasks, timeout=2.0)


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """What the work gives. Who is cancelled meanwhile waits for its end first, so that a batch in hand is finished as a whole."""
    running = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


async def _named(name: str, work: Loop) -> None:
    try:
        await work()
    except asyncio.CancelledError:
        raise
    except Exception:
        log.exception("loop.failed", loop=name)
        raise
    raise RuntimeError(f"The loop '{name}' ended by itself.")


def run(settings: Settings, main: Callable[[Settings], Awaitable[Any]]) -> None:
    """Run a service's main on uvloop until it stops."""
    configure_logging(settings.log_level, settings.log_format)
    uvloop.run(cast(Any, main(settings)))
