"""One mail as the relay on loopback took it, readable by its headers. Never part of a running desk."""

from __future__ import annotations

import re
import time
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as reading
from functools import cached_property

MESSAGE_ID = re.compile(rb"^Message-ID:\s*<([^>\r\n]+)>", re.IGNORECASE | re.MULTILINE)


class ReceivedMail:
    """One mail as it arrived, at `at` (epoch seconds). The headers are read when first asked for."""

    def __init__(self, envelope_from: str, recipients: tuple[str, ...], raw: bytes) -> None:
        self.envelope_from = envelope_from
        self.recipients = recipients
        self.raw = raw
        self.at = time.time()

    @cached_property
    def message(self) -> EmailMessage:
        return message_from_bytes(self.raw, policy=reading)

    @property
    def message_id(self) -> str:
        found = MESSAGE_ID.search(self.raw)
        return found[1].decode("utf-8", "replace") if found else ""

    @property
    def subject(self) -> str:
        return str(self.message["subject"] or "")

    @property
    def to(self) -> str:
        return ", ".join(self.recipients)

    @property
    def text(self) -> str:
        """The plain part with LF line ends, empty where there is none."""
        body = self.message.get_body(("plain",))
        return body.get_content().replace("\r\n", "\n") if body else ""
