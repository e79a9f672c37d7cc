"""`desk up`, `desk demo`, `desk bench` and the three services."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer

from services.commands.terminal import err, me, out, settings


def register(app: typer.Typer) -> None:
    for command in (up, demo, intake, router, notifier, bench):
        app.command()(command)


def up() -> None:
    """Run the whole desk on this machine until Ctrl-C. Valkey, SQLite under ./var (DESK_HOME) and the three services."""
    from services.embedded import Stack, before, on_signal
    from shared.telemetry import configure_logging

    chosen = settings()
    configure_logging(chosen.log_level, "console")

    async def run() -> None:
        stop = on_signal()  # before anything starts, so that a signal always stops all of it
        stack = Stack(chosen, os.environ)
        with err.status("Starting Valkey, intake, router and notifier ..."):
            if not await before(stop, stack.__aenter__()):
                return
        try:
            out.print("Complaint Desk is running.")
            for name, address in stack.addresses().items():
                out.print(f"  {name:<17} {address}")
            out.print(f"  {'files and logs':<17} {stack.home}")
            out.print(f"A key for the workbench and the departments' API:  {me()} keys add YOUR_NAME --scope operator")
            if "smtp" not in chosen.senders:
                out.print("Letters to customers wait in the ledger until DESK_SENDERS names a mail relay (docs/operations.md).")
            out.print("Ctrl-C stops it.")
            await stop.wait()
            err.print("Stopping ...")
        finally:
            await stack.__aexit__()

    asyncio.run(run())


def demo(
    home: Annotated[Path | None, typer.Option(help="Where the demo keeps its files; emptied first. Default: var/demo.")] = None,
) -> None:
    """Show the whole way, with real input on four channels. Exit status 0 only when all went as it should."""
    from services.demo.story import tell

    raise typer.Exit(asyncio.run(tell(home or Path("var/demo"))))


def intake() -> None:
    """Run the intake service in this process."""
    from services.intake.app import main
    from services.process import run

    run(settings(), main)


def router() -> None:
    """Run the router service in this process."""
    from services.process import run
    from services.router.app import main

    run(settings(), main)


def notifier() -> None:
    """Run the notifier service in this process."""
    from services.notifier.app import main
    from services.process import run

    run(settings(), main)


def bench(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
    only: Annotated[str, typer.Option(help="Comma-separated parts, for example accept,routed.")] = "",
    long: Annotated[bool, typer.Option(help="100,000 complaints for memory, 1,000,000 for growth; takes an hour.")] = False,
) -> None:
    """Measure this machine. Each figure with its ratio to a yardstick of the same run; needs the source tree (bench/)."""
    try:
        from bench.run import main
    except ModuleNotFoundError:
        raise typer.BadParameter("bench/ is not here. Run it from a checkout of the source: make bench") from None
    raise typer.Exit(main(as_json=as_json, only=[part for part in only.split(",") if part], long=long))
