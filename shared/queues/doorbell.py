"""Waiting for work without polling: one subscription a process and queue, however many callers wait.

The message on the channel says only "look again", and after each one, after each (re)connection and at least once a second the
listener looks at the queue itself. So a lost, doubled or late message costs at most a second and never an item, and a wiped server
changes nothing. As many waiters are woken as items can be claimed, those first who have waited longest.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from redis import exceptions
from redis.asyncio import Redis

from shared.errors import TemporaryFailure

LONGEST_SILENCE = 1.0
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 1.0
DRAIN = 100


class Outlook(msgspec.Struct, frozen=True):
    """How many items can be claimed now, and in how many seconds time alone may add one (None: no such time known)."""

    claimable: int
    next_in: float | None


class Doorbell:
    """Lets callers wait for a queue. The listening task lives while somebody waits, and up to a second longer."""

    def __init__(
        self, redis: Redis, channel: str, look: Callable[[], Awaitable[Outlook]], *, longest_silence: float = LONGEST_SILENCE
    ) -> None:
        self._redis = redis
        self._channel = channel
        self._look = look
        self._longest_silence = longest_silence
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._listener: asyncio.Task[None] | None = None

    async def wait(self, seconds: float) -> bool:
        """True as soon as something may be claimable, False after `seconds`. Raises TemporaryFailure where Redis is away at the start."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)  # before the look: whatever is put after it finds this waiter
        try:
            if (await self._look()).claimable:
                return True
            if self._listener is None or self._listener.done():
                self._listener = asyncio.create_task(self._listen(), name=f"doorbell {self._channel}")
            await asyncio.wait_for(turn, max(seconds, 0.0))
        except TimeoutError:
            return False
        else:
            return True
        finally:
            if turn in self._waiting:
                self._waiting.remove(turn)

    async def aclose(self) -> None:
        """Stop listening; those who wait come back at their time-out."""
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)
            self._listener = None

    async def _listen(self) -> None:
        pause = FIRST_PAUSE
        while self._waiting:
            try:
                async with self._redis.pubsub() as subscription:  # pyright: ignore[reportUnknownMemberType] -- untyped in redis-py
                    await subscription.subscribe(self._channel)  # pyright: ignore[reportUnknownMemberType] -- the same
                    pause = FIRST_PAUSE
                    await self._attend(subscription)
            except (exceptions.ConnectionError, exceptions.TimeoutError, OSError, TemporaryFailure):
                # The callers hear of it from their own next call; the listener only has to be back in time.
                await asyncio.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 2)

    async def _attend(self, subscription: Any) -> None:
        patience = self._longest_silence
        while self._waiting:
            # The first message is the confirmation of the subscription, which makes the first look.
            if await subscription.get_message(timeout=patience):
                for _ in range(DRAIN):
                    if await subscription.get_message(timeout=0) is None:
                        break
            outlook = await self._look()
            self._wake(outlook.claimable)
            patience = self._longest_silence
            if outlook.next_in is not None:
                patience = min(patience, outlook.next_in + 0.001)

    def _wake(self, count: int) -> None:
        while count > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                count -= 1
