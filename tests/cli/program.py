"""Runs the `desk` command as a person does: a process of its own, with its own home folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from socket import socket

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "services.cli"]
WITHIN = 60


@dataclass(frozen=True)
class Program:
    """`desk` with one home folder. `settings` are DESK_ variables without their prefix."""

    home: Path
    settings: dict[str, str] = field(default_factory=dict)

    def environ(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DESK_")}
        chosen = {"HOME": str(self.home), **self.settings, **more}
        return kept | {"COLUMNS": "100"} | {f"DESK_{name}": value for name, value in chosen.items()}

    def __call__(self, *arguments: str, given: bytes = b"", **settings: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end. settings: DESK_ variables for this call."""
        done = subprocess.run(
            [*COMMAND, *arguments], input=given, capture_output=True, env=self.environ(**settings), cwd=ROOT, timeout=WITHIN, check=False
        )
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    @contextmanager
    def running(self, *arguments: str, until: str) -> Iterator[str]:
        """Keep it running inside the block; what it printed up to the line with `until`. Ended by Ctrl-C, it must exit with status 0."""
        with subprocess.Popen(
            [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self.environ(), cwd=ROOT
        ) as process:
            printed = ""
            try:
                assert process.stdout is not None
                for line in process.stdout:
                    printed += line
                    if until in line:
                        break
                assert until in printed, f"desk {' '.join(arguments)} ended without '{until}':\n{printed}"
                yield printed
            finally:
                process.send_signal(signal.SIGINT)
                status = process.wait(WITHIN)
        assert status == 0


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    probes = [socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def one_line_with_a_mend(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that a wrong input gets: on standard error, exit status 2, nothing else printed, no traceback."""
    assert (done.returncode, done.stdout) == (2, ""), done
    [line] = done.stderr.splitlines()
    assert line.startswith("desk: ")
    return line
