"""Time-outs for many short waits, looked at once a second: a timer of its own for each cost a tenth of the busiest route."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

LOOK_EVERY = 1.0
T = TypeVar("T")


class Patience:
    """One a process. Like asyncio.wait_for, but up to LOOK_EVERY late."""

    def __init__(self) -> None:
        self._until: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._watcher: asyncio.AbstractEventLoop | None = None

    async def wait_for(self, awaited: Awaitable[T], seconds: float) -> T:
        """What is awaited. Raises TimeoutError when the seconds are over. One at a time in a task."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("Only a task can wait.")
        self._until[task] = loop.time() + seconds
        if self._watcher is not loop:  # not merely "is none": a loop that was closed meanwhile looks no more
            self._watcher = loop
            loop.call_later(LOOK_EVERY, self._look, loop)
        try:
            return await awaited
        except asyncio.CancelledError:
            if task in self._late and not task.uncancel():
                raise TimeoutError from None
            raise
        finally:
            del self._until[task]
            self._late.discard(task)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for task, until in self._until.items():
            if until < now and task not in self._late:
                self._late.add(task)
                task.cancel()
        if self._until:
            loop.call_later(LOOK_EVERY, self._look, loop)
        else:
            self._watcher = None
