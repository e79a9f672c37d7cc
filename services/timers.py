"""arq as a clock: cron jobs and deferred jobs that wake us. Nothing relies on it having remembered: the ledger is asked each time.

Jobs are msgspec JSON, never pickle. Time-outs are short, so that a crashed worker's job is free again within a minute.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import msgspec
import structlog
from arq.connections import ArqRedis, RedisSettings, create_pool
from arq.cron import CronJob
from arq.worker import Function, Worker
from redis.exceptions import RedisError

from shared.settings import Settings

JOB_WITHIN = 40

log = structlog.get_logger()


def redis_settings(settings: Settings) -> RedisSettings:
    return RedisSettings.from_dsn(settings.redis)


async def open_pool(settings: Settings, queue: str) -> ArqRedis:
    """A connection for deferring jobs to `queue`."""
    return await create_pool(
        redis_settings(settings), default_queue_name=queue, job_serializer=msgspec.json.encode, job_deserializer=msgspec.json.decode
    )


async def run_timers(settings: Settings, queue: str, *, cron_jobs: Sequence[CronJob] = (), functions: Sequence[Function] = ()) -> None:
    """Run the jobs until cancelled. A Redis that goes away, which ends an arq worker, only pauses the timers."""
    while True:
        worker = Worker(
            functions=functions,
            cron_jobs=cron_jobs,
            queue_name=queue,
            redis_settings=redis_settings(settings),
            handle_signals=False,
            job_timeout=JOB_WITHIN,
            keep_result=0,
            max_jobs=20,
            poll_delay=0.25,
            job_serializer=msgspec.json.encode,
            job_deserializer=msgspec.json.decode,
            health_check_interval=30,
        )
        try:
            await worker.async_run()
        except (RedisError, OSError) as error:
            log.warning("timers.wait", queue=queue, error=type(error).__name__)
            await asyncio.sleep(1)
        finally:
            await asyncio.shield(_close(worker))


async def _close(worker: Any) -> None:
    with contextlib.suppress(RedisError, OSError, RuntimeError):  # it may have been cut off; then there is nothing left to close
        await worker.close()
