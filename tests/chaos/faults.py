"""What goes wrong, when, and in which order: drawn from a seed, so that a failing run can be repeated."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from redis.exceptions import RedisError

from services.embedded import Stack
from tests.end_to_end.world import Desk, until

EVERY_FAULT = ("kill intake", "kill router", "kill notifier", "wipe redis", "lose redis")


class Faults:
    """Does each of them; `done` says what was done when, for the report of a failure."""

    def __init__(self, stack: Stack, desk: Desk, seed: int) -> None:
        self.stack = stack
        self.desk = desk
        self.chance = random.Random(seed)
        self.done: list[str] = []

    async def strike(self, rounds: int, seconds: float) -> None:
        """`rounds` times every fault, in random order at random moments within so many seconds."""
        wanted = [fault for _ in range(rounds) for fault in self.chance.sample(EVERY_FAULT, len(EVERY_FAULT))]
        moments = sorted(self.chance.uniform(0, seconds) for _ in wanted)
        loop = asyncio.get_running_loop()
        start = loop.time()
        for fault, moment in zip(wanted, moments, strict=True):
            await asyncio.sleep(max(0.0, start + moment - loop.time()))
            await self.do(fault)

    async def do(self, fault: str) -> None:
        what, _, name = fault.partition(" ")
        if what == "kill":
            await self.kill(name)
        elif what == "wipe":
            await self.wipe()
        else:
            await self.lose()
        self.done.append(f"{datetime.now(UTC):%H:%M:%S.%f} {fault}")

    async def kill(self, name: str) -> None:
        """SIGKILL to a service that runs, perhaps one that is still starting."""

        async def alive() -> int | None:
            return self.stack.children[name].pid

        os.kill(await until(alive, f"the supervisor has started {name} again"), signal.SIGKILL)

    async def wipe(self) -> None:
        """FLUSHALL; where Redis is just being restarted there is nothing to wipe."""
        with contextlib.suppress(RedisError, OSError):
            await self.desk.redis.flushall()

    async def lose(self) -> None:
        """The server dies and what it had on disk with it: it comes back empty."""
        for entry in (self.stack.home / "valkey").iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink(missing_ok=True)
        await self.kill("valkey")


def log_tails(home: Path, names: Sequence[str] = ("intake", "router", "notifier"), lines: int = 4) -> str:
    """The last lines of each service's log that are worse than information."""
    told: list[str] = []
    for name in names:
        file = home / "logs" / f"{name}.log"
        if file.exists():
            bad = [line for line in file.read_text(errors="replace").splitlines() if '"level": "info"' not in line]
            told += [f"{name}: {line[:300]}" for line in bad[-lines:]]
    return "\n".join(told)
