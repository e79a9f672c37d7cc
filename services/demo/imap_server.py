"""A real IMAP server on loopback for the demo: Dovecot where it is installed, else pymap from PyPI. Private folder, private port."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import grp
import imaplib
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from shared.errors import ConfigError

USER, PASSWORD = "demouser", "demopass"
START_WITHIN = 20.0

DOVECOT = """
protocols = imap
listen = 127.0.0.1
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
ssl = no
disable_plaintext_auth = no
default_login_user = {login_user}
default_internal_user = {internal_user}
default_internal_group = {internal_group}
mail_location = maildir:{folder}/mail/%u
mail_uid = {user}
mail_gid = {group}
first_valid_uid = 0
first_valid_gid = 0
service imap-login {{
  chroot =
  inet_listener imap {{
    address = 127.0.0.1
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={folder}/mail/%u
}}
"""


class ImapServer:
    """`async with ImapServer(folder) as server`: then `server.port` answers IMAP for any user with PASSWORD (pymap: USER only)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.name = ""
        self.port = 0
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> ImapServer:
        self.folder.mkdir(parents=True, exist_ok=True)
        for prepare in (self._dovecot, self._pymap):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
            command = prepare()
            if command and await self._start(command):
                return self
            await self.__aexit__()
        raise ConfigError(f"No IMAP server starts here; see {self.folder}/server.log. Install Debian's dovecot-imapd, or run `make setup`.")

    async def _start(self, command: list[str]) -> bool:
        with (self.folder / "server.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log, stdin=asyncio.subprocess.DEVNULL)
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + START_WITHIN
        while self._process.returncode is None and loop.time() < give_up_at:
            if await asyncio.to_thread(self._answers):
                return True
            await asyncio.sleep(0.1)
        return False

    async def __aexit__(self, *_: object) -> None:
        if self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), 10)
            except TimeoutError:
                self._process.kill()

    def deliver(self, *mails: bytes) -> None:
        """Put mails into the inbox, as a mail server does."""
        connection = imaplib.IMAP4("127.0.0.1", self.port, timeout=20)
        try:
            connection.login(USER, PASSWORD)
            for mail in mails:
                status, answer = connection.append("INBOX", "", "", mail)  # type: ignore[arg-type] # empty means none, as the library's own code reads it
                if status != "OK":
                    raise ConfigError(f"The demo's mailbox did not take a mail: {answer!r}")
        finally:
            connection.logout()

    def _answers(self) -> bool:
        try:
            connection = imaplib.IMAP4("127.0.0.1", self.port, timeout=2)
            connection.login(USER, PASSWORD)
            opened, _ = connection.select("INBOX")
            connection.logout()
        except (OSError, imaplib.IMAP4.error):
            return False
        return opened == "OK"

    def _dovecot(self) -> list[str] | None:
        binary = shutil.which("dovecot") or shutil.which("dovecot", path="/usr/sbin:/usr/local/sbin")
        if binary is None:
            return None
        version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603 - a path that `which` found
        if not version.startswith("2.3"):  # 2.4 has another configuration language
            return None
        self.name = "Dovecot"
        mails = self.folder / "mail"
        mails.mkdir(exist_ok=True)
        if os.getuid() == 0:  # Dovecot refuses to do its work as root; its package made these users
            names = {"user": "mail", "group": "mail", "login_user": "dovenull", "internal_user": "dovecot", "internal_group": "dovecot"}
            shutil.chown(mails, "mail", "mail")
            self.folder.chmod(0o711)
        else:
            user, group = getpass.getuser(), grp.getgrgid(os.getgid()).gr_name
            names = {"user": user, "group": group, "login_user": user, "internal_user": user, "internal_group": group}
        config = self.folder / "dovecot.conf"
        config.write_text(DOVECOT.format(folder=self.folder, port=self.port, password=PASSWORD, **names))
        return [binary, "-F", "-c", str(config)]

    def _pymap(self) -> list[str] | None:
        self.name = "pymap"
        script = Path(sys.executable).with_name("pymap")
        if not script.exists():
            return None
        return [
            str(script), "--host", "127.0.0.1", "--port", str(self.port), "--no-tls",
            "--no-service", "admin", "--no-service", "managesieve",
            "dict", "--demo-user", USER, "--demo-password", PASSWORD,
        ]  # fmt: skip
