"""Finds the senders that are installed, opens those that are set up, and says which one answers a source. Sends nothing itself."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points

from services.notifier.sender import Sender
from shared.errors import ConfigError, TemporaryFailure, Undeliverable

GROUP = "complaint_desk.senders"
ALWAYS_OPEN = "console"


class Senders:
    """The open senders of one process: opened once, asked by source, closed once."""

    def __init__(self, installed: Mapping[str, Sender]) -> None:
        self.installed = installed
        self.open_ones: dict[str, Sender] = {}

    async def open(self, settings: Mapping[str, Mapping[str, str]]) -> None:
        """Open those named in the settings, and the console. Raises ConfigError; whatever was opened by then is closed again."""
        for name in settings:
            if name not in self.installed:
                known = ", ".join(sorted(self.installed))
                raise ConfigError(f"DESK_SENDERS names a sender '{name}' that is not installed. Installed: {known}.")
        try:
            for name, sender in self.installed.items():
                if name in settings or name == ALWAYS_OPEN:
                    await sender.open(settings.get(name, {}))
                    self.open_ones[name] = sender
            self.check_sources()
        except BaseException:
            await self.close()
            raise

    def check_sources(self) -> None:
        taken: dict[str, str] = {}
        for name, sender in self.open_ones.items():
            for source in sender.sources:
                if source in taken:
                    both = f"'{taken[source]}' and '{name}'"
                    raise ConfigError(f"The senders {both} both answer '{source}'. Leave one of them out of DESK_SENDERS.")
                taken[source] = name

    def answering(self, source: str) -> Sender:
        """The sender for a source.

        Raises TemporaryFailure where one is installed but not set up (the operator mends that), Undeliverable where there is none at all.
        """
        for sender in self.open_ones.values():
            if source in sender.sources:
                return sender
        for name, sender in self.installed.items():
            if source in sender.sources:
                raise TemporaryFailure(f"The sender '{name}' for '{source}' is not set up. Add it to DESK_SENDERS.")
        raise Undeliverable(f"No sender answers '{source}'. Install one (entry point group {GROUP}) or use another channel.")

    async def close(self) -> None:
        while self.open_ones:
            _, sender = self.open_ones.popitem()
            await sender.close()


def installed_senders() -> dict[str, Sender]:
    """Every sender of the entry-point group, by name. Raises ConfigError naming one that cannot be loaded."""
    found: dict[str, Sender] = {}
    for entry in entry_points(group=GROUP):
        try:
            sender: object = entry.load()
        except Exception as error:
            raise ConfigError(f"The sender '{entry.name}' ({entry.value}) cannot be loaded: {error}. Mend its package.") from error
        if not isinstance(sender, Sender):
            raise ConfigError(f"The sender '{entry.name}' ({entry.value}) is no Sender. Its entry point must name an instance.")
        if entry.name in found:
            raise ConfigError(f"Two packages bring a sender '{entry.name}'. Remove one of them.")
        found[entry.name] = sender
    return found
