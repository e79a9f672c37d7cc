"""Time in tests: a clock that is moved by hand, and waiting for something to become true instead of sleeping and hoping."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def wait_until(probe: Callable[[], Awaitable[T]], what: str, seconds: float = 10.0) -> T:
    """The first truthy answer of the probe; fails with `what` after so many seconds."""
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + seconds
    while not (answer := await probe()):
        assert loop.time() < give_up_at, f"still not so after {seconds} s: {what}"
        await asyncio.sleep(0.01)
    return answer


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now

    async def advance(self, seconds: float) -> None:
        self.now += seconds
