"""Where things are: the environment, read once in the entry point into one frozen struct. Every name begins with DESK_.

What the organisation wants (departments, clocks, wording) is not here but in the policy. An unknown DESK_ name is an error, so that a
misspelt one never goes unnoticed. `desk settings` prints them with the secrets masked.
"""

from __future__ import annotations

import difflib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from shared.errors import ConfigError

PREFIX = "DESK_"
Secret = Annotated[str, msgspec.Meta(extra_json_schema={"secret": True})]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings with their local defaults. Times in seconds, sizes in bytes."""

    home: str = "./var"
    """Folder for everything the desk writes: the embedded ledger, blobs, the Valkey data, logs."""
    ledger_url: str = ""
    """SQLAlchemy URL of the ledger; empty means SQLite under home. PostgreSQL: postgresql+asyncpg://user:password@host/name."""
    redis_url: str = ""
    """redis:// URL; empty means the embedded Valkey under home."""
    blobs_url: str = ""
    """obstore URL for attachments (s3://bucket/prefix); empty means a folder under home."""
    policy_file: str = ""
    """The organisation's policy TOML; empty means the one that ships with the package."""
    secret: Secret = ""
    """Key of reply tokens, tracking links and API keys; empty means one kept in home/secret, made at the first start."""
    public_url: str = "http://127.0.0.1:8080"
    """How customers reach intake's pages; tracking links begin with it."""
    intake_host: str = "127.0.0.1"
    intake_port: int = 8080
    router_host: str = "127.0.0.1"
    router_port: int = 8081
    notifier_host: str = "127.0.0.1"
    notifier_port: int = 8082
    smtp_door_host: str = "127.0.0.1"
    smtp_door_port: int = 0
    """Port of the SMTP door for incoming mail; 0 means no door."""
    smtp_door_domains: str = ""
    """Comma-separated domains whose mail the door takes; empty means every recipient that is a mailbox of ours."""
    mailboxes: str = ""
    """JSON list of IMAP mailboxes: [{"host","port","user","password","folder","junk","account","start":"now"|"all"}]; docs/email.md."""
    accounts: Secret = ""
    """JSON object of channel accounts and their secrets: {"wechat": {"gh_demo": {"token": ..}}, "telegram": {..}, "webhook": {..}}."""
    senders: Secret = ""
    """JSON object of sender settings: {"smtp": {"host","port","user","password","from"}, "wechat": {..}, "telegram": {..}}."""
    mail_from: str = "care@shop.example"
    """Our own mail address; replies come back to it with a keyed tag."""
    mail_name: str = "客服中心"
    """The name customers see beside mail_from."""
    max_submission: int = 26_214_400
    """Largest submission taken on any channel, in bytes."""
    log_level: str = "INFO"
    log_format: str = "json"
    """json for machines, console for people."""

    @property
    def home_path(self) -> Path:
        return Path(self.home)

    @property
    def ledger(self) -> str:
        return self.ledger_url or f"sqlite+aiosqlite:///{self.home_path.absolute() / 'ledger.sqlite3'}"

    @property
    def policy(self) -> Path | None:
        return Path(self.policy_file) if self.policy_file else None

    @property
    def redis(self) -> str:
        return self.redis_url or f"unix://{self.home_path.absolute() / 'valkey.sock'}"

    @property
    def blobs(self) -> str:
        return self.blobs_url or (self.home_path.absolute() / "blobs").as_uri()


def is_secret(field: str) -> bool:
    """Whether a setting must never be printed: secrets themselves, and those that carry passwords inside."""
    return field in {"secret", "accounts", "senders", "mailboxes"} or field.endswith("_url")


def read(environ: Mapping[str, str]) -> Settings:
    """Settings from an environment. Raises ConfigError that names the wrong variable and its mend."""
    known = {f.name: f for f in msgspec.structs.fields(Settings)}
    values: dict[str, Any] = {}
    for name, value in environ.items():
        if not name.startswith(PREFIX):
            continue
        field = name.removeprefix(PREFIX).lower()
        if field not in known:
            close = difflib.get_close_matches(field, known, n=1)
            hint = f"Did you mean {PREFIX}{close[0].upper()}?" if close else "See `desk settings` for all names."
            raise ConfigError(f"{name} is not a setting. {hint}")
        values[field] = value
    try:
        return msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        wrong, _, path = str(error).partition(" - at `$.")
        raise ConfigError(f"{PREFIX}{path.rstrip('`').upper()} cannot be read: {wrong}. Mend it in the environment.") from None


def make_home(settings: Settings) -> Path:
    """The home folder, made where it is missing. Raises ConfigError where it cannot be."""
    home = settings.home_path.absolute()
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"The folder {home} cannot be made ({error.strerror}). Set DESK_HOME to one that can be written.") from None
    if not os.access(home, os.W_OK):
        raise ConfigError(f"The folder {home} cannot be written. Mend its rights, or set DESK_HOME to another one.")
    return home


def secret_key(settings: Settings) -> bytes:
    """The desk's own key: from the settings, or from home/secret, which is made (mode 600) when missing."""
    if settings.secret:
        return settings.secret.encode()
    path = settings.home_path / "secret"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x") as file:
            path.chmod(0o600)
            file.write(secrets.token_hex(32))
    except FileExistsError:
        pass
    return path.read_text().strip().encode()
