"""`desk up` keeps a desk running: what falls is started again, and a signal ends all of it cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.world import environment, outside, until, whole_desk

pytestmark = [pytest.mark.end_to_end, pytest.mark.xdist_group("processes"), pytest.mark.timeout(300)]


@pytest.mark.parametrize("name", ["intake", "router", "notifier", "valkey"])
async def test_a_killed_service_is_started_again_and_the_desk_goes_on(name: str, tmp_path: Path) -> None:
    async with outside(tmp_path) as world, whole_desk(environment(tmp_path / "home", world)) as whole:
        child = whole.stack.children[name]
        killed = child.pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)

        async def again() -> bool:
            return child.pid is not None and child.pid != killed

        await until(again, f"{name} is started again", 15 * whole.slowness)

        async def taken() -> str:
            with contextlib.suppress(httpx.HTTPError):
                answer = await whole.desk.http.post("/api/v1/complaints", json={"email": "lan@mail.example", "text": "退款没有到账。"})
                if answer.status_code == 202:
                    return str(answer.json()["reference"])
            return ""

        reference = await until(taken, "intake takes a complaint", 60 * whole.slowness)

        async def through() -> bool:
            return whole.desk.http is not None and reference in await whole.desk.queued() and world.relay.count == 1

        async def standing() -> str:
            return await whole.desk.story(reference)

        await until(through, standing, 60 * whole.slowness)


async def test_sigterm_to_the_supervisor_ends_every_process(tmp_path: Path) -> None:
    environ = environment(tmp_path / "home")
    up = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.cli", "up",
        env=environ, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert up.stdout is not None
    said = ""
    while "Ctrl-C stops it." not in said:
        line = (await asyncio.wait_for(up.stdout.readline(), 120)).decode()
        assert line, said
        said += line
    ours = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and str(tmp_path) in _environ(p)]
    assert len(ours) == 5, f"the supervisor, Valkey and three services, found {ours}"
    up.terminate()
    rest, _ = await asyncio.wait_for(up.communicate(), 60)
    assert up.returncode == 0, said + rest.decode()
    left = [pid for pid in ours if Path(f"/proc/{pid}").exists()]
    assert not left, f"still running: {left}\n{rest.decode()}"
    assert not (tmp_path / "home" / "desk.pid").exists()


def _environ(process: Path) -> str:
    try:
        return (process / "environ").read_bytes().decode(errors="replace")
    except OSError:
        return ""
