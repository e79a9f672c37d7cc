"""Finds the senders that are installed and opens those that are set up, by the source they answer. Sends nothing itself."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points

from services.notifier.sender import Sender
from shared.errors import ConfigError

GROUP = "complaint_desk.senders"
ALWAYS_OPEN = "console"


def find_senders() -> dict[str, Sender]:
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


async def open_senders(found: Mapping[str, Sender], settings: Mapping[str, Mapping[str, str]]) -> dict[str, Sender]:
    """Open the senders that the settings name, and the console; they come back by the source they answer.

    Raises ConfigError for a sender that is not installed, two that answer the same source, or settings that a sender refuses; whatever
    was opened by then is closed again.
    """
    for name in settings:
        if name not in found:
            known = ", ".join(sorted(found))
            raise ConfigError(f"DESK_SENDERS names a sender '{name}' that is not installed. Installed: {known}.")
    chosen = {name: sender for name, sender in found.items() if name in settings or name == ALWAYS_OPEN}
    by_source = answering(chosen)
    opened: dict[str, Sender] = {}
    try:
        for name, sender in chosen.items():
            await sender.open(settings.get(name, {}))
            opened[name] = sender
    except BaseException:
        await close_senders(opened)
        raise
    return by_source


def answering(senders: Mapping[str, Sender]) -> dict[str, Sender]:
    """The senders by the source they answer. Raises ConfigError when two answer the same."""
    by_source: dict[str, Sender] = {}
    for name, sender in senders.items():
        for source in sender.sources:
            if source in by_source:
                both = f"'{by_source[source].name}' and '{name}'"
                raise ConfigError(f"The senders {both} both answer '{source}'. Leave one of them out of DESK_SENDERS.")
            by_source[source] = sender
    return by_source


async def close_senders(opened: Mapping[str, Sender]) -> None:
    """Close each of them once, however many sources it answers."""
    for sender in {id(sender): sender for sender in opened.values()}.values():
        await sender.close()
