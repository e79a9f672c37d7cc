"""A private PostgreSQL cluster for tests: real, on a unix socket in its own folder, fsync on, owned by an ordinary user.

Where the server is missing, a test skips, and fails under CI.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

USER = "desk"
OPTIONS = ("fsync=on", "synchronous_commit=on", "max_connections=80", "shared_buffers=64MB", "listen_addresses=", "autovacuum=off")


class PrivatePostgres:
    """A running cluster. `url(database)` is what a Ledger opens."""

    def __init__(self, folder: Path, programs: Path, account: pwd.struct_passwd) -> None:
        self.folder = folder
        self._programs = programs
        self._account = account

    def url(self, database: str) -> str:
        return f"postgresql+asyncpg://{USER}@/{database}?host={self.folder}"

    def start(self) -> None:
        options = " ".join(f"-c {option}" for option in (*OPTIONS, f"unix_socket_directories={self.folder}"))
        self._run("pg_ctl", "start", "-w", "-D", self._data, "-l", str(self.folder / "log"), "-o", options)

    def stop(self, how: str = "fast") -> None:
        """how: fast, or immediate, which is what a crash looks like."""
        self._run("pg_ctl", "stop", "-w", "-m", how, "-D", self._data)

    def make(self) -> None:
        self._run("initdb", "-D", self._data, "-U", USER, "--auth=trust", "--no-locale", "--encoding=UTF8", "--no-sync")

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    def _run(self, program: str, *arguments: str) -> None:
        who = {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
        done = subprocess.run(
            [self._programs / program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # the server inherits it: a pipe would never end
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
            timeout=60,
            check=False,
            **who,
        )
        if done.returncode:
            raise RuntimeError(f"{program} {' '.join(arguments)} ended with status {done.returncode}")


def programs() -> Path | None:
    """The folder of initdb and pg_ctl: on the PATH, or where Debian keeps them."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent if (Path(found).resolve().parent / "pg_ctl").exists() else Path(found).parent
    return next((p.parent for p in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)), None)


def ordinary_account() -> pwd.struct_passwd | None:
    """Who the server runs as: ourselves, or where we are root, postgres or nobody."""
    if os.geteuid():
        return pwd.getpwuid(os.geteuid())
    by_name = {account.pw_name: account for account in pwd.getpwall()}
    return by_name.get("postgres") or by_name.get("nobody")


@contextmanager
def private_postgres() -> Iterator[PrivatePostgres]:
    """A started cluster, stopped and cleared away afterwards."""
    found, account = programs(), ordinary_account()
    if found is None or account is None:
        why = "PostgreSQL is missing: install the Debian package postgresql"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    folder = Path(tempfile.mkdtemp(prefix="desk-pg-"))
    if os.geteuid() == 0:
        os.chown(folder, account.pw_uid, account.pw_gid)
    server = PrivatePostgres(folder, found, account)
    try:
        server.make()
        server.start()
        yield server
        server.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
