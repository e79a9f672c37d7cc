"""Prints one line a letter for channels without a way back: a call, a web form or chat whose writer left no address we can write to.

What it is for: the department's call-back list. Somebody rings the customer and reads the letter from the desk; the line says which
complaint, what about and in which language, and no personal data. It is also what a desk without any other sender falls back on.

Settings: file, to which the lines are appended; empty means standard output.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import msgspec

from services.notifier.sender import Letter, Sender, Sent
from services.notifier.sender_settings import read_options
from shared.complaint import Notice
from shared.errors import ConfigError, TemporaryFailure


class ConsoleOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    file: str = ""


class ConsoleSender(Sender):
    name: ClassVar[str] = "console"
    sources: ClassVar[tuple[str, ...]] = ("phone", "web_form", "chat", "webhook")
    repeatable: ClassVar[bool] = True  # the line names the notice, so a second one is seen for what it is

    async def open(self, settings: Mapping[str, str]) -> None:
        self.file = read_options(self.name, settings, ConsoleOptions).file
        if self.file and not await asyncio.to_thread(has_folder, self.file):
            raise ConfigError(f"The folder of the sender console's 'file' ({self.file}) does not exist. Create it or mend DESK_SENDERS.")

    async def send(self, letter: Letter) -> Sent:
        line = call_back_line(letter.notice)
        try:
            await asyncio.to_thread(self.write, line)
        except OSError as error:
            raise TemporaryFailure(f"The call-back list cannot be written ({error.strerror}). See to its disk and rights.") from None
        return Sent(said="on the call-back list")

    def write(self, line: str) -> None:
        if self.file:
            with Path(self.file).open("a", encoding="utf-8") as list_of_calls:
                list_of_calls.write(line)
        else:
            sys.stdout.write(line)
            sys.stdout.flush()


def has_folder(file: str) -> bool:
    return Path(file).absolute().parent.is_dir()


def call_back_line(notice: Notice) -> str:
    """Reference, what about, language, source and the notice's key, on one line."""
    return f"call back {notice.reference} {notice.kind.value} {notice.locale.value} {notice.source} [{notice.key}]\n".replace("\r", " ")


SENDER = ConsoleSender()
