"""Complaints on every channel while each service in turn is killed and Redis is wiped, killed and emptied: nothing lost, nothing doubled.

DESK_CHAOS sets how many (default 200), DESK_CHAOS_SEED the seed of times and order.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.chaos.account import settle_up
from tests.chaos.customers import Customers
from tests.chaos.faults import Faults, log_tails
from tests.chaos.proxy import Proxy, slowly
from tests.end_to_end.world import Outside, Whole, environment, outside, until, whole_desk

pytestmark = [pytest.mark.chaos, pytest.mark.xdist_group("processes"), pytest.mark.timeout(1500)]

COUNT = int(os.environ.get("DESK_CHAOS", "200"))
SEED = int(os.environ.get("DESK_CHAOS_SEED", "2611"))
QUEUED_WITHIN = 30.0
ACKNOWLEDGED_WITHIN = 60.0
SLOW_PEERS = 0.3
"""Seconds the relay and the platforms take for each message, so that a kill finds some of them under way."""
Context = Callable[[], Awaitable[str]]
HANDFUL = max(5, COUNT // 50)


@contextlib.asynccontextmanager
async def slow_platforms(world: Outside) -> AsyncIterator[Outside]:
    """The same world with a slow line to its chat platforms."""
    async with Proxy(lambda: asyncio.open_connection("127.0.0.1", world.web_port), to_client=slowly(SLOW_PEERS)) as line:
        yield world._replace(web_port=line.port)


async def test_nothing_is_lost_or_doubled_whatever_dies(tmp_path: Path) -> None:
    seconds, rounds = max(30.0, COUNT / 20), 1 if COUNT <= 200 else 2
    async with outside(imap=True) as world, slow_platforms(world) as slow_world:
        assert world.mailbox is not None
        world.relay.faults.slow = SLOW_PEERS
        environ = environment(tmp_path / "home", slow_world)
        async with whole_desk(environ) as whole:
            customers = Customers(whole.desk, world.mailbox, await whole.desk.new_key(), SEED)
            faults = Faults(whole.stack, whole.desk, SEED)
            clock = asyncio.get_running_loop().time
            began = clock()
            writing = asyncio.create_task(customers.all_write(COUNT, seconds))
            await faults.strike(rounds, seconds * whole.slowness)
            last_fault = clock()
            await writing
            answered = clock()

            async def context() -> str:
                return f"seed {SEED}; faults: {faults.done}\n{log_tails(whole.stack.home)}"

            await _all_queued(whole, world, customers, context)
            queued = clock()
            await _all_acknowledged(whole, context)
            account = await settle_up(whole.desk, world, customers.told)
            tries = sum(t.tries for t in customers.told)
            print(  # noqa: T201 - the figures of the run, seen with -s
                f"\n{COUNT} inputs in {tries} tries, {len(faults.done)} faults. After the last: all answered {answered - last_fault:.1f} s,"
                f" all queued {queued - last_fault:.1f} s, all told {clock() - last_fault:.1f} s; the whole took {clock() - began:.0f} s."
                f" {account.figures()}. The machine is {whole.slowness:.1f} times as slow as quiet."
            )
            told = "\n".join([f"{what}\n{await whole.desk.stories(references)}" for what, references in account.wrong[:10]])
            assert not account.wrong, f"{len(account.wrong)} promises broken:\n{told}\n{await context()}"
            assert account.given_up <= HANDFUL, f"{account.figures()}; {await context()}"
            assert account.uncertain <= HANDFUL, f"{account.figures()}; {await context()}"
            late = queued - max(last_fault, answered)  # a mail that is not there yet cannot be queued
            assert late < QUEUED_WITHIN * whole.slowness, f"queued {late:.1f} s after the last fault and the last input; {await context()}"


async def _all_queued(whole: Whole, world: Outside, customers: Customers, context: Context) -> None:
    """Every input is a complaint, and every complaint lies in one department's queue."""

    async def queued() -> bool:
        references = await whole.desk.references()
        held = await whole.desk.queued()
        written = [told for told in customers.told if told.answered or told.channel != "wechat"]
        return len(references) >= len(written) and references == held.keys() and all(len(where) == 1 for where in held.values())

    async def missing() -> str:
        references = await whole.desk.references()
        held = await whole.desk.queued()
        twice = {reference: where for reference, where in held.items() if len(where) > 1}
        wrong = [what for what, _ in (await settle_up(whole.desk, world, customers.told)).wrong if "LOST" in what or "DOUBLED" in what]
        return (
            f"{len(customers.told)} inputs, {len(references)} complaints, {len(held)} queued, in two queues {twice}\n{wrong}\n"
            f"{await whole.desk.stories(references - held.keys())}\n{await context()}"
        )

    await until(queued, missing, 3 * QUEUED_WITHIN * whole.slowness)


async def _all_acknowledged(whole: Whole, context: Context) -> None:
    async def told() -> bool:
        return all(state in ("sent", "uncertain") for state in (await whole.desk.notices()).values())

    async def waiting() -> str:
        late = {key.split("/")[1] for key, state in (await whole.desk.notices()).items() if state not in ("sent", "uncertain")}
        return f"{len(late)} acknowledgements not out\n{await whole.desk.stories(late)}\n{await context()}"

    await until(told, waiting, ACKNOWLEDGED_WITHIN + 60 * whole.slowness)
