"""`desk doctor`: checks everything a desk needs, each check one function that says how it stands or raises what is wrong and its mend."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from services.commands.terminal import masked, me, out, settings, with_ledger, with_redis
from shared.errors import ConfigError, DeskError, TemporaryFailure
from shared.policy import load
from shared.settings import Settings, make_home

Check = Callable[[], str]


def register(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor() -> None:
    """Check everything the desk needs and say how to mend it. Exit status 1 when something is wrong."""
    chosen = settings()
    checks: dict[str, Check] = {
        "Python": lambda: sys.version.split()[0],
        "home": lambda: _home(chosen),
        "policy": lambda: f"{load(chosen.policy).name} {load(chosen.policy).hash}",
        "ledger": lambda: _ledger(chosen),
        "Redis": lambda: _redis(chosen),
        "channels": lambda: _channels(chosen),
        "letters": lambda: _letters(chosen),
        "services": lambda: _services(chosen),
    }
    wrong = 0
    for name, check in checks.items():
        try:
            out.print(f"ok     {name:<9} {check()}", markup=False)
        except DeskError as error:
            wrong += 1
            out.print(f"WRONG  {name:<9} {error.message}", markup=False)
    raise typer.Exit(1 if wrong else 0)


def _home(chosen: Settings) -> str:
    free = shutil.disk_usage(make_home(chosen)).free
    if free < 1 << 30:
        raise ConfigError(f"{chosen.home_path.absolute()} has only {free >> 20} MiB free. Free at least 1 GiB.")
    return f"{chosen.home_path.absolute()}, {free >> 30} GiB free"


def _ledger(chosen: Settings) -> str:
    async def held(ledger: Any) -> int:
        from shared.ledger import quarantine

        async with ledger.read() as tx:
            return await quarantine.count_held(tx)

    try:
        count = with_ledger(held)
    except TemporaryFailure as error:
        raise ConfigError(f"{error.message}. Check DESK_LEDGER_URL and that the database runs.") from None
    kind = masked("ledger_url", chosen.ledger)
    return kind + (f"; {count} held in quarantine, see `{me()} quarantine ls`" if count else "")


def _redis(chosen: Settings) -> str:
    if not chosen.redis_url:
        from services.embedded import valkey_binary

        return f"embedded, {Path(valkey_binary()).name}"
    from redis.exceptions import RedisError

    async def ping(redis: Any) -> None:
        await redis.ping()

    try:
        with_redis(ping)
    except (RedisError, OSError) as error:
        raise ConfigError(f"{error} Check DESK_REDIS_URL and that the server runs.") from None
    return masked("redis_url", chosen.redis_url)


def _channels(chosen: Settings) -> str:
    from services.intake.door import read_accounts
    from services.intake.mail_sources import read_mailboxes
    from services.intake.registry import find_adapters

    accounts, installed = read_accounts(chosen.accounts), find_adapters()
    for name, of_adapter in accounts.items():
        if name not in installed:
            raise ConfigError(f"DESK_ACCOUNTS names '{name}', which is no adapter. There are: {', '.join(sorted(installed))}.")
        for account, secrets in of_adapter.items():
            if unknown := set(secrets) - set(installed[name].secrets):
                raise ConfigError(
                    f"DESK_ACCOUNTS gives {name}/{account} '{', '.join(sorted(unknown))}', which that adapter does not know. "
                    f"It takes: {', '.join(installed[name].secrets)}."
                )
    open_ones = [f"{name}/{account}" for name, of_adapter in accounts.items() for account in of_adapter]
    boxes = [f"mailbox {box.name}" for box in read_mailboxes(chosen.mailboxes)]
    door = [f"SMTP door on port {chosen.smtp_door_port}"] if chosen.smtp_door_port else []
    return ", ".join(["web form", "phone log", *boxes, *door, *open_ones])


def _letters(chosen: Settings) -> str:
    from services.notifier.app import read_sender_settings
    from services.notifier.registry import close_senders, find_senders, open_senders

    async def opened() -> list[str]:
        by_source = await open_senders(find_senders(), read_sender_settings(chosen.senders))
        await close_senders(by_source)
        return sorted(by_source)

    sources = asyncio.run(opened())
    if "email" not in sources:
        return f"{', '.join(sources)} to the call-back list; e-mail waits until DESK_SENDERS names smtp"
    return ", ".join(sources)


def _services(chosen: Settings) -> str:
    import httpx

    states: list[str] = []
    for name in ("intake", "router", "notifier"):
        address = f"http://{getattr(chosen, name + '_host')}:{getattr(chosen, name + '_port')}"
        try:
            answer = httpx.get(f"{address}/ready", timeout=3, trust_env=False)
        except httpx.HTTPError:
            states.append(f"{name} does not run on {address}")
            continue
        if answer.status_code != 200:
            raise ConfigError(f"{name} on {address} is not ready: {answer.text[:300]}")
        states.append(f"{name} runs")
    return ", ".join(states)
