"""A private Dovecot for tests: random port on loopback, users from a file, Maildir in a temporary folder. Works as root and as others."""

from __future__ import annotations

import contextlib
import getpass
import grp
import imaplib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

CONFIG = """
base_dir = {base}/run
state_dir = {base}/state
log_path = {base}/log
info_log_path = {base}/log
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login
mail_location = maildir:{base}/mail/%u/Maildir
default_internal_user = {internal}
default_internal_group = {group}
default_login_user = {login}
first_valid_uid = 0
first_valid_gid = 0
imap_idle_notify_interval = 1 mins
mailbox_idle_check_interval = 1 secs
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {base}/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={base}/mail/%u
}}
"""


#: where logins by token are wanted: Dovecot asks the address behind which the token's owner is told
OAUTH_CONFIG = """
auth_mechanisms = plain login xoauth2 oauthbearer
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {base}/oauth2.conf
}}
"""
OAUTH_ASKED = """
tokeninfo_url = {url}
username_attribute = email
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Dovecot:
    """A running server. Users log in with the password "secret"."""

    host = "127.0.0.1"
    password = "secret"

    def __init__(self, base: Path, tokens_at: str = "") -> None:
        self.base = base
        self.tokens_at = tokens_at
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        # as root, Dovecot insists on running its login process as somebody else: its package made these users
        root = os.getuid() == 0
        internal, login = ("dovecot", "dovenull") if root else (getpass.getuser(), getpass.getuser())
        group = "dovecot" if root else grp.getgrgid(os.getgid()).gr_name
        owner = pwd.getpwnam(internal)
        mail = self.base / "mail"
        mail.mkdir()
        if root:
            os.chown(mail, owner.pw_uid, owner.pw_gid)
        (self.base / "users").write_text("".join(f"{name}:{self.password}\n" for name in ("care", "sales", "full")))
        config = self.base / "dovecot.conf"
        config.write_text(
            CONFIG.format(base=self.base, internal=internal, login=login, group=group, port=self.port, uid=owner.pw_uid, gid=owner.pw_gid)
        )
        if self.tokens_at:
            (self.base / "oauth2.conf").write_text(OAUTH_ASKED.format(url=self.tokens_at))
            with config.open("a") as more:
                more.write(OAUTH_CONFIG.format(base=self.base))
        self.process = subprocess.Popen(["dovecot", "-F", "-c", str(config)], stderr=subprocess.PIPE)
        deadline = time.monotonic() + 15
        while True:
            try:
                with self.login("care"):
                    return
            except (OSError, imaplib.IMAP4.error) as error:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    log = (self.base / "log").read_text() if (self.base / "log").exists() else ""
                    said = (self.process.stderr.read() if self.process.poll() is not None and self.process.stderr else b"").decode()
                    self.stop()
                    raise RuntimeError(f"Dovecot does not answer: {error}\n{said}\n{log}") from error
                time.sleep(0.05)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait(5)
            if self.process.stderr:
                self.process.stderr.close()
            self.process = None

    @contextlib.contextmanager
    def login(self, user: str) -> Iterator[imaplib.IMAP4]:
        client = imaplib.IMAP4(self.host, self.port, timeout=10)
        try:
            client.login(user, self.password)
            yield client
        finally:
            with contextlib.suppress(OSError, imaplib.IMAP4.error):
                client.logout()

    def append(self, user: str, *mails: bytes, folder: str = "INBOX") -> None:
        """Put mails into a folder, as a delivery agent would."""
        with self.login(user) as client:
            for mail in mails:
                assert client.append(folder, None, None, mail.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))[0] == "OK"

    def flags(self, user: str, folder: str = "INBOX") -> list[str]:
        with self.login(user) as client:
            if client.select(folder, readonly=True)[1] == [b"0"]:
                return []
            return [str(item) for item in client.fetch("1:*", "(FLAGS)")[1] if item]

    def count_seen(self, user: str, folder: str = "INBOX") -> int:
        return sum("Seen" in flags for flags in self.flags(user, folder))

    def make_folder(self, user: str, folder: str) -> None:
        with self.login(user) as client:
            client.create(folder)

    def empty(self) -> None:
        """Fresh, empty mailboxes for all users."""
        self.kill_sessions()
        for folder in (self.base / "mail").iterdir():
            shutil.rmtree(folder)

    def kill_sessions(self) -> int:
        """Cut every IMAP session, as a broken network would. Login processes and the server itself go on."""
        assert self.process is not None
        killed = 0
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError, ProcessLookupError):
                fields = (entry / "stat").read_text().rpartition(")")
                if fields[0].partition("(")[2] == "imap" and int(fields[2].split()[1]) == self.process.pid:
                    os.kill(int(entry.name), signal.SIGKILL)
                    killed += 1
        return killed

    def rebuild(self, user: str) -> None:
        """Give the mailbox a new UIDVALIDITY and new UIDs, as a restored or migrated one has."""
        self.kill_sessions()
        maildir = self.base / "mail" / user / "Maildir"
        for name in maildir.glob("dovecot*"):
            name.unlink()
        (maildir / "dovecot-uidlist").write_text(f"3 V{secrets.randbelow(10**8) + 10**9} N100\n")
        shutil.chown(maildir / "dovecot-uidlist", maildir.owner(), maildir.group())


@contextlib.contextmanager
def running(tokens_at: str = "") -> Iterator[Dovecot]:
    """A Dovecot for the time of a test run. Without the program the test is skipped; where CI is set it fails.

    tokens_at: where it asks whose an access token is.
    """
    if shutil.which("dovecot") is None:
        message = "Dovecot is not installed (Debian: apt-get install dovecot-imapd)."
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    base = Path(tempfile.mkdtemp(prefix="desk-dovecot-"))
    base.chmod(0o755)
    server = Dovecot(base, tokens_at)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(base, ignore_errors=True)
