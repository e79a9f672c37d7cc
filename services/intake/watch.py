"""Watches a piece of code for what a pure function must not do: files, sockets, processes, clocks, chance, environment, logging, printing.

Files, sockets and processes are seen through the interpreter's audit events, whoever asks for them. Clocks, chance, logging and printing
have no such events; they are seen through the profile hook, that is where Python code calls them. Not seen: a C extension that reads a
clock or the environment by itself, code in a thread that the watched code starts, `time.gmtime` and `time.localtime` (a pure use
looks the same), and a name read from an `os.environ` that was copied before. Modules imported while watching may read their own source.
"""

from __future__ import annotations

import gc
import logging
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

OUTWARD = (
    "socket.",
    "subprocess.",
    "os.",
    "shutil.",
    "sqlite3.",
    "http.",
    "urllib.",
    "smtplib.",
    "ftplib.",
    "imaplib.",
    "tempfile.",
    "glob.",
    "pathlib.",
)
HARMLESS = frozenset({"os.listdir", "os.scandir", "os.putenv", "os.unsetenv"})  # the import system looks into folders
SOURCE = (".py", ".pyc", ".so", ".pyd", ".pth")
CLOCKS = frozenset({"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time", "sleep", "ctime"})
NOW = frozenset({"now", "utcnow", "today"})
CHANCE = frozenset({"urandom", "getrandbits", "random", "token_bytes", "getrandom"})
CHANCE_MODULES = frozenset({"posix", "nt", "_random", "random", "secrets"})


class Watch:
    """What was seen, each trespass once, in words that name it."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.seen: dict[str, None] = {}

    @property
    def trespasses(self) -> tuple[str, ...]:
        return tuple(self.seen)

    def note(self, what: str) -> None:
        self.seen[what] = None

    def audit(self, event: str, args: tuple[Any, ...]) -> None:
        """One audit event of the interpreter."""
        if event == "open":
            path = str(args[0])
            if not path.endswith(SOURCE):
                self.note(f"opened a file ({path})")
        elif event.startswith(OUTWARD) and event not in HARMLESS:
            self.note(f"went outside ({event})")

    def profile(self, frame: FrameType, event: str, arg: Any) -> None:
        """One call, as the interpreter's profile hook tells it."""
        if event == "c_call":
            self.builtin(arg)
        elif event == "call":
            self.function(frame)

    def builtin(self, called: Any) -> None:
        """A call of a function written in C."""
        name, module, owner = getattr(called, "__name__", ""), getattr(called, "__module__", None), getattr(called, "__self__", None)
        if module == "time" and name in CLOCKS:
            self.note(f"read a clock (time.{name})")
        elif name in NOW and isinstance(owner, type) and owner.__module__ == "datetime":
            self.note(f"read a clock ({owner.__name__}.{name})")
        elif name in CHANCE and (module in CHANCE_MODULES or type(owner).__module__ in CHANCE_MODULES):
            self.note(f"drew lots ({name})")
        elif called is print:
            self.note("printed")
        elif module == "_warnings" and name == "warn":
            self.note("warned")

    def function(self, frame: FrameType) -> None:
        """A call of a function written in Python."""
        code, module = frame.f_code, str(frame.f_globals.get("__name__", ""))
        if code is logging.Logger.handle.__code__:
            self.note(f"logged ({frame.f_locals['record'].name})")
        elif module == "structlog" or module.startswith("structlog."):
            self.note("logged (structlog)")
        elif module == "os" and code.co_qualname.startswith(("_Environ.", "getenv")):
            self.note("read the environment")


_current: Watch | None = None
_hooked = False


def _audit(event: str, args: tuple[Any, ...]) -> None:
    watch = _current
    if watch is not None and threading.get_ident() == watch.thread:
        watch.audit(event, args)


@contextmanager
def watched() -> Generator[Watch]:
    """Watch this thread while the block runs. Log records count from INFO on, whatever the levels were. Not for nesting.

    An audit hook cannot be taken out again; ours stays and does nothing outside the block.
    """
    global _current, _hooked  # the interpreter knows one hook, so there is one watch
    if not _hooked:
        sys.addaudithook(_audit)
        _hooked = True
    watch, before, level, collecting = Watch(), sys.getprofile(), logging.root.level, gc.isenabled()
    logging.root.setLevel(logging.INFO)
    gc.disable()  # finalizers and the collector's callbacks are somebody else's work
    _current = watch
    sys.setprofile(watch.profile)
    try:
        yield watch
    finally:
        sys.setprofile(before)
        _current = None
        logging.root.setLevel(level)
        if collecting:
            gc.enable()
