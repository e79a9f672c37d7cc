"""Finds channel adapters by the entry-point group `complaint_desk.adapters`, ours and third parties' alike. Loads; configures nothing.

There is no list of adapters anywhere else: what is installed is what there is.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import msgspec

from services.intake.adapter import Adapter
from shared.errors import ConfigError, DeskError

GROUP = "complaint_desk.adapters"


class Found(msgspec.Struct, frozen=True):
    """One installed adapter for `desk adapters ls`: the object, or the problem that keeps it from loading."""

    name: str
    target: str
    distribution: str
    adapter: Adapter | None = None
    problem: str = ""


def entries(found: Iterable[EntryPoint] | None = None) -> dict[str, EntryPoint]:
    """The entry points by name. Raises ConfigError where two distributions claim one name for different adapters."""
    named: dict[str, EntryPoint] = {}
    for entry in entry_points(group=GROUP) if found is None else found:
        other = named.setdefault(entry.name, entry)
        if other.value != entry.value:
            raise ConfigError(
                f"Two adapters are called '{entry.name}': {other.value} (from {distribution(other)}) and {entry.value} "
                f"(from {distribution(entry)}). Uninstall one of them, or rename its entry point."
            )
    return dict(sorted(named.items()))


def get(name: str, found: Iterable[EntryPoint] | None = None) -> Adapter:
    """The adapter of that name. Raises ConfigError that names the mend: unknown name, module that cannot be loaded, wrong object."""
    known = entries(found)
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean '{close[0]}'?" if close else f"Installed are: {', '.join(known) or 'none; install the package'}."
        raise ConfigError(f"There is no adapter called '{name}'. {hint}")
    return load(known[name])


def load(entry: EntryPoint) -> Adapter:
    """The object behind an entry point, checked. Raises ConfigError."""
    where = f"The adapter '{entry.name}' ({entry.value}, from {distribution(entry)})"
    try:
        adapter = entry.load()
    except Exception as error:  # whatever a third party's module does on import, the operator must hear whose it is
        raise ConfigError(f"{where} cannot be loaded: {type(error).__name__}: {error}. Mend or uninstall that package.") from error
    if not isinstance(adapter, Adapter):
        raise ConfigError(f"{where} is no instance of services.intake.adapter.Adapter. Point the entry point at ADAPTER, not at its class.")
    if adapter.name != entry.name:
        raise ConfigError(f"{where} calls itself '{adapter.name}'. Give the entry point and the class the same name.")
    return adapter


def load_file(path: Path) -> Adapter:
    """The adapter in a file that no installed package names yet, for `desk adapters check FILE`. Raises ConfigError."""
    name = f"desk_adapter_file_{path.stem}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ConfigError(f"{path} is no Python file. Give the path of an adapter's module.")
    module = module_from_spec(spec)
    sys.modules[name] = module  # structs resolve their annotations through it, and fixtures are found beside it
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ConfigError(f"{path} cannot be loaded: {type(error).__name__}: {error}. Mend it.") from error
    adapter = getattr(module, "ADAPTER", None)
    if not isinstance(adapter, Adapter):
        raise ConfigError(f"{path} has no ADAPTER that is an instance of services.intake.adapter.Adapter. Add one at its end.")
    return adapter


def find_adapters(found: Iterable[EntryPoint] | None = None) -> dict[str, Adapter]:
    """Every installed adapter by name. Raises ConfigError at the first that does not load: intake must not start with a channel missing."""
    return {name: load(entry) for name, entry in entries(found).items()}


def survey(found: Iterable[EntryPoint] | None = None) -> list[Found]:
    """Every installed adapter with what is wrong with it, for people."""
    seen: list[Found] = []
    for name, entry in entries(found).items():
        try:
            seen.append(Found(name, entry.value, distribution(entry), load(entry)))
        except DeskError as error:
            seen.append(Found(name, entry.value, distribution(entry), problem=error.message))
    return seen


def distribution(entry: EntryPoint) -> str:
    """The installed distribution an entry point comes from."""
    return entry.dist.name if entry.dist else "an unknown distribution"
