"""`desk adapters`, `desk policy`, `desk db`: what an integrator and an operator set up."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from services.commands.terminal import out, settings
from shared.policy import SHIPPED, describe, load

adapters = typer.Typer(help="Channel adapters: list them, start a new one, check one.", no_args_is_help=True)
policy = typer.Typer(help="The organisation's policy file.", no_args_is_help=True)
db = typer.Typer(help="The ledger's schema.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """These are groups; the top level only adds them."""
    del app


@adapters.command(name="ls")
def list_adapters() -> None:
    """Every adapter that is installed. With its channel, its size limit and the secrets that an account of it may have."""
    from services.intake.registry import find_adapters

    for name, adapter in sorted(find_adapters().items()):
        needs = ", ".join(adapter.secrets) or "-"
        out.print(f"{name:<12} {adapter.channel:<9} up to {adapter.max_bytes >> 10:>6} KiB  secrets: {needs}", markup=False)


@adapters.command()
def new(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits and _")], folder: Annotated[Path, typer.Option()] = Path()
) -> None:
    """Write a new adapter with its fixtures. It passes `desk adapters check` from the start."""
    from services.intake.scaffold import scaffold

    out.print(scaffold(name, folder), markup=False)


@adapters.command()
def check(
    name: Annotated[str, typer.Argument(help="An installed adapter")],
    fixtures: Annotated[Path | None, typer.Option(help="Folder of cases; default: the adapter's own")] = None,
    bless: Annotated[bool, typer.Option(help="Write what the adapter gives now as what is expected")] = False,
) -> None:
    """Run the conformance suite against an adapter. Exit status 1 when a check fails."""
    from services.intake.conformance import check_installed, render

    report = check_installed(name, fixtures, bless=bless)
    out.print(render(report), markup=False)
    raise typer.Exit(0 if report.passed else 1)


@policy.command(name="check")
def check_policy(file: Annotated[Path | None, typer.Argument(help="Default: the policy in force")] = None) -> None:
    """Read a policy file strictly and say what is missing."""
    read = load(file or settings().policy)
    out.print(f"ok: {read.name}, {len(read.departments)} departments, {len(read.categories)} categories, hash {read.hash}", markup=False)


@policy.command()
def show(toml: Annotated[bool, typer.Option("--toml", help="The file itself, to begin your own with.")] = False) -> None:
    """The policy in force, as JSON or as its file."""
    if toml:
        load(settings().policy)  # a broken one is named, not handed on
        sys.stdout.buffer.write((settings().policy or SHIPPED).read_bytes())
        return
    out.print(msgspec.json.format(msgspec.json.encode(describe(load(settings().policy)))).decode(), markup=False)


def _with_bare_ledger(work: Any) -> Any:
    import asyncio

    from shared.ledger import Ledger

    async def run() -> Any:
        ledger = Ledger.open(settings().ledger)
        try:
            return await work(ledger)
        finally:
            await ledger.close()

    return asyncio.run(run())


@db.command()
def upgrade() -> None:
    """Bring the ledger's schema up to date. Safe while services run, and when several do it at once."""
    from shared.ledger import migrate

    _with_bare_ledger(migrate.upgrade)
    status()


@db.command()
def status() -> None:
    """The ledger's schema, and the one this release wants. Exit status 1 when they differ."""
    from shared.ledger import migrate

    has = _with_bare_ledger(migrate.current)
    wants = migrate.head()
    out.print(f"ledger {has or 'empty'}, this release {wants}" + ("" if has == wants else "  -> desk db upgrade"))
    if has != wants:
        raise typer.Exit(1)
