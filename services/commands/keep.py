"""`desk quarantine` and `desk keys`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from services.commands.terminal import out, settings, with_desk, with_ledger
from shared.errors import ConfigError
from shared.policy import load

STATES = ("held", "replayed", "discarded")

quarantine = typer.Typer(help="What could not be taken: look at it, replay it, save it.", no_args_is_help=True)
keys = typer.Typer(help="API keys of departments, integrators and operators.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(help="As `desk quarantine ls` shows it")]


@quarantine.command(name="ls")
def list_held(state: Annotated[str, typer.Option(help="held, replayed or discarded")] = "held") -> None:
    """What is in quarantine, newest first."""
    from shared.ledger import quarantine as table

    if state not in STATES:
        raise ConfigError(f"There is no state '{state}'. Use one of: {', '.join(STATES)}.")

    async def show(ledger: Any) -> None:
        async with ledger.read() as tx:
            rows = await table.listed(tx, state=state)
        for row in rows:
            out.print(
                f"{row.id}  {row.last_at:%Y-%m-%d %H:%M}  {row.adapter:<9} {row.code:<16} x{row.count}  {len(row.raw):,} B  {row.message}",
                markup=False,
            )
        if not rows:
            out.print(f"Nothing {state}.")

    with_ledger(show)


async def _held(ledger: Any, held_id: str) -> Any:
    from shared.ledger import quarantine as table

    async with ledger.read() as tx:
        row = await table.get(tx, held_id)
    if row is None:
        raise ConfigError(f"Nothing in quarantine has the id {held_id}. See `desk quarantine ls`.")
    return row


@quarantine.command(name="show")
def show_held(held_id: Id) -> None:
    """One thing in quarantine. Why it is there, and the beginning of its bytes."""

    async def show(ledger: Any) -> None:
        row = await _held(ledger, held_id)
        out.print(f"{row.id}  {row.state}  {row.adapter} on {row.account}\n{row.code}: {row.message}", markup=False)
        out.print(f"came {row.count} time(s), first {row.first_at:%Y-%m-%d %H:%M:%S}, last {row.last_at:%Y-%m-%d %H:%M:%S} UTC\n")
        out.print(row.raw[:2000].decode("utf-8", "backslashreplace"), markup=False)

    with_ledger(show)


@quarantine.command()
def export(held_id: Id) -> None:
    """The raw bytes, on standard output."""

    async def write(ledger: Any) -> None:
        sys.stdout.buffer.write((await _held(ledger, held_id)).raw)

    with_ledger(write)


@quarantine.command()
def replay(held_id: Id) -> None:
    """Take it after all. For example after a mend of the adapter; neither signature nor honeypot is asked again."""
    import asyncio

    from services.intake.app import doors
    from shared.errors import RuleViolation
    from shared.ledger import quarantine as table

    async def take(desk: Any) -> None:
        held = await _held(desk.ledger, held_id)
        if held.state != "held":
            raise RuleViolation(f"{held_id} was {held.state} before; there is nothing more to do.")
        accept, door = doors(desk)
        committing = asyncio.create_task(accept.run())
        try:
            receipts = await door.replay(held)
        finally:
            committing.cancel()
            await asyncio.gather(committing, return_exceptions=True)
        if not any(receipt.reference for receipt in receipts):
            raise RuleViolation(f"It still holds no complaint. Leave it, or put it aside: desk quarantine discard {held_id}")
        async with desk.ledger.write() as tx:
            await table.set_state(tx, [held_id], "replayed")
        for receipt in receipts:
            out.print(f"{receipt.outcome}  {receipt.reference}")

    with_desk(take)


@quarantine.command()
def discard(held_id: Id) -> None:
    """Put it aside. It leaves the list; its bytes stay in the ledger for the record."""
    from shared.ledger import quarantine as table

    async def put_aside(ledger: Any) -> None:
        await _held(ledger, held_id)
        async with ledger.write() as tx:
            await table.set_state(tx, [held_id], "discarded")

    with_ledger(put_aside)
    out.print(f"{held_id} is put aside.")


@keys.command(name="add")
def add_key(
    name: Annotated[str, typer.Argument(help="Whose key it is, for people")],
    scope: Annotated[str, typer.Option(help="intake (phone log, staff forms), department, or operator")] = "department",
    department: Annotated[str, typer.Option(help="The only department a department key may touch")] = "",
) -> None:
    """Make an API key; it is shown once."""
    from shared.ledger import accounts

    known = load(settings().policy).departments
    if scope not in accounts.SCOPES:
        raise ConfigError(f"There is no scope '{scope}'. Use one of: {', '.join(accounts.SCOPES)}.")
    if scope == "department" and department not in known:
        raise ConfigError(f"Say whose queue the key opens: --department with one of {', '.join(known)}. Or --scope intake or operator.")
    if scope != "department" and department:
        raise ConfigError(f"A key of scope {scope} is for no department. Leave --department out, or the --scope.")
    key_id, key, digest = accounts.new_key()

    async def store(ledger: Any) -> None:
        async with ledger.write() as tx:
            made = accounts.ApiKey(id=key_id, name=name, scope=scope, department=department, created_at=datetime.now(UTC))
            await accounts.add(tx, made, digest)

    with_ledger(store)
    out.print(key, markup=False)


@keys.command(name="ls")
def list_keys() -> None:
    """All keys, without the keys themselves."""
    from shared.ledger import accounts

    async def show(ledger: Any) -> None:
        async with ledger.read() as tx:
            for key in await accounts.listed(tx):
                end = f"revoked {key.revoked_at:%Y-%m-%d}" if key.revoked_at else "in use"
                out.print(f"{key.id}  {key.scope:<11} {key.department:<18} {end:<19} {key.name}", markup=False)

    with_ledger(show)


@keys.command()
def revoke(key_id: Annotated[str, typer.Argument(help="As `desk keys ls` shows it")]) -> None:
    """A key that got lost works no more."""
    from shared.ledger import accounts

    async def end(ledger: Any) -> bool:
        async with ledger.write() as tx:
            return await accounts.revoke(tx, key_id, datetime.now(UTC))

    if not with_ledger(end):
        raise ConfigError(f"There is no key {key_id} in use. See `desk keys ls`.")
    out.print(f"{key_id} is revoked.")
