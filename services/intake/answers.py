"""The shapes of intake's HTTP answers, and the quickest way to send one."""

from __future__ import annotations

from datetime import datetime

import msgspec
from litestar.types import Receive, Scope, Send

from services.intake.accept import Receipt


class Answer(msgspec.Struct, frozen=True):
    """What became of a submission. outcome: accepted, follow_up, repeated, or held (kept for a person to look at, without a reference).

    tracking_url: the customer's own link to the progress; empty where the sender has not proved that the complaint is theirs.
    """

    reference: str
    outcome: str
    tracking_url: str
    locale: str


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """One thing in quarantine, without its bytes. count: how often the very same bytes came. state: held, replayed or discarded."""

    id: str
    adapter: str
    account: str
    code: str
    message: str
    size: int
    count: int
    first_at: datetime
    last_at: datetime
    state: str


class Replayed(msgspec.Struct, frozen=True):
    """What became of something that was taken out of quarantine after all."""

    id: str
    state: str
    receipts: list[Answer]


def told(receipt: Receipt, track: str) -> Answer:
    """A receipt as its sender reads it. track: the address under which the progress pages lie, with a slash at its end."""
    url = f"{track}{receipt.reference}/{receipt.tracking}" if receipt.tracking else ""
    return Answer(receipt.reference, receipt.outcome.value, url, receipt.locale.value)


def track_address(public_url: str) -> str:
    """Where the progress pages lie."""
    return f"{public_url.rstrip('/')}/track/"


class Raw:
    """A finished answer, without anything Litestar would work out for it."""

    __slots__ = ("_body", "_start")

    def __init__(self, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        headers.append((b"content-length", b"%d" % len(body)))
        self._start = {"type": "http.response.start", "status": status, "headers": headers}
        self._body = {"type": "http.response.body", "body": body, "more_body": False}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        await send(self._start)  # type: ignore[arg-type]
        await send(self._body)  # type: ignore[arg-type]
