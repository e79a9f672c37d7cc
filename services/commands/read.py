"""`desk parse`, `desk classify`, `desk schema`: reading without storing."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from services.commands.terminal import print_line, settings
from shared.errors import ConfigError, SubmissionRejected
from shared.policy import load


def register(app: typer.Typer) -> None:
    for command in (parse, classify, schema):
        app.command()(command)


def parse(
    adapter: Annotated[str, typer.Argument(help="email, or any adapter that `desk adapters ls` names")],
    files: Annotated[list[Path], typer.Argument(help="Files with raw bytes as they came in")],
) -> None:
    """Read files as an adapter would and print one JSON line each. Nothing is stored. Exit status 1 when one could not be read."""
    from services.intake.registry import find_adapters

    known = find_adapters()
    if adapter not in known:
        raise ConfigError(f"There is no adapter '{adapter}'. There are: {', '.join(sorted(known))}.")
    failed = False
    for path in files:
        try:
            raw = path.read_bytes()
            for line in _describe(adapter, known[adapter], path, raw):
                print_line(line)
        except OSError as error:
            failed = True
            print_line({"file": str(path), "error": {"code": "no_such_file", "message": f"{error.strerror}: check the path."}})
        except SubmissionRejected as error:
            failed = True
            print_line({"file": str(path), "error": {"code": error.code, "message": error.message}})
        except Exception as error:
            failed = True
            print_line({"file": str(path), "error": {"code": "our_fault", "message": f"{type(error).__name__}: {error}"}})
        sys.stdout.flush()
    raise typer.Exit(1 if failed else 0)


def _describe(name: str, adapter: Any, path: Path, raw: bytes) -> Iterable[Any]:
    if name == "email":
        from services.intake.mail.read import read_mail
        from services.intake.mail.report import describe

        return [describe(str(path), read_mail(raw))]
    from services.intake.adapter import Delivery

    headers = {"content-type": "application/json"} if raw.lstrip()[:1] in (b"{", b"[") else {}
    delivery = Delivery(raw=raw, account="file", received_at=datetime.now(UTC), headers=headers)
    return [{"file": str(path), "submission": parsed.submission} for parsed in adapter.parse(delivery)]


def classify(
    text: Annotated[str, typer.Argument(help="The complaint; leave it out with --jsonl")] = "",
    jsonl: Annotated[bool, typer.Option("--jsonl", help='Read {"id","text","subject"?,"channel"?} lines from standard input')] = False,
) -> None:
    """What the router would make of a text, and why. One JSON line each; nothing is stored. Exit status 1 when a line could not be read."""
    from services.router.classify.jsonl import classify_lines

    policy = load(settings().policy)
    if jsonl:
        failed = False
        for line in classify_lines(sys.stdin.buffer, policy):
            failed |= "error" in line
            print_line(line)
        raise typer.Exit(1 if failed else 0)
    if not text:
        raise ConfigError('Give a text (desk classify "退款一直没到账") or --jsonl with lines on standard input.')
    for line in classify_lines([msgspec.json.encode({"id": "1", "text": text})], policy):
        print_line(line)


def schema(
    name: Annotated[str, typer.Argument(help="One type, for example Submission; all when left out")] = "",
) -> None:
    """The one schema as JSON Schema. For integrators in any language."""
    from shared import complaint

    types = (
        complaint.Submission,
        complaint.Complaint,
        complaint.Customer,
        complaint.Attachment,
        complaint.Event,
        complaint.Decision,
        complaint.Notice,
    )
    by_name = {t.__name__: t for t in types}
    if name and name not in by_name:
        raise ConfigError(f"There is no type '{name}'. There are: {', '.join(by_name)}.")
    chosen = [by_name[name]] if name else list(types)
    _, definitions = msgspec.json.schema_components(chosen)
    document: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": definitions}
    text = msgspec.json.format(
        msgspec.json.encode(document).replace(b"#/components/schemas/", b"#/$defs/").replace(b"#/$defs/#/$defs/", b"#/$defs/")
    )
    sys.stdout.buffer.write(text + b"\n")
