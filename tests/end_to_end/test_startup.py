"""What cannot start says why and names its mend, at once, on one line and without a traceback."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.world import environment

pytestmark = [pytest.mark.end_to_end, pytest.mark.xdist_group("processes"), pytest.mark.timeout(240)]


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port on which another program already listens."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


async def desk(command: str, environ: dict[str, str]) -> tuple[int, str]:
    """Exit status and what was said on standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.cli", command,
        env=environ, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode is not None
    return process.returncode, said.decode()


@pytest.mark.parametrize("command", ["intake", "router", "notifier", "up"])
async def test_a_busy_port_names_the_setting(command: str, tmp_path: Path, taken_port: int) -> None:
    name = "router" if command == "up" else command
    status, said = await desk(command, environment(tmp_path, **{f"{name}_port": str(taken_port)}))
    assert status == 2, said
    assert f"127.0.0.1:{taken_port}" in said
    assert f"set DESK_{name.upper()}_PORT to a free port" in said
    assert "Traceback" not in said


async def test_an_unknown_setting_names_the_right_one(tmp_path: Path) -> None:
    status, said = await desk("up", environment(tmp_path, intake_prot="8080"))
    assert (status, said.strip()) == (2, "desk: DESK_INTAKE_PROT is not a setting. Did you mean DESK_INTAKE_PORT?")


@pytest.mark.parametrize("command", ["router", "up"])
async def test_a_broken_policy_names_file_and_place(command: str, tmp_path: Path) -> None:
    policy = tmp_path / "ours.toml"
    policy.write_text('name = "ours"\n[departments.finance\n')
    status, said = await desk(command, environment(tmp_path, policy_file=str(policy)))
    assert status == 2, said
    assert str(policy) in said
    assert "line 2" in said
    assert "Traceback" not in said


async def test_what_only_one_service_can_know_is_said_by_the_supervisor_without_trying_again(tmp_path: Path) -> None:
    status, said = await desk("up", environment(tmp_path, senders='{"pigeon": {}}'))
    assert status == 2, said
    assert "DESK_SENDERS names a sender 'pigeon' that is not installed" in said
    assert said.count("service.fell") <= 1


async def test_a_ledger_that_is_away_may_be_there_later(tmp_path: Path) -> None:
    status, said = await desk("intake", environment(tmp_path, ledger_url=f"postgresql+asyncpg://desk@/desk?host={tmp_path}"))
    assert status == 75, said
    assert "ledger" in said
    assert "Traceback" not in said
