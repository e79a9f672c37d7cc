"""The `desk` command. Each group of commands lives in services/commands/; heavy parts are imported only by the command that needs them."""

from __future__ import annotations

import sys

import typer

from services.commands import keep, look, queue, read, run, setup
from shared.errors import DeskError, TemporaryFailure

app = typer.Typer(
    name="desk",
    help="Complaint Desk: takes complaints from every channel, routes each to its department, keeps the customer informed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for group in (run, read, look, setup):
    group.register(app)
app.add_typer(queue.app, name="queue")
app.add_typer(keep.quarantine, name="quarantine")
app.add_typer(keep.keys, name="keys")
app.add_typer(setup.adapters, name="adapters")
app.add_typer(setup.policy, name="policy")
app.add_typer(setup.db, name="db")


def main() -> None:
    """Entry point: a declared error is one line that names its mend, on stderr; status 2, or 75 where trying again may help."""
    try:
        app()
    except DeskError as error:
        print(f"desk: {error.message}", file=sys.stderr)  # noqa: T201 - this is the command line
        raise SystemExit(75 if isinstance(error, TemporaryFailure) else 2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:
        raise SystemExit(0) from None


if __name__ == "__main__":
    main()
