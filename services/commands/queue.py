"""`desk queue`: what lies before the departments."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from services.commands.terminal import known_reference, out, print_line, settings, with_desk, with_redis
from shared.errors import ConfigError
from shared.policy import load

app = typer.Typer(help="What lies before the departments.", no_args_is_help=True)
Department = Annotated[str, typer.Argument(help="A department of the policy, for example logistics")]


def _queue(redis: Any, department: str) -> Any:
    from shared.queues.department import DepartmentQueue

    return DepartmentQueue(redis, _known(department))


def _known(department: str) -> str:
    known = load(settings().policy).departments
    if department not in known:
        raise ConfigError(f"There is no department '{department}'. There are: {', '.join(known)}.")
    return department


@app.command(name="ls")
def list_queues(department: Annotated[str, typer.Argument(help="One department's waiting list; all counts when left out")] = "") -> None:
    """Counts of all queues, or one department's waiting list. Most pressing first."""

    async def show(redis: Any) -> None:
        if not department:
            out.print(f"{'department':<20} {'ready':>7} {'leased':>7} {'delayed':>7} {'dead':>7}  oldest")
            for name in load(settings().policy).departments:
                c = await _queue(redis, name).counts()
                out.print(f"{name:<20} {c.ready:>7} {c.leased:>7} {c.delayed:>7} {c.dead:>7}  {c.oldest_age:.0f} s")
            return
        for entry in await _queue(redis, department).entries(limit=200):
            left = (entry.due_at - time.time()) / 3600
            out.print(f"{entry.reference}  {entry.priority:<7} due in {left:6.1f} h  attempts {entry.attempts}")

    with_redis(show)


@app.command()
def claim(
    department: Department,
    n: Annotated[int, typer.Option("-n", min=1, max=256, help="How many")] = 1,
    lease: Annotated[float, typer.Option(min=1, max=86_400, help="Seconds until the lease ends")] = 300.0,
    worker: Annotated[str, typer.Option(help="Who claims")] = "desk",
) -> None:
    """Claim the most pressing complaints, one JSON line a lease. The same as the departments' API: its token settles it there."""

    from services.router.departments.leases import Caller, Departments
    from shared.dialogue import ClaimRequest

    async def take(desk: Any) -> None:
        wanted = ClaimRequest(n=n, lease_seconds=lease, worker=worker[:64])
        for taken in (await Departments(desk).claim(_known(department), wanted, Caller(name="desk"))).leases:
            print_line(taken)

    with_desk(take)


@app.command()
def dead(department: Department) -> None:
    """Dead letters with their reasons."""
    from shared.queues.contract import Place

    async def show(redis: Any) -> None:
        for entry in await _queue(redis, department).entries(Place.DEAD, limit=200):
            out.print(f"{entry.reference}  {entry.priority:<7} attempts {entry.attempts}  {entry.reason}", markup=False)

    with_redis(show)


@app.command()
def requeue(department: Department, reference: Annotated[str, typer.Argument()]) -> None:
    """Make a dead letter ready again."""

    from services.router.departments.leases import Caller, Departments
    from shared.dialogue import Requeue

    async def again(desk: Any) -> None:
        await Departments(desk).requeue(_known(department), wanted, Requeue(), Caller(name="desk"))
        out.print(f"{wanted} waits in {department} again.")

    wanted = known_reference(reference)
    with_desk(again)


@app.command()
def rebuild() -> None:
    """Refill Redis from the ledger now. It happens by itself when Redis comes back empty."""
    from shared.queues.rebuild import Rebuild

    async def refill(desk: Any) -> None:
        counts = await Rebuild(desk.ledger, desk.redis, desk.received, desk.notices, dict(desk.queues)).now()
        out.print("  ".join(f"{name} {n}" for name, n in counts.items()))

    with_desk(refill)
