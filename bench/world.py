"""The desk as real processes on loopback: Valkey, the services that are asked for, the world they send to; SQLite or a private PostgreSQL.

with World(services=("intake", "router")) as world: ...
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from services.embedded import valkey_command

ALL = ("intake", "router", "notifier")
READY_WITHIN = 60.0
STOP_WITHIN = 40.0


class World:
    """Starts in `with`, stops and clears away at its end. ledger: a URL, or empty for SQLite in its own folder."""

    def __init__(self, services: Sequence[str] = ALL, *, ledger: str = "", environ: Mapping[str, str] | None = None) -> None:
        self._services = services
        self.home = Path(tempfile.mkdtemp(prefix="desk-bench-"))
        self.ports = {name: free_port() for name in ALL}
        self.redis_url = f"unix://{self.home / 'valkey.sock'}"
        self.ledger_url = ledger or f"sqlite+aiosqlite:///{self.home / 'ledger.sqlite3'}"
        self.peer: dict[str, int] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._more = dict(environ or {})

    def __enter__(self) -> Self:
        try:
            self._start("valkey", valkey_command(self.home, self.home / "valkey.sock"))
            until((self.home / "valkey.sock").exists, "Valkey")
            if "notifier" in self._services:
                self._start_peer()
            for name in self._services:
                self.start(name)
            for name in self._services:
                self.await_ready(name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, kind: object = None, *_: object) -> None:
        for name in (*self._services, "peer", "valkey"):
            self.stop(name)
            if kind is not None and name in self._services:
                sys.stderr.write(f"--- {name} said at last:\n{self.log_of(name)}\n")
        shutil.rmtree(self.home, ignore_errors=True)

    def start(self, name: str) -> None:
        """One service, by its own command."""
        self._start(name, [sys.executable, "-m", "services.cli", name])

    def stop(self, name: str) -> None:
        process = self.processes.pop(name, None)
        if process is None:
            return
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()

    def signal(self, name: str, which: signal.Signals) -> None:
        """SIGSTOP makes a process hang, SIGCONT lets it go on."""
        self.processes[name].send_signal(which)

    def address(self, name: str) -> tuple[str, int]:
        return "127.0.0.1", self.ports[name]

    def resident_mb(self, name: str) -> float:
        """Memory of a process that is in RAM, in MB."""
        status = Path(f"/proc/{self.processes[name].pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024

    def cpu_seconds(self, name: str) -> float:
        """Processor time a process has used so far, its kernel's included."""
        fields = Path(f"/proc/{self.processes[name].pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def ask_peer(self, path: str) -> Any:
        """What the world outside has seen: services/demo/platforms.py."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.peer['http_port']}/peer/{path}", timeout=30) as answer:
            return json.loads(answer.read())

    def await_ready(self, name: str) -> None:
        def ready() -> bool:
            if self.processes[name].poll() is not None:
                raise RuntimeError(f"{name} fell at its start:\n{self.log_of(name)}")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[name]}/ready", timeout=5) as answer:
                    return answer.status == 200
            except (OSError, urllib.error.URLError):
                return False

        until(ready, name)

    def log_of(self, name: str) -> str:
        """The end of what a process wrote."""
        return (self.home / f"{name}.log").read_text(errors="replace")[-2000:]

    def environ(self) -> dict[str, str]:
        """The environment of the services: ours, without anybody's own DESK_ settings."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("DESK_")}
        senders = {"smtp": {"host": "127.0.0.1", "port": str(self.peer["smtp_port"]), "tls": "none", "hello": "bench"}} if self.peer else {}
        return clean | {
            "DESK_HOME": str(self.home),
            "DESK_LEDGER_URL": self.ledger_url,
            "DESK_REDIS_URL": self.redis_url,
            "DESK_SENDERS": json.dumps(senders),
            "DESK_LOG_LEVEL": "WARNING",
            **{f"DESK_{name.upper()}_PORT": str(port) for name, port in self.ports.items()},
            **self._more,
        }

    def _start_peer(self) -> None:
        command = [sys.executable, "-m", "services.demo.platforms"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env=self.environ())
        self.processes["peer"] = process
        assert process.stdout is not None
        self.peer = json.loads(process.stdout.readline())

    def _start(self, name: str, command: Sequence[str]) -> None:
        with (self.home / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log, env=self.environ())


def until(holds: Callable[[], bool], what: str, *, within: float = READY_WITHIN, every: float = 0.02) -> None:
    """Wait for it. Raises TimeoutError that names it."""
    give_up_at = time.monotonic() + within
    while not holds():
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"{what} did not come about within {within:.0f} s")
        time.sleep(every)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def module(name: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A module of ours as a process that listens on the port."""
    with subprocess.Popen([sys.executable, "-m", name, str(port)]) as process:
        try:
            until(lambda: listens(port) or process.poll() is not None, name)
            yield process
        finally:
            process.terminate()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def postgres() -> Iterator[str | None]:
    """The ledger URL of a private cluster with fsync on; None where PostgreSQL is not installed."""
    from tests.postgres import ordinary_account, private_postgres, programs

    if programs() is None or ordinary_account() is None:
        yield None
        return
    with private_postgres() as server:
        yield server.url("postgres")
