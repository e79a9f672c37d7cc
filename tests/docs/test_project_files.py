"""The files around the code: Makefile, compose.yaml, Dockerfile, locks; and what must stand in no file of the project."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from typer.main import get_command

from services.cli import app
from shared.settings import Settings
from tests.docs.pages import ROOT

SETTINGS = {f"DESK_{field.name.upper()}" for field in msgspec.structs.fields(Settings)}
SERVICE_KEYS = {
    "build", "cap_drop", "command", "depends_on", "environment", "healthcheck", "image", "ports", "read_only", "restart", "security_opt",
    "stop_grace_period", "tmpfs", "volumes",
}  # fmt: skip
"""The keys of the Compose specification that ours uses. A new one is added here after a look at the specification."""
DURATION = re.compile(r"(?:\d+h)?(?:\d+m)?(?:\d+s)?")


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))


def test_make_help_lists_every_target():
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = subprocess.run(["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {line.split()[0] for line in shown.splitlines()} == targets
    assert all(len(line.split()) > 2 for line in shown.splitlines()), "a target without its sentence"
    assert subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True).stdout == shown


def test_compose_has_only_what_compose_knows(compose: dict[str, Any]):
    assert {key for key in compose if not key.startswith("x-")} == {"name", "services", "volumes"}
    for name, service in compose["services"].items():
        assert set(service) <= SERVICE_KEYS, name
        assert "image" in service or "build" in service, name
        assert service["restart"] in ("no", "always", "on-failure", "unless-stopped"), name
        assert DURATION.fullmatch(service.get("stop_grace_period", "")), name
        assert all(isinstance(value, str) for value in service.get("environment", {}).values()), name


def test_compose_names_only_what_is_there(compose: dict[str, Any]):
    for name, service in compose["services"].items():
        for other, wanted in service.get("depends_on", {}).items():
            assert wanted == {"condition": "service_healthy"}, name
            assert "healthcheck" in compose["services"][other], f"{name} waits for the health of {other}"
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in compose["volumes"], f"{name} uses the volume {source}"
    used = {volume.split(":")[0] for service in compose["services"].values() for volume in service.get("volumes", [])}
    assert used == set(compose["volumes"])


def test_compose_checks_the_health_of_all(compose: dict[str, Any]):
    assert {"intake", "router", "notifier", "valkey", "postgres", "mail-sink"} == set(compose["services"])
    for name, service in compose["services"].items():
        check = service["healthcheck"]
        assert check["test"][0] in ("CMD", "CMD-SHELL"), name
        assert all(DURATION.fullmatch(check[key]) for key in ("interval", "timeout", "start_period") if key in check), name


def test_compose_runs_real_commands_with_real_settings(compose: dict[str, Any]):
    commands: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined] # the top is always a group
    for name in ("intake", "router", "notifier"):
        service = compose["services"][name]
        assert service["command"] == [name]
        assert name in commands
        assert set(service["environment"]) <= SETTINGS
        port = next(f.default for f in msgspec.structs.fields(Settings) if f.name == f"{name}_port")
        assert f"127.0.0.1:{port}/ready" in service["healthcheck"]["test"][-1]


def test_what_compose_must_be_given_stands_in_its_head():
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    head = text.split("\nname:")[0]
    for variable in set(re.findall(r"\$\{(\w+):\?", text)):
        assert f"{variable}=" in head


def test_the_image_is_built_from_what_is_there():
    dockerfile = (ROOT / "Dockerfile").read_text()
    copied = [word for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile, re.MULTILINE) for word in line.split()[:-1]]
    assert "requirements.lock" in copied
    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert "--require-hashes" in dockerfile
    assert "USER desk" in dockerfile


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_locks_are_hashed(lock: str):
    entries = re.split(r"^(?=[a-z0-9])", (ROOT / lock).read_text(), flags=re.MULTILINE)[1:]
    assert all(re.match(r"[\w.\[\]-]+==\S+", entry) and "--hash=sha256:" in entry for entry in entries)
    pinned = {_plain(re.split(r"[=\[]", entry)[0]) for entry in entries}
    declared = re.findall(r'^  "([\w.-]+)', (ROOT / "pyproject.toml").read_text().split("[project.optional")[0], re.MULTILINE)
    assert len(declared) > 30
    assert {_plain(name) for name in declared} <= pinned


def _plain(name: str) -> str:
    """A package's name as packages compare them (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_no_file_names_where_packages_come_from():
    """Whoever builds this chooses their own registry; its host is in no file."""
    hosts = re.compile(
        rb"|".join([rb"pypi\." + rb"org", rb"python" + rb"hosted", rb"index-" + rb"url[= ]+http", rb"registry\.npm" + rb"js"])
    )
    named = [str(path.relative_to(ROOT)) for path in tracked() if hosts.search(path.read_bytes())]
    assert named == []


def test_no_merge_is_left_half_done():
    left = re.compile(rb"^(<{7} |>{7} )", re.MULTILINE)
    assert [str(path.relative_to(ROOT)) for path in tracked() if left.search(path.read_bytes())] == []
