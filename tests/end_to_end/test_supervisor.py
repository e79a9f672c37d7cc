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
    async with outside() as world, whole_desk(environment(tmp_path / "home", world)) as whole:
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


class Up:
    """A `desk up` of its own, the addresses it printed, and the processes that belong to it."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.environ = environ
        self.said = ""
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> asyncio.subprocess.Process:
        self.said = ""
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.cli", "up", env=self.environ,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        assert self.process.stdout is not None
        while "Ctrl-C stops it." not in self.said:
            line = (await asyncio.wait_for(self.process.stdout.readline(), 120)).decode()
            assert line, self.said
            self.said += line
        return self.process

    def family(self) -> list[int]:
        assert self.process is not None
        mother = self.process.pid
        return [mother, *(int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and parent_of(p) == mother)]


def parent_of(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


async def none_left(family: list[int], what: str) -> None:
    """Every one of these processes ends."""

    async def gone() -> bool:
        return not any(Path(f"/proc/{pid}").exists() for pid in family)

    await until(gone, f"{what}; of {family} there are {[pid for pid in family if Path(f'/proc/{pid}').exists()]}", 30)


async def test_sigterm_to_the_supervisor_ends_every_process(tmp_path: Path) -> None:
    desk = Up(environment(tmp_path))
    up = await desk.start()
    family = desk.family()
    assert len(family) == 5, f"the supervisor, Valkey and three services, found {family}"
    up.terminate()
    rest, _ = await asyncio.wait_for(up.communicate(), 60)
    assert up.returncode == 0, desk.said + rest.decode()
    await none_left(family, "all ended")
    assert not (tmp_path / "desk.pid").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
async def test_a_killed_supervisor_leaves_nothing_running_and_can_be_started_again(tmp_path: Path) -> None:
    desk = Up(environment(tmp_path))
    up = await desk.start()
    family = desk.family()
    up.kill()
    await up.communicate()
    await none_left(family, "nothing is left behind")
    again = await desk.start()
    again.terminate()
    await asyncio.wait_for(again.communicate(), 60)
    assert again.returncode == 0, desk.said


async def test_sigterm_during_the_start_ends_every_process_too(tmp_path: Path) -> None:
    desk = Up(environment(tmp_path))
    starting = asyncio.create_task(desk.start())

    async def some() -> bool:
        return desk.process is not None and len(desk.family()) > 1

    await until(some, "the supervisor has started something", 60)
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    assert desk.process is not None
    family = desk.family()
    desk.process.terminate()
    await asyncio.wait_for(desk.process.communicate(), 60)
    assert desk.process.returncode == 0
    await none_left(family, "all ended")
