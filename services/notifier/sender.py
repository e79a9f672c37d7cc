"""The contract a sender fulfils: carries one composed letter to the customer on one channel.

Third parties publish theirs through the entry-point group `complaint_desk.senders`. A sender never retries, never writes to the
ledger and never decides wording: it sends once and says what happened.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import msgspec

from shared.complaint import Notice


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A notice put into words. message_id is the same for every attempt, so that a peer can recognise a repeated one.

    For mail: subject, html, reply_to (keyed address), from_name (what the customer sees beside our address) and the ids of the thread,
    bare and already cleaned. Every other channel has `text` only.
    """

    notice: Notice
    subject: str
    text: str
    html: str
    message_id: str
    reply_to: str = ""
    from_name: str = ""
    in_reply_to: str = ""
    references: tuple[str, ...] = ()


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """The peer's word that it took the letter: its own id for it where it gave one, and what it said."""

    external_id: str = ""
    said: str = ""


class Sender(ABC):
    """Base of all senders. `sources` are the complaint sources it answers (email, social/wechat, ...).

    repeatable: sending the same letter again does no harm, since the peer or the customer's client recognises the repeated id. Where it
    is False and a crash leaves the outcome unknown, the letter is not sent again: it is shown to the staff as uncertain.
    """

    name: ClassVar[str]
    sources: ClassVar[tuple[str, ...]]
    repeatable: ClassVar[bool] = False

    async def open(self, settings: Mapping[str, str]) -> None:
        """Called once before the first send. settings: the sender's own part of the settings. Raises ConfigError."""
        del settings

    @abstractmethod
    async def send(self, letter: Letter) -> Sent:
        """Send once. Raises TemporaryFailure(retry_after) where another try may help, Undeliverable where it cannot."""

    async def close(self) -> None:  # noqa: B027 - most senders hold nothing open
        """Called once after the last send."""
