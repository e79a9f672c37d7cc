"""The `desk` command. Each group of commands lives in services/commands/; heavy parts are imported only by the command that needs them."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated, Any

import typer

from services.commands import doctor, keep, look, mailbox, queue, read, run, setup
from services.commands.terminal import tell_error
from shared.errors import DeskError, TemporaryFailure

app = typer.Typer(
    name="desk",
    help="Complaint Desk: takes complaints from every channel, routes each to its department, keeps the customer informed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for group in (run, read, look, doctor, setup):
    group.register(app)
app.add_typer(queue.app, name="queue")
app.add_typer(mailbox.mailbox, name="mailbox")
app.add_typer(keep.quarantine, name="quarantine")
app.add_typer(keep.keys, name="keys")
app.add_typer(setup.adapters, name="adapters")
app.add_typer(setup.policy, name="policy")
app.add_typer(setup.db, name="db")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"Complaint Desk {version('complaint-desk')}")
        raise typer.Exit


@app.callback()
def top(
    wanted: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")] = False,
):
    del wanted


def main() -> None:
    """Entry point: a declared error is one line that names its mend, on stderr; status 2, or 75 where trying again may help."""
    try:
        status = app(prog_name="desk", standalone_mode=False)
    except DeskError as error:
        tell_error(error.message)
        raise SystemExit(75 if isinstance(error, TemporaryFailure) else 2) from None
    except (KeyboardInterrupt, typer.Abort):
        raise SystemExit(130) from None
    except BrokenPipeError:
        sys.stderr.close()  # nobody reads us any more, and Python would say so once more while it ends
        raise SystemExit(0) from None
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        raise SystemExit(_misused(error)) from None
    raise SystemExit(status if isinstance(status, int) else 0)


def _misused(error: Any) -> int:
    """A wrong option or argument in one line; the command without arguments shows its help, which is the whole message."""
    message, context = error.format_message(), getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(message, err=True)
    else:
        where = context.command_path if context else "desk"
        tell_error(f"{message.rstrip('.')}. See `{where} --help`.")
    return int(error.exit_code)


if __name__ == "__main__":
    main()
