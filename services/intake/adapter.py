"""The contract a channel adapter fulfils. An adapter reads; everything else (HTTP, limits, storage, logging, retries) is the desk's.

An adapter is one object with two pure methods and, where the platform wants one, a handshake. It opens no socket and no file, reads no
clock and keeps no state; `services/intake/conformance.py` checks that. Third parties publish theirs through the entry-point group
`complaint_desk.adapters`; the module attribute named there is an instance of a subclass of Adapter.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar

import msgspec

from shared.complaint import Channel, Submission

NO_HEADERS: Mapping[str, str] = {}


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """What arrived, before anybody looked inside.

    headers: names in lower case. query: decoded, the last value of a repeated name. account: which of our mailboxes, apps or lines it
    came to. received_at: aware, UTC; the only clock an adapter has.
    """

    raw: bytes
    account: str
    received_at: datetime
    headers: Mapping[str, str] = NO_HEADERS
    query: Mapping[str, str] = NO_HEADERS


class Parsed(msgspec.Struct, frozen=True, kw_only=True):
    """One submission and the bytes of its attachments by their sha256 (hex). Attachments left with the platform have no entry."""

    submission: Submission
    files: Mapping[str, bytes] = {}


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What the platform must hear back, verbatim."""

    body: bytes = b""
    media_type: str = "text/plain; charset=utf-8"
    status: int = 200


class Adapter(ABC):
    """Base of all adapters. `name` is the word in URLs, the `desk` command and fixtures; `max_bytes` bounds one delivery."""

    name: ClassVar[str]
    channel: ClassVar[Channel]
    max_bytes: ClassVar[int] = 1 << 20
    #: names of the secrets of an account that `verify` needs, e.g. ("token", "encoding_aes_key"); shown by `desk adapters ls`
    secrets: ClassVar[tuple[str, ...]] = ()

    def verify(self, delivery: Delivery, secret: Mapping[str, str]) -> Delivery:
        """Refuse what is forged, before anything is parsed; give back what `parse` shall read.

        Most adapters return `delivery` itself; one whose platform encrypts returns it with `raw` decrypted. Signatures are compared in
        constant time over the raw bytes. Raises Untrusted. The default trusts: right only for what comes by a door with its own lock.
        """
        del secret
        return delivery

    @abstractmethod
    def parse(self, delivery: Delivery) -> tuple[Parsed, ...]:
        """The submissions inside, in order; empty when there is nothing to keep (a read receipt, our own echo).

        Raises Unreadable or TooLarge and nothing else, in bounded time, whatever the bytes.
        """

    def handshake(self, delivery: Delivery, secret: Mapping[str, str]) -> Reply | None:
        """The answer to the platform's own check of our address, or None when this is not one. Raises Untrusted."""
        del delivery, secret
        return None

    def reply(self, delivery: Delivery) -> Reply:
        """What the platform hears once the submissions are stored."""
        del delivery
        return Reply()
