"""From bytes that strangers sent to checked values: strict JSON with errors a person understands, tidy text, instants. Pure.

Every adapter reads through here, so that one wrong field is named in the same words on every channel. Error messages name fields and
never repeat what was in them: messages are logged, and a field may hold personal data.
"""

from __future__ import annotations

import difflib
import re
from datetime import UTC, datetime
from typing import Any, TypeVar, get_args

import msgspec

from shared.errors import Unreadable
from shared.references import BUSINESS_ZONE

T = TypeVar("T")

#: what no ledger keeps and no screen shows: C0 and C1 controls except tab and line feed, DEL, lone surrogates
UNWANTED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MISSING = re.compile(r"Object missing required field `([^`]*)`")
UNKNOWN = re.compile(r"Object contains unknown field `([^`]*)`")
TOO_LONG = re.compile(r"of length <= (\d+)")
WRONG_TYPE = re.compile(r"Expected `([^`]*)`, got `([^`]*)`")
PLACE = re.compile(r" - at `\$([^`]*)`$")
PLAIN_WORDS = {"str": "text in quotes", "int": "a whole number", "float": "a number", "array": "a list", "object": "an object"}
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


def read_json(decoder: msgspec.json.Decoder[T], raw: bytes) -> T:
    """What a strict decoder finds in raw JSON (RFC 8259: UTF-8; a byte order mark is forgiven). Raises Unreadable that names the field."""
    try:
        return decoder.decode(raw.removeprefix(BYTE_ORDER_MARK))
    except msgspec.ValidationError as error:
        raise Unreadable(explain(error, decoder.type)) from None
    except msgspec.DecodeError as error:
        what = "The body is empty." if not raw.strip() else f"The body is not complete, well-formed JSON ({error})."
        raise Unreadable(f"{what} Send one JSON document in UTF-8.") from None
    except UnicodeDecodeError:
        raise Unreadable("The JSON is not in UTF-8. Encode it as UTF-8 and send it again.") from None
    except RecursionError:
        raise Unreadable("The JSON is nested too deeply. Send plain fields only.") from None


def explain(error: msgspec.ValidationError, wanted: Any) -> str:
    """A validation error in a person's words, with the mend. wanted: the type that was asked for, to suggest the name that was meant."""
    said = str(error)
    place = PLACE.search(said)
    where = place.group(1).lstrip(".") if place else ""
    within = f" in '{where}'" if where else ""
    if found := MISSING.search(said):
        return f"The field '{found.group(1)}' is missing{within}. Add it and send again."
    if found := UNKNOWN.search(said):
        return f"There is no field '{found.group(1)[:60]}'{within}. {meant(found.group(1), wanted)}"
    named = f"The field '{where}'" if where else "The body"
    if found := TOO_LONG.search(said):
        return f"{named} is longer than {found.group(1)} characters. Shorten it and send again."
    if found := WRONG_TYPE.search(said):
        expected = " or ".join(PLAIN_WORDS.get(word, word) for word in found.group(1).split(" | "))
        got = PLAIN_WORDS.get(found.group(2), found.group(2))
        return f"{named} must be {expected}, not {got}. Leave it out where there is nothing to say."
    if "datetime" in said:
        return f"{named} must be a time such as 2026-03-01T10:02:11+08:00."
    return f"{named} cannot be used: {PLACE.sub('', said)}. Mend it and send again."


def meant(name: str, wanted: Any) -> str:
    """Which known field a misspelt one probably stands for."""
    known = struct_fields(wanted)
    close = difflib.get_close_matches(name[:60], known, n=1)
    if close:
        return f"Did you mean '{close[0]}'?"
    return f"Leave it out; the fields are: {', '.join(known)}." if known else "Leave it out."


def struct_fields(wanted: Any) -> list[str]:
    """The field names of a struct, or of the structs inside a union or a list."""
    if isinstance(wanted, type) and issubclass(wanted, msgspec.Struct):
        return [field.encode_name for field in msgspec.structs.fields(wanted)]
    return [name for inner in get_args(wanted) for name in struct_fields(inner)]


def tidy(text: str) -> str:
    """Text as a person wrote it: line ends made \\n, controls and lone surrogates gone, outer white space gone; words are not touched."""
    if not text.isprintable():
        text = UNWANTED.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return text.strip()


def one_line(text: str) -> str:
    """Text for a field of one line: tidy, and every run of white space is one blank."""
    if text.isprintable() and "  " not in text:
        return text.strip()
    return " ".join(UNWANTED.sub(" ", text).split())


def instant(value: datetime | None, field: str) -> datetime | None:
    """An aware instant in UTC; one without an offset is taken as business time (Asia/Shanghai). Raises Unreadable outside 2000 to 2099."""
    if value is None:
        return None
    try:
        moment = (value if value.tzinfo else value.replace(tzinfo=BUSINESS_ZONE)).astimezone(UTC)
    except OverflowError:
        moment = LATEST
    if not EARLIEST <= moment < LATEST:
        raise Unreadable(f"The field '{field}' lies outside the years 2000 to 2099. Mend the date and send again.")
    return moment


def from_seconds(seconds: int) -> datetime | None:
    """The instant of a platform's unix seconds, or None where they make no sense: a wrong clock is no reason to lose a message."""
    return datetime.fromtimestamp(seconds, UTC) if 946_684_800 <= seconds < 4_102_444_800 else None
