"""Writes the start of a new channel adapter: module, fixture cases, expected files. The result keeps every promise of conformance.py.

The pattern shown is the commonest one: JSON signed with HMAC-SHA256 over the raw body. Overwrites nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import keyword
import re
from collections.abc import Iterable
from pathlib import Path
from string import Template

import msgspec

from services.intake import registry
from services.intake.cases import Case, Meta, bless, save
from shared.complaint import Channel
from shared.errors import ConfigError

NAME = re.compile(r"[a-z][a-z0-9_]{1,39}").fullmatch
SECRET = "a-secret-for-the-fixtures-only"  # noqa: S105 - signs the example cases, protects nothing
MODULE = Template('''\
"""$title: what customers write there. Source: name the platform's own document here.

Reads and nothing else: no socket, file, clock or log. Media stay with the platform under their id.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Annotated

import msgspec

from services.intake.adapter import Adapter, Delivery, Parsed
from shared.complaint import Channel, Customer, Identity, Submission
from shared.errors import Unreadable, Untrusted
from shared.reading import from_seconds, one_line, read_json, tidy

SIGNATURE = "x-$dashed-signature"
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class Message(msgspec.Struct, frozen=True):
    """One message as the platform sends it; fields it adds later are passed over."""

    id: Id
    user: Id
    text: Annotated[str, msgspec.Meta(max_length=50_000)]
    sent: int = 0


MESSAGE = msgspec.json.Decoder(Message)


class ${title}Adapter(Adapter):
    """Reads one message; `account` is the name under which the secrets stand in DESK_ACCOUNTS."""

    name = "$name"
    channel = Channel.$channel
    secrets = ("secret",)

    def verify(self, delivery: Delivery, secret: Mapping[str, str]) -> Delivery:
        key = secret.get("secret", "")
        if not key:
            raise Untrusted(f"No secret for the $name account {delivery.account}: add it to DESK_ACCOUNTS.")
        wanted = hmac.digest(key.encode(), delivery.raw, hashlib.sha256).hex()
        if not hmac.compare_digest(wanted.encode(), delivery.headers.get(SIGNATURE, "").encode("utf-8", "surrogatepass")):
            raise Untrusted(f"The header {SIGNATURE} is missing or does not fit. Compare the secret of account {delivery.account}.")
        return delivery

    def parse(self, delivery: Delivery) -> tuple[Parsed, ...]:
        message = read_json(MESSAGE, delivery.raw)
        text, user = tidy(message.text), one_line(message.user)
        if not text or not user:
            raise Unreadable("The message has no text or no user. Send what the customer wrote.")
        submission = Submission(
            channel=self.channel,
            source=f"{self.channel.value}/$name",
            account=delivery.account,
            text=text,
            # the platform's id; where it gives none, leave this empty and the key is made from the raw bytes
            external_id=one_line(message.id),
            conversation=user,
            sent_at=from_seconds(message.sent),
            customer=Customer(identities=(Identity("$name", f"{delivery.account}:{user}", verified=True),)),
        )
        return (Parsed(submission=submission),)


ADAPTER = ${title}Adapter()
''')


class Scaffolded(msgspec.Struct, frozen=True):
    """What was written, and the line for pyproject.toml under [project.entry-points."complaint_desk.adapters"]."""

    files: tuple[Path, ...]
    entry_point: str


def new(name: str, folder: Path, channel: Channel = Channel.SOCIAL, taken: Iterable[str] | None = None) -> Scaffolded:
    """Write folder/NAME.py and folder/fixtures/NAME/. taken: names in use; None means the installed ones.

    Raises ConfigError where the name will not do, is taken, or a file is already there.
    """
    if not NAME(name) or keyword.iskeyword(name):
        raise ConfigError(f"'{name}' will not do as a name: two to forty lower-case letters, digits and _, beginning with a letter.")
    if name in (registry.entries() if taken is None else taken):
        raise ConfigError(f"There is already an adapter called '{name}'. Choose another name.")
    module, fixtures = folder / f"{name}.py", folder / "fixtures" / name
    for path in (module, fixtures):
        if path.exists():
            raise ConfigError(f"{path} is already there. Move it away, or choose another name.")
    title = "".join(part.capitalize() for part in name.split("_"))
    folder.mkdir(parents=True, exist_ok=True)
    module.write_text(MODULE.substitute(name=name, dashed=name.replace("_", "-"), title=title, channel=channel.name), "utf-8")
    for case in examples(name):
        save(fixtures, case)
    bless(registry.load_file(module), fixtures)
    return Scaffolded((module, *sorted(fixtures.iterdir())), f'{name} = "{dotted(module)}:ADAPTER"')


def scaffold(name: str, folder: Path) -> str:
    """`new`, and what to do next, for the terminal. Raises ConfigError."""
    made = new(name, folder)
    return (
        f"Written: {made.files[0]} and {len(made.files) - 1} files of cases in {made.files[1].parent}\n"
        f'In your pyproject.toml, under [project.entry-points."{registry.GROUP}"]:\n'
        f"    {made.entry_point}\n"
        f"Now put real deliveries into the cases, change verify and parse, and run: desk adapters check {made.files[0]}"
    )


def examples(name: str) -> list[Case]:
    """The cases every adapter wants at least: good, repeated, another one, forged, unsigned, cut short, empty."""
    header = f"x-{name.replace('_', '-')}-signature"

    def case(title: str, raw: bytes, signature: str | None = None, same_as: str = "") -> Case:
        made = hmac.digest(SECRET.encode(), raw, hashlib.sha256).hex() if signature is None else signature
        headers = {"content-type": "application/json"} | ({header: made} if made else {})
        return Case(name=title, raw=raw, meta=Meta(headers=headers, secret={"secret": SECRET}, same_as=same_as))

    good = '{"id":"m-1","user":"u-7","text":"没收到货","sent":1700000000}'.encode()
    other = b'{"id":"m-2","user":"u-8","text":"The parcel never arrived."}'
    return [
        case("text", good),
        case("text_repeated", good, same_as="text"),
        case("english", other),
        case("forged", good.replace(b"u-7", b"u-9"), hmac.digest(SECRET.encode(), good, hashlib.sha256).hex()),
        case("unsigned", good, ""),
        case("no_text", b'{"id":"m-3","user":"u-7","text":" "}'),
        case("cut_short", good[:20]),
        case("empty", b""),
    ]


def dotted(module: Path) -> str:
    """The import path of a module file: its name after the packages it lies in."""
    parts, folder = [module.stem], module.absolute().parent
    while (folder / "__init__.py").exists():
        parts.insert(0, folder.name)
        folder = folder.parent
    return ".".join(parts)
