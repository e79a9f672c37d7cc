"""What the commands share: the settings of this environment, and printing."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

import msgspec
from rich.console import Console

from shared.settings import Settings, read

T = TypeVar("T")

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)


def settings() -> Settings:
    """From the environment. Raises ConfigError."""
    return read(os.environ)


def print_line(value: Any) -> None:
    """One JSON value on one line, UTF-8 whatever the terminal's locale says."""
    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")


def with_ledger(work: Callable[[Any], Awaitable[T]]) -> T:
    """Run `work(ledger)` on the ledger of this environment."""
    from shared.ledger.migrate import upgrade

    from shared.ledger import Ledger

    async def run() -> T:
        ledger = Ledger.open(settings().ledger)
        try:
            await upgrade(ledger)
            return await work(ledger)
        finally:
            await ledger.close()

    return asyncio.run(run())


def with_redis(work: Callable[[Any], Awaitable[T]]) -> T:
    """Run `work(redis)` on the Redis of this environment."""
    from redis.asyncio import Redis

    async def run() -> T:
        redis = cast(Any, Redis).from_url(settings().redis)
        try:
            return await work(redis)
        finally:
            await redis.aclose()

    return asyncio.run(run())
