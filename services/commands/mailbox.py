"""`desk mailbox status` and `desk mailbox try`: every mail accounted for, and what a first visit would take. Both only look."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from services.commands.terminal import out, settings, with_ledger
from shared.errors import ConfigError

ZONE = ZoneInfo("Asia/Shanghai")
OUTCOMES = ("accepted", "duplicate", "ignored", "quarantined")
SHOWN = 10

mailbox = typer.Typer(help="The mailboxes we read: is every mail accounted for?", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Only this one, such as care@shop.example/INBOX or a part of it; all when left out")]


@mailbox.command()
def status(name: Name = "") -> None:
    """Compare each mailbox with the ledger. Exit status 1 where mails are missing or a mailbox cannot be read."""
    raise typer.Exit(1 if _each(name, _status) else 0)


@mailbox.command(name="try")
def dry_run(name: Name = "") -> None:
    """Say what would be fetched, without taking anything. Exit status 1 where a mailbox cannot be read."""
    raise typer.Exit(1 if _each(name, _preview) else 0)


def _each(name: str, look: Callable[[Any, Any], Awaitable[bool]]) -> int:
    """How many of the mailboxes are not well."""
    from services.intake.mail_sources import LedgerState, peek, read_mailboxes
    from services.intake.mailbox import CONNECTION_TROUBLE, explain

    known = read_mailboxes(settings().mailboxes)
    chosen = [options for options in known if name in options.name]
    if not known:
        raise ConfigError("No mailbox is set up. Set DESK_MAILBOXES, as docs/operations.md shows.")
    if not chosen:
        raise ConfigError(f"There is no mailbox '{name}'. There are: {', '.join(options.name for options in known)}.")

    async def look_at_each(ledger: Any) -> int:
        wrong = 0
        for options in chosen:
            try:
                well = await look(ledger, peek(options, LedgerState(ledger)))
            except CONNECTION_TROUBLE as error:
                well = False
                out.print(f"WRONG  {options.name}: {explain(error)}", markup=False)
            wrong += not well
        return wrong

    return with_ledger(look_at_each)


async def _status(ledger: Any, box: Any) -> bool:
    from shared.ledger import mailboxes

    standing = await box.standing()
    account, folder = box.options.name.split("/", 1)
    async with ledger.read() as tx:
        position = await mailboxes.position(tx, account, folder)
        counts = await mailboxes.counts(tx, account, folder, position.uidvalidity) if position else {}
    for line in status_lines(box.options.name, standing, counts, position):
        out.print(line, markup=False)
    return not standing.missing


def status_lines(name: str, standing: Any, counts: Mapping[str, int], position: Any) -> Iterable[str]:
    """A mailbox (mailbox_contract.Standing) against its records (ledger position and outcome counts), in words. Pure."""
    yield f"{'GAP  ' if standing.missing else 'ok   '}  {name}"
    yield f"  on the server   {standing.exists:,} mails, {standing.ours:,} of them since we read here, {standing.waiting:,} waiting"
    if position is None:
        yield "  in the ledger   nothing yet: this mailbox was never read"
        return
    told = ", ".join(f"{counts.get(outcome, 0):,} {outcome}" for outcome in OUTCOMES)
    yield f"  in the ledger   {sum(counts.values()):,} outcomes: {told}"
    if standing.rebuilt:
        yield "  rebuilt         the server gave its mails new numbers (UIDVALIDITY); the next visit reads them again and knows what it had"
    yield f"  read to its end {_local(position.last_ok_at)}"
    if position.last_error:
        yield f"  last trouble    {position.last_error}"
    if standing.missing:
        first = ", ".join(str(uid) for uid in standing.missing[:SHOWN])
        more = f" and {len(standing.missing) - SHOWN} more" if len(standing.missing) > SHOWN else ""
        yield f"  MISSING         {len(standing.missing):,} mails have no outcome: UID {first}{more}"
        yield "                  They are still in the mailbox. Move them out of the folder and in again: then they are read as new."


async def _preview(ledger: Any, box: Any) -> bool:
    del ledger
    preview = await box.preview()
    options = box.options
    out.print(f"{options.name}: {preview.exists:,} mails on the server, {preview.waiting:,} would be fetched", markup=False)
    if preview.waiting:
        out.print(f"  size    {preview.size / 1_000_000:,.1f} MB; oldest {_local(preview.oldest)}, newest {_local(preview.newest)}")
        if preview.too_large:
            out.print(f"  beyond  {preview.too_large:,} are larger than {options.max_bytes:,} bytes: into quarantine by their header")
    elif options.start == "now" and preview.exists:
        out.print('  start   "now": what lies there stays untouched at the first visit. Set "start": "all" to take it too.')
    cap = f"{options.max_per_hour:,} an hour" if options.max_per_hour else 'none; set "max_per_hour" to take a full mailbox slowly'
    hours = f", so about {-(-preview.waiting // options.max_per_hour)} hours" if options.max_per_hour and preview.waiting else ""
    out.print(f"  cap     {cap}{hours}")
    return True


def _local(at: datetime | None) -> str:
    if at is None or at.year < 2000:
        return "not yet"
    return at.astimezone(ZONE).strftime("%Y-%m-%d %H:%M:%S")
