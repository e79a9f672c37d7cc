"""A wait that lasts too long ends with a TimeoutError; everything else passes as if nobody watched."""

from __future__ import annotations

import asyncio
import time

import pytest

from services.intake.patience import Patience


async def test_a_wait_that_lasts_too_long_is_ended() -> None:
    patience = Patience()
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await patience.wait_for(asyncio.Event().wait(), 0.1)
    assert 0.1 <= time.monotonic() - began < 3
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)  # no cancellation is left over


async def test_a_wait_that_ends_in_time_is_left_alone() -> None:
    patience = Patience()
    for _ in range(3):
        assert await patience.wait_for(asyncio.sleep(0, "done"), 30) == "done"
    assert not patience._until


async def test_a_cancellation_from_outside_stays_one() -> None:
    patience = Patience()

    async def wait() -> None:
        await patience.wait_for(asyncio.Event().wait(), 30)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
