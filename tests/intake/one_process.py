"""One intake in a process of its own, started by test_accept_races.py: `python -m tests.intake.one_process URL SEED`."""

from __future__ import annotations

import asyncio
import sys

from shared.ledger import Ledger
from tests.arrivals import desk
from tests.intake.test_accept_races import crowd, give


async def main(url: str, seed: int) -> None:
    ledger = Ledger.open(url)
    async with desk(ledger) as d:
        told = await give(d, crowd(), seed)
        sys.stdout.writelines(f"{what}\t{reference}\n" for what, reference in told.items())
    await ledger.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
