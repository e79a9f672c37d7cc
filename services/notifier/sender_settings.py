"""Reads a sender's own settings (plain strings) into its struct, so that every sender speaks of a wrong one in the same words. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from shared.errors import ConfigError

Options = TypeVar("Options", bound=msgspec.Struct)


def read_options(sender: str, settings: Mapping[str, str], options: type[Options]) -> Options:
    """The options of a sender. Raises ConfigError that names the sender, the key and its mend, and never a value: it may be a secret."""
    known = [field.encode_name for field in msgspec.structs.fields(options)]
    for key in settings:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"Did you mean '{close[0]}'?" if close else f"It knows: {', '.join(known)}."
            raise ConfigError(f"The sender '{sender}' has no setting '{key}'. {hint} Mend DESK_SENDERS.")
    for field in msgspec.structs.fields(options):
        if field.required and not settings.get(field.encode_name):
            raise ConfigError(f"The sender '{sender}' needs the setting '{field.encode_name}'. Add it in DESK_SENDERS.")
    try:
        return msgspec.convert(dict(settings), options, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"A setting of the sender '{sender}' cannot be read: {error}. Mend it in DESK_SENDERS.") from None
