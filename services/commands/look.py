"""`desk show` and `desk settings`: looking without changing."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
import typer

from services.commands.terminal import known_reference, masked, out, settings, with_ledger
from shared.settings import Settings

ZONE = ZoneInfo("Asia/Shanghai")


def register(app: typer.Typer) -> None:
    app.command()(show)
    app.command(name="settings")(print_settings)


def show(reference: Annotated[str, typer.Argument(help="Such as C261121-7K3QXP; as it was read aloud will do")]) -> None:
    """The whole history of a complaint, readable."""
    from shared.ledger import complaints, customers, deadlines, notices, submissions

    wanted = known_reference(reference)

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
        order = complaint.order_number or "-"
        out.print(f"  received   {_local(complaint.received_at)} by {complaint.source}, {complaint.language}, order {order}")
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
        lines: list[tuple[datetime, str]] = [(e.at, f"{e.kind:<16} {e.actor:<12} {_detail(e.detail)}") for e in events]
        for n in told:
            ended = f"{n.state} to {n.notice.source} after {n.attempts} attempt(s)" + (f": {n.reason}" if n.reason else "")
            lines.append((n.sent_at or n.notice.created_at, f"{n.notice.kind:<16} {'notifier':<12} {ended}"))
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
    in_effect = {
        "ledger_url": chosen.ledger,
        "redis_url": chosen.redis,
        "blobs_url": chosen.blobs,
        "policy_file": str(chosen.policy or "(the one in the package)"),
        "secret": str(chosen.home_path / "secret"),
    }
    for field in msgspec.structs.fields(Settings):
        value = getattr(chosen, field.name)
        if value == "":
            shown = f"(default) {in_effect[field.name]}" if field.name in in_effect else "(none)"
        else:
            shown = masked(field.name, value)
        out.print(f"DESK_{field.name.upper():<18} {shown}", markup=False)
