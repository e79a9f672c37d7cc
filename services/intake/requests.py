"""Reads what Litestar would read too late or too slowly: bodies within limits of size and time, and the few headers that matter.

Knows nothing of what is in a body.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from services.intake.door import KEPT_HEADERS
from services.intake.patience import Patience
from shared.errors import SubmissionRejected, TooLarge

IDLE = 20.0
"""Seconds without a byte after which a sender is given up."""
WHOLE = 300.0
"""Seconds for a whole body: 25 MB over a poor telephone line."""
FORM_OVERHEAD = 65_536
"""What a multipart form may need beside its files."""

QUOTED_KEY = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"[ \t]*(?:;.*)?')
BARE_KEY = re.compile(r"[!#-:<-~]+")
KEPT = {name.encode(): name for name in KEPT_HEADERS}

_patience = Patience()

Headers = Iterable[tuple[bytes, bytes]]
Receive = Callable[[], Awaitable[Any]]


class TooSlow(SubmissionRejected):
    """The body came too slowly. Send it again over a better connection, or with smaller files."""

    code = "too_slow"
    status = 408


class CutShort(SubmissionRejected):
    """The connection ended before the body was whole. Send it again."""

    code = "cut_short"


class BadKey(SubmissionRejected):
    """The Idempotency-Key cannot be used: send 1 to 255 printable ASCII characters, in double quotes as RFC 9651 writes strings."""

    code = "bad_idempotency_key"


async def read_body(headers: Headers, receive: Receive, limit: int, *, drain: int = 0, patience: float = IDLE) -> bytes:
    """The whole body. Raises TooLarge as soon as that is known (before reading, where Content-Length says so), TooSlow or CutShort.

    drain: a body up to this size is read to its end and thrown away before it is refused, since a browser shows our answer only then.
    patience: seconds without a byte.
    """
    for name, value in headers:
        if name == b"content-length" and value.isdigit() and int(value) > max(limit, drain):
            raise _too_large(limit)
    message = await _next(receive, patience)
    body: bytes = message.get("body", b"")
    if message["type"] == "http.request" and not message.get("more_body"):
        if len(body) > limit:
            raise _too_large(limit)
        return body
    chunks, size = [body], len(body)
    end = time.monotonic() + WHOLE
    while message["type"] == "http.request" and message.get("more_body"):
        message = await _next(receive, min(patience, end - time.monotonic()))
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size <= limit:
            chunks.append(chunk)
        elif size > drain:
            raise _too_large(limit)
    if message["type"] != "http.request":
        raise CutShort
    if size > limit:
        raise _too_large(limit)
    return b"".join(chunks)


async def _next(receive: Receive, seconds: float) -> Any:
    try:
        return await _patience.wait_for(receive(), seconds)
    except TimeoutError:
        raise TooSlow from None


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"At most {limit:,} bytes are taken at once. Leave out or shrink some of the files, or send them in a second message.")


def kept(headers: Headers) -> dict[str, str]:
    """The headers that are kept beside the raw bytes, decoded; no others are looked at."""
    return {KEPT[name]: value.decode("latin-1") for name, value in headers if name in KEPT}


def idempotency_key(headers: Headers) -> str | None:
    """The Idempotency-Key of a request (draft-ietf-httpapi-idempotency-key-header): a string in quotes, or bare. Raises BadKey."""
    sent = [value for name, value in headers if name == b"idempotency-key"]
    if not sent:
        return None
    text = sent[0].decode("latin-1").strip()
    quoted = QUOTED_KEY.fullmatch(text)
    key = re.sub(r"\\(.)", r"\1", quoted.group(1)) if quoted else text if BARE_KEY.fullmatch(text) else ""
    if len(sent) > 1 or not 1 <= len(key) <= 255:
        raise BadKey
    return key
