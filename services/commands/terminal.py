"""What the commands share: the settings of this environment, and printing."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
from rich.console import Console

from shared.errors import ConfigError
from shared.settings import Settings, is_secret, read

T = TypeVar("T")

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)


def me() -> str:
    """The `desk` command as this person called it, for sentences that say what to type next."""
    called = Path(sys.argv[0])
    return str(called) if called.name == "desk" and os.sep in sys.argv[0] and not _on_path(called) else "desk"


def _on_path(called: Path) -> bool:
    found = shutil.which("desk")
    return found is not None and Path(found).resolve() == called.resolve()


def tell_error(message: str) -> None:
    """What went wrong and its mend, on standard error."""
    err.print(f"desk: {message}", markup=False)


def settings() -> Settings:
    """From the environment. Raises ConfigError."""
    return read(os.environ)


def masked(field: str, value: object) -> str:
    """A setting as it may be shown: secrets not at all, addresses without their passwords."""
    if field.endswith("_url"):
        return re.sub(r"(?<=:)[^:/@]*(?=@)", "***", re.sub(r"(?i)((?:password|secret|key|token)[^=&]*=)[^&]+", r"\1***", str(value)))
    return "(set)" if is_secret(field) else str(value)


def known_reference(spoken: str) -> str:
    """A reference as it was typed or read aloud. Raises ConfigError."""
    from shared.references import read_reference

    reference = read_reference(spoken)
    if reference is None:
        raise ConfigError(f"'{spoken}' is not a reference. It looks like C261121-7K3QXP.")
    return reference


def print_line(value: Any) -> None:
    """One JSON value on one line, UTF-8 whatever the terminal's locale says."""
    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")


def with_ledger(work: Callable[[Any], Awaitable[T]]) -> T:
    """Run `work(ledger)` on the ledger of this environment."""
    from shared.ledger import Ledger
    from shared.ledger.migrate import upgrade

    async def run() -> T:
        ledger = Ledger.open(settings().ledger)
        try:
            await upgrade(ledger)
            return await work(ledger)
        finally:
            await ledger.close()

    return asyncio.run(run())


def with_redis(work: Callable[[Any], Awaitable[T]]) -> T:
    """Run `work(redis)` on the Redis of this environment. Raises ConfigError where it is the embedded one and no desk runs."""
    from redis.asyncio import Redis

    require_running()

    async def run() -> T:
        redis = cast(Any, Redis).from_url(settings().redis)
        try:
            return await work(redis)
        finally:
            await redis.aclose()

    return asyncio.run(run())


def require_running() -> None:
    """Raises ConfigError where the embedded Valkey is wanted and does not run: nothing waits before the departments then."""
    chosen = settings()
    if not chosen.redis_url and not (chosen.home_path / "valkey.sock").exists():
        raise ConfigError(
            f"No desk runs on {chosen.home_path.absolute()}. Start it with `{me()} up` in another terminal, "
            "or set DESK_HOME (its folder) or DESK_REDIS_URL to the one that runs."
        )


def with_desk(work: Callable[[Any], Awaitable[T]]) -> T:
    """Run `work(desk)` on the whole desk of this environment (services.process.Desk)."""
    from services.process import open_desk

    require_running()

    async def run() -> T:
        async with open_desk(settings()) as desk:
            done = await work(desk)
            await desk.relay.flush()
            return done

    return asyncio.run(run())
