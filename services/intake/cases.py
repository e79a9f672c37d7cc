"""Fixture cases of adapters: a delivery as data, and what must come of it. Reads and writes the folder; judges nothing.

A case is three files: NAME.raw (the bytes), NAME.meta.json (how they came) and NAME.expected.json (what must come of them):
`{"submissions": [..]}`, `{"error": code, "message"?: ..}` or `{"handshake": {"body", "media_type", "status"}}`.
`bless` writes the expected files from what the adapter does now; the diff is the review.
"""

from __future__ import annotations

import inspect
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from services.intake.adapter import Adapter, Delivery, Parsed, Reply
from shared.errors import ConfigError, SubmissionRejected, TooLarge

DEFAULT_TIME = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)


class Meta(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a delivery came. same_as: the name of the case this one repeats, so that both must get one dedupe key."""

    account: str = "demo"
    received_at: datetime = DEFAULT_TIME
    headers: dict[str, str] = {}
    query: dict[str, str] = {}
    secret: dict[str, str] = {}
    same_as: str = ""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One fixture. expected: None where nobody has blessed it yet."""

    name: str
    raw: bytes
    meta: Meta
    expected: dict[str, Any] | None = None

    @property
    def delivery(self) -> Delivery:
        meta = self.meta
        return Delivery(raw=self.raw, account=meta.account, received_at=meta.received_at, headers=meta.headers, query=meta.query)


class Outcome(msgspec.Struct, frozen=True):
    """What an adapter made of a delivery: a handshake's reply, or what it parsed, or the refusal."""

    reply: Reply | None = None
    parsed: tuple[Parsed, ...] = ()
    refusal: SubmissionRejected | None = None
    verified: Delivery | None = None

    def as_data(self) -> dict[str, Any]:
        """The outcome in the form of an expected file."""
        if self.refusal:
            return {"error": self.refusal.code, "message": self.refusal.message}
        if self.reply:
            return {"handshake": {"body": self.reply.body.decode(), "media_type": self.reply.media_type, "status": self.reply.status}}
        return {"submissions": [msgspec.to_builtins(one.submission) for one in self.parsed]}


def run(adapter: Adapter, delivery: Delivery, secret: dict[str, str]) -> Outcome:
    """What the desk does with a delivery: size, handshake, verify, parse. Lets through every error that is not a SubmissionRejected."""
    try:
        if len(delivery.raw) > adapter.max_bytes:
            raise TooLarge(f"The delivery has {len(delivery.raw)} bytes; {adapter.name} takes at most {adapter.max_bytes}. Send less.")
        reply = adapter.handshake(delivery, secret)
        if reply is not None:
            return Outcome(reply=reply)
        verified = adapter.verify(delivery, secret)
        return Outcome(parsed=adapter.parse(verified), verified=verified)
    except SubmissionRejected as refusal:
        return Outcome(refusal=refusal)


def fixtures_of(adapter: Adapter) -> Path:
    """Where an adapter's cases lie: the folder fixtures/NAME beside its module."""
    return Path(inspect.getfile(type(adapter))).parent / "fixtures" / adapter.name


def load(folder: Path) -> list[Case]:
    """The cases of a folder by name. Raises ConfigError that names the file, where one is missing or cannot be read."""
    cases: list[Case] = []
    for path in sorted(folder.glob("*.raw")):
        meta, expected = path.with_suffix(".meta.json"), path.with_suffix(".expected.json")
        cases.append(
            Case(
                name=path.stem,
                raw=path.read_bytes(),
                meta=read(meta, Meta) if meta.exists() else Meta(),
                expected=read(expected, dict[str, Any]) if expected.exists() else None,
            )
        )
    if not cases:
        raise ConfigError(f"There are no cases in {folder}. Put the bytes of one delivery into {folder / 'example.raw'}, then bless it.")
    return cases


def read(path: Path, wanted: type[Any]) -> Any:
    """A JSON file as the wanted type. Raises ConfigError that names it."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=wanted)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}. Mend the file.") from None


def save(folder: Path, case: Case) -> None:
    """Write a case's raw and meta files, and the expected one where it is known."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{case.name}.raw").write_bytes(case.raw)
    write(folder / f"{case.name}.meta.json", case.meta)
    if case.expected is not None:
        write(folder / f"{case.name}.expected.json", case.expected)


def write(path: Path, value: object) -> None:
    """A value as JSON that people read in a diff."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")


def bless(adapter: Adapter, folder: Path) -> list[str]:
    """Write every expected file anew from what the adapter does now, and return the names of the cases that changed."""
    changed: list[str] = []
    for case in load(folder):
        now = msgspec.json.decode(msgspec.json.encode(run(adapter, case.delivery, case.meta.secret).as_data()))
        if now != case.expected:
            changed.append(case.name)
            write(folder / f"{case.name}.expected.json", now)
    return changed
