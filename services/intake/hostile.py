"""Bodies that strangers send by mistake or on purpose, made from an adapter's own good ones. Deterministic: one seed, one list. Pure.

They are for `parse`: cut short, bytes flipped, every field of a JSON body replaced by something else, numbers grown, nesting, entity
bombs, and the good body repeated up to the largest size the adapter takes.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from typing import Any, cast

ENTITY_BOMB = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><xml><Content>&b;&b;</Content></xml>'
ALWAYS: tuple[tuple[str, bytes], ...] = (
    ("nothing", b""),
    ("blanks", b" \r\n" * 1000),
    ("null bytes", b"\x00" * 65536),
    ("0xff bytes", b"\xff" * 65536),
    ("quotes", b'"' * 65536),
    ("deep JSON lists", b"[" * 100_000),
    ("deep JSON objects", b'{"a":' * 50_000),
    ("deep XML", b"<xml>" + b"<a>" * 50_000),
    ("XML entities", ENTITY_BOMB),
    ("XML that reads a file", b'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/hostname">]><xml><Content>&f;</Content></xml>'),
    ("a JSON number", b"7"),
    ("JSON null", b"null"),
    ("an empty list", b"[]"),
    ("an empty object", b"{}"),
    ("a list of nothing", b"[null]"),
    ("a lone surrogate", b'{"text":"\\ud800"}'),
    ("UTF-16", '{"text":"没收到货"}'.encode("utf-16")),
    ("GB18030", '{"text":"没收到货"}'.encode("gb18030")),
)
STRANGE: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    2**63,
    1e308,
    "",
    " ",
    "\x00",
    "\ud83d",
    "\u202egpj.exe",
    "9" * 400,
    "x" * 100_000,
    "9999-12-31T23:59:59-23:59",
    "0001-01-01T00:00:00+14:00",
    "../../etc/passwd",
    [],
    {},
    [[[]]],
)


def bodies(good: bytes, largest: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Labelled bad bodies made from a good one. largest: bytes the adapter takes. seed: the same one gives the same bodies."""
    chance = random.Random(seed)  # noqa: S311 - a repeatable list is wanted, not a secret
    yield from (
        (f"cut after {at} bytes", good[:at]) for at in sorted({len(good) * part // 16 for part in range(16)} | {max(0, len(good) - 1)})
    )
    yield from ((f"{size} random bytes", chance.randbytes(size)) for size in (1, 7, 64, 1024, 65536))
    for number in range(60):
        yield f"bytes changed, number {number}", changed(good, chance)
    yield "numbers grown", re.sub(rb"[0-9]+", b"99999999999999999999", good)
    yield "numbers made negative", re.sub(rb"(?<![0-9-])[0-9]+", b"-1", good)
    yield "doubled", good + good
    yield "as large as may be", (good * (largest // max(1, len(good)) + 1))[:largest]
    yield "a tail as large as may be", good + b"a" * max(0, largest - len(good))
    yield from odd_fields(good)


def changed(good: bytes, chance: random.Random) -> bytes:
    """A good body with one to four bytes replaced, left out or put in."""
    body = bytearray(good or b"\x00")
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(body)) if body else 0
        what = chance.randrange(3)
        if what == 0 and body:
            body[at] = chance.randrange(256)
        elif what == 1 and body:
            del body[at]
        else:
            body.insert(at, chance.randrange(256))
    return bytes(body)


def odd_fields(good: bytes) -> Iterator[tuple[str, bytes]]:
    """A JSON body with one field at a time replaced by something strange, or taken away. Nothing where the body is not JSON."""
    try:
        document = json.loads(good)
    except (ValueError, RecursionError):
        return
    for path in places(document):
        for value in STRANGE:
            yield f"{'.'.join(map(str, path))} replaced by {value!r:.30}", json.dumps(replaced(document, path, value)).encode()


def places(document: Any, above: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every field and list entry, at most five levels down."""
    for key, value in inside(document):
        yield (*above, key)
        if len(above) < 5:
            yield from places(value, (*above, key))


def inside(document: Any) -> list[tuple[Any, Any]]:
    """The fields of an object or the entries of a list."""
    if isinstance(document, dict):
        return list(cast("dict[Any, Any]", document).items())
    return list(enumerate(cast("list[Any]", document))) if isinstance(document, list) else []


def replaced(document: Any, path: tuple[str | int, ...], value: Any) -> Any:
    """A copy of a document with the field at a path replaced."""
    if not path:
        return value
    copy = document.copy()
    copy[path[0]] = replaced(copy[path[0]], path[1:], value)
    return copy
