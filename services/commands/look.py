"""`desk show`, `desk settings`, `desk doctor`: looking without changing."""

from __future__ import annotations

import shutil
import sys
from datetime import datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
import typer

from services.commands.terminal import out, settings, with_ledger, with_redis
from shared.errors import ConfigError, DeskError
from shared.references import read_reference
from shared.settings import Settings, is_secret

ZONE = ZoneInfo("Asia/Shanghai")


def register(app: typer.Typer) -> None:
    app.command()(show)
    app.command(name="settings")(print_settings)
    app.command()(doctor)


def show(reference: Annotated[str, typer.Argument(help="Such as C261121-7K3QXP; as it was read aloud will do")]) -> None:
    """The whole history of a complaint, readable."""
    from shared.ledger import complaints, customers, deadlines, notices, submissions

    wanted = read_reference(reference)
    if wanted is None:
        raise ConfigError(f"'{reference}' is not a reference. It looks like C261121-7K3QXP.")

    async def load(ledger: Any) -> None:
        async with ledger.read() as tx:
            complaint = await complaints.get(tx, wanted)
            events = await complaints.history(tx, wanted)
            due = await deadlines.of_complaint(tx, wanted)
            told = await notices.of_complaint(tx, wanted)
            came = await submissions.of_complaint(tx, wanted)
            owner = await customers.get(tx, complaint.customer_id)
        line = f"{complaint.reference}  {complaint.state}  {complaint.category or 'not yet decided'}"
        out.print(f"{line}  {complaint.priority or ''}  {complaint.department}{'  (review)' if complaint.review else ''}")
        if owner:
            out.print(f"  customer   {owner[0].name or '-'}  {', '.join(f'{i.kind} {i.value}' for i in owner[1])}")
        out.print(
            f"  received   {_local(complaint.received_at)} by {complaint.source}, {complaint.language}, order {complaint.order_number or '-'}"
        )
        for label, other in (("joined to", complaint.joined_to), ("continues", complaint.linked_to)):
            if other:
                out.print(f"  {label:<10} {other}")
        if complaint.decision:
            out.print(f"\nWhy (confidence {complaint.confidence:.2f}, policy {complaint.decision.policy_hash})")
            for reason in complaint.decision.reasons:
                words = f"  [{', '.join(reason.words)}]" if reason.words else ""
                out.print(f"  {reason.why}{words}", markup=False)
        out.print("\nDeadlines")
        for d in due:
            state = f"met {_local(d.met_at)}" if d.met_at else f"MISSED {_local(d.breached_at)}" if d.breached_at else "running"
            out.print(f"  {_local(d.due_by)}  {d.clock:<18} {state:<22} {d.why}", markup=False)
        out.print("\nHistory")
        lines: list[tuple[datetime, str]] = [(e.at, f"{e.kind:<14} {e.actor:<12} {_detail(e.detail)}") for e in events]
        for n in told:
            ended = f"{n.state} to {n.notice.source} after {n.attempts} attempt(s)" + (
                f": {n.reason}" if n.reason and n.state != "sent" else ""
            )
            lines.append((n.sent_at or n.notice.created_at, f"{n.notice.kind:<14} {'notifier':<12} {ended}"))
        for at, line in sorted(lines, key=lambda pair: pair[0]):
            out.print(f"  {_local(at)}  {line}", markup=False)
        out.print("\nIn the customer's words")
        for s in came:
            files = "".join(f"  [{a.filename}, {a.size:,} bytes]" for a in s.submission.attachments)
            out.print(f"  {_local(s.received_at)}  {s.role} by {s.submission.source}{files}", markup=False)
            text = "\n".join(part for part in (s.submission.subject, s.submission.text) if part)
            out.print("    " + text.replace("\n", "\n    "), markup=False)

    with_ledger(load)


def _local(at: datetime | None) -> str:
    return at.astimezone(ZONE).strftime("%m-%d %H:%M:%S") if at else "-"


def _detail(detail: dict[str, Any]) -> str:
    return "  ".join(f"{k}={v}" for k, v in detail.items() if k != "dedupe_key" and v not in ("", None))


def print_settings() -> None:
    """Every setting with its value; secrets masked."""
    chosen = settings()
    for field in msgspec.structs.fields(Settings):
        value = getattr(chosen, field.name)
        shown = "(set)" if value and is_secret(field.name) else value if value != "" else "(default)"
        out.print(f"DESK_{field.name.upper():<24} {shown}", markup=False)


def doctor() -> None:
    """Check everything the desk needs and say how to mend what is wrong. Exit status 1 when something is."""
    from shared.policy import load

    chosen = settings()
    wrong = 0

    def tell(name: str, problem: str, mend: str = "") -> None:
        nonlocal wrong
        wrong += bool(problem)
        out.print(
            f"{'WRONG' if problem else 'ok   '}  {name}{': ' + problem if problem else ''}{'  -> ' + mend if problem and mend else ''}",
            markup=False,
        )

    tell("Python", "" if sys.version_info >= (3, 11) else sys.version.split()[0], "install Python 3.11 or newer")
    try:
        policy = load(chosen.policy)
        tell(f"policy {policy.hash}", "")
    except DeskError as error:
        tell("policy", error.message)

    async def ledger_lives(ledger: Any) -> int:
        from shared.ledger import quarantine

        async with ledger.read() as tx:
            return await quarantine.count_held(tx)

    try:
        held = with_ledger(ledger_lives)
        tell("ledger", "")
        tell("quarantine", f"{held} held" if held else "", "desk quarantine ls")
    except DeskError as error:
        tell("ledger", error.message, "check DESK_LEDGER_URL and that the database runs")
    if chosen.redis_url:

        async def redis_lives(redis: Any) -> None:
            await redis.ping()

        try:
            with_redis(redis_lives)
            tell("Redis", "")
        except Exception as error:
            tell("Redis", str(error), "check DESK_REDIS_URL and that the server runs")
    else:
        from services.embedded import valkey_binary

        try:
            valkey_binary()
            tell("embedded Valkey", "")
        except DeskError as error:
            tell("embedded Valkey", error.message)
    home = chosen.home_path.absolute()
    home.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(home).free
    tell(f"disk under {home}", f"only {free >> 20} MiB free" if free < 1 << 30 else "", "free at least 1 GiB")
    raise typer.Exit(1 if wrong else 0)
