"""`desk demo` tells the whole story with real input and ends with exit status 0."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.end_to_end, pytest.mark.xdist_group("processes"), pytest.mark.timeout(300)]


async def test_the_demo_goes_as_it_should(tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("DESK_")}
    demo = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.cli", "demo", "--home", str(tmp_path / "demo"),
        env=environ, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await asyncio.wait_for(demo.communicate(), 280)
    assert demo.returncode == 0, said.decode()[-3000:]
    assert "All went as it should" in said.decode()
    if shutil.which("dovecot"):
        assert "a mailbox (Dovecot)" in said.decode()
