"""`desk up`, `desk demo`, `desk bench` and the three services."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer

from services.commands.terminal import err, out, settings


def register(app: typer.Typer) -> None:
    for command in (up, demo, intake, router, notifier, bench):
        app.command()(command)


def up() -> None:
    """Run the whole desk on this machine: Valkey, SQLite under ./var (DESK_HOME) and the three services. Ctrl-C stops it cleanly."""
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
            out.print("Sign in to the workbench with a key: desk keys add NAME --scope operator")
            out.print("Ctrl-C stops it.")
            await stop.wait()
            err.print("Stopping ...")
        finally:
            await stack.__aexit__()

    asyncio.run(run())


def demo(
    home: Annotated[Path | None, typer.Option(help="Where the demo keeps its files; emptied first. Default: var/demo.")] = None,
) -> None:
    """Show the whole way: real input on four channels, and what became of each. Exit status 0 only when all went as it should."""
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
) -> None:
    """Measure this machine: each figure with its ratio to a yardstick of the same run. Needs the source tree (bench/)."""
    try:
        from bench.run import main
    except ModuleNotFoundError:
        raise typer.BadParameter("bench/ is not here. Run it from a checkout of the source: make bench") from None
    raise typer.Exit(main(as_json=as_json, only=[part for part in only.split(",") if part]))
