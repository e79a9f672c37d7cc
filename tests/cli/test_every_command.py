"""Every command explains itself, and answers wrong input with one line that says what to do instead."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from services.cli import app
from tests.cli.program import Program, one_line_with_a_mend


def commands() -> list[tuple[str, ...]]:
    """All there are, from the program itself, so that a new one is tested from its first day."""
    found: list[tuple[str, ...]] = [()]
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined] # the top is always a group
        found.append((name,))
        found += [(name, sub) for sub in getattr(command, "commands", {})]
    return found


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Program:
    return Program(tmp_path_factory.mktemp("desk"))


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_help_says_what_it_is_for(command: tuple[str, ...]):
    done = CliRunner().invoke(app, [*command, "--help"], prog_name="desk")
    assert done.exit_code == 0
    usage, _, rest = done.stdout.partition("\n\n")
    assert usage.startswith(" ".join(("Usage: desk", *command)))
    assert len(rest.strip().splitlines()[0].split()) >= 3
    cut = [line for line in rest.splitlines() if line.endswith("...")]
    assert not cut, "cut off: make the first sentence of that docstring shorter"


WRONG = {
    "nosuch": "No such command 'nosuch'",
    "up more": "extra argument",
    "demo --home {root}/docs": "--home",
    "demo --home /proc/none/here": "DESK_HOME",
    "bench --only nosuch": "accept",
    "parse": "Missing argument 'adapter'",
    "parse email": "Missing argument 'files'",
    "parse nosuch README.md": "email, phone, telegram",
    "classify": "--jsonl",
    "schema Nosuch": "Submission, Complaint",
    "show": "Missing argument 'reference'",
    "show junk": "C261121-7K3QXP",
    "show C261122-000000": "C261121-7K3QXP",
    "queue ls": "desk up",
    "queue ls nosuch": "desk up",
    "queue claim warehouse -n 0": "greater than or equal to 1",
    "queue claim warehouse --lease -5": "greater than or equal to 1",
    "queue claim warehouse -n many": "valid integer",
    "queue requeue warehouse junk": "C261121-7K3QXP",
    "queue rebuild": "desk up",
    "quarantine ls --state nosuch": "held, replayed, discarded",
    "quarantine show nosuch": "desk quarantine ls",
    "quarantine export nosuch": "desk quarantine ls",
    "quarantine discard nosuch": "desk quarantine ls",
    "quarantine replay nosuch": "desk up",
    "mailbox status": "Set DESK_MAILBOXES",
    "mailbox try": "Set DESK_MAILBOXES",
    "keys add": "Missing argument 'name'",
    "keys add me": "--department with one of after_sales",
    "keys add me --department nosuch": "--department with one of after_sales",
    "keys add me --scope nosuch": "intake, department, operator",
    "keys add me --scope operator --department warehouse": "Leave --department out",
    "keys revoke nosuch": "desk keys ls",
    "adapters check nosuch": "email, phone, telegram",
    "adapters new BAD": "lower-case letters",
    "adapters new email": "Choose another name",
    "policy check nosuch.toml": "nosuch.toml",
    "policy check README.md": "desk policy check",
}


@pytest.mark.parametrize(("line", "mend"), WRONG.items(), ids=WRONG)
def test_wrong_input_gets_one_line_with_the_mend(line: str, mend: str, desk: Program):
    root = str(Path(__file__).resolve().parents[2])
    assert mend in one_line_with_a_mend(desk(*line.format(root=root).split()))


WRONG_SETTINGS = {
    "HOMER=x": "Did you mean DESK_HOME?",
    "INTAKE_PORT=many": "DESK_INTAKE_PORT",
    "POLICY_FILE=nosuch.toml": "DESK_POLICY_FILE",
    "LEDGER_URL=nonsense": "postgresql+asyncpg://",
    "HOME=/proc/none": "DESK_",
}


@pytest.mark.parametrize(("setting", "mend"), WRONG_SETTINGS.items(), ids=WRONG_SETTINGS)
def test_a_wrong_setting_is_named(setting: str, mend: str, desk: Program):
    name, _, value = setting.partition("=")
    assert mend in one_line_with_a_mend(desk("keys", "add", "me", "--scope", "operator", **{name: value}))


def test_no_command_shows_the_help(desk: Program):
    done = desk()
    assert done.returncode == 2
    assert done.stderr.startswith("Usage: desk ")


def test_version(desk: Program):
    assert desk("--version").stdout.startswith("Complaint Desk ")


def test_settings_tell_what_is_in_effect_and_no_secret(desk: Program):
    url = "postgresql+asyncpg://desk:hush1@db.example/desk"
    done = desk("settings", SECRET="hush2", LEDGER_URL=url, SENDERS='{"smtp": {"password": "hush3"}}')
    assert done.returncode == 0
    assert "hush" not in done.stdout
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert lines["DESK_LEDGER_URL"] == "postgresql+asyncpg://desk:***@db.example/desk"
    assert lines["DESK_HOME"] == str(desk.home)
    assert lines["DESK_BLOBS_URL"].startswith("(default) file:///")


def test_doctor_finds_what_is_wrong(desk: Program):
    well = desk("doctor")
    assert (well.returncode, "WRONG" in well.stdout) == (0, False)
    ill = desk("doctor", LEDGER_URL="postgresql+asyncpg://a:b@127.0.0.1:1/x", REDIS_URL="redis://127.0.0.1:1", ACCOUNTS='{"nosuch": {}}')
    assert ill.returncode == 1
    wrong = {line.split()[1]: line for line in ill.stdout.splitlines() if line.startswith("WRONG")}
    assert list(wrong) == ["ledger", "Redis", "channels"]
    assert "DESK_LEDGER_URL" in wrong["ledger"]
    assert "DESK_REDIS_URL" in wrong["Redis"]
    assert "DESK_ACCOUNTS" in wrong["channels"]


def test_parse_reads_the_others_when_one_is_no_mail(desk: Program, tmp_path: Path):
    good, bad = tmp_path / "good.eml", tmp_path / "bad.eml"
    good.write_bytes("From: 李雷 <lilei@mail.example>\r\nSubject: 少发\r\n\r\n少了一件。\r\n".encode())
    bad.write_bytes(b"\x00\x01")
    done = desk("parse", "email", str(bad), str(good), str(tmp_path / "none.eml"))
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert [line["file"] for line in lines] == [str(bad), str(good), str(tmp_path / "none.eml")]
    assert set(lines[0]["error"]) == {"code", "message"}
    assert lines[1]["from"]["address"] == "lilei@mail.example"
    assert lines[2]["error"]["code"] == "no_such_file"


def test_classify_reads_the_others_when_a_line_is_broken(desk: Program):
    done = desk("classify", "--jsonl", given='{"id": 7, "text": "退款一直没到账"}\nbroken\n'.encode())
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert done.returncode == 1
    assert (first["id"], first["category"], first["department"]) == (7, "refund_abnormal", "finance")
    assert "Line 2" in second["error"]["message"]


def test_schema_refers_only_to_what_it_holds(desk: Program):
    document = json.loads(desk("schema").stdout)
    names = set(document["$defs"])
    assert {"Submission", "Complaint", "Customer", "Attachment", "Event", "Notice"} <= names

    def references(node: object) -> list[str]:
        if isinstance(node, dict):
            return [value for key, value in node.items() if key == "$ref"] + [r for value in node.values() for r in references(value)]
        return [r for value in node for r in references(value)] if isinstance(node, list) else []

    assert {r.removeprefix("#/$defs/") for r in references(document)} <= names


def test_a_new_adapter_passes_from_the_start(desk: Program, tmp_path: Path):
    made = desk("adapters", "new", "line_works", "--folder", str(tmp_path))
    assert made.returncode == 0
    assert 'line_works = "line_works:ADAPTER"' in made.stdout
    checked = desk("adapters", "check", str(tmp_path / "line_works.py"))
    assert checked.returncode == 0, checked.stdout
    assert "line_works" in one_line_with_a_mend(desk("adapters", "new", "line_works", "--folder", str(tmp_path)))


def test_the_policy_is_shown_as_json(desk: Program):
    assert "warehouse" in json.loads(desk("policy", "show").stdout)["departments"]
    own = desk.home / "policy.toml"
    own.write_text(desk("policy", "show", "--toml").stdout, encoding="utf-8")
    assert desk("policy", "check", str(own)).stdout == desk("policy", "check").stdout
    assert desk("policy", "check").stdout.startswith("ok: ")


def test_the_ledger_is_brought_up_to_date(desk: Program, tmp_path: Path):
    before = desk("db", "status", HOME=str(tmp_path / "new"))
    assert (before.returncode, before.stdout.startswith("ledger empty")) == (1, True)
    after = desk("db", "upgrade", HOME=str(tmp_path / "new"))
    assert (after.returncode, "desk db upgrade" in after.stdout) == (0, False)


def test_adapters_are_listed(desk: Program):
    assert [line.split()[0] for line in desk("adapters", "ls").stdout.splitlines()] == [
        "email", "phone", "telegram", "web_form", "webhook", "wechat",
    ]  # fmt: skip
