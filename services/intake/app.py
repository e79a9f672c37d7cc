"""The intake service: its web application, and the process around it (`python -m services.intake.app`).

Puts the parts together and decides nothing: what an arrival becomes is accept's, how it is read the adapters'.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import structlog
from litestar import Litestar, Response
from litestar.exceptions import NotFoundException

from services.http import EXCEPTION_HANDLERS, AnyRequest, on_http_error, operations
from services.intake.accept import Accept
from services.intake.adapter import Adapter
from services.intake.api import PublicApi
from services.intake.door import Door, read_accounts
from services.intake.mail_sources import mail_loops, open_mailboxes
from services.intake.pages.render import wants_page
from services.intake.pages.routes import Pages, failed
from services.intake.reconcile import Reconciler
from services.intake.registry import find_adapters
from services.intake.rules import rules_of
from services.intake.staff import StaffApi
from services.keys import KeyRing
from services.openapi import describe
from services.process import Desk, Loop, open_desk, run, serve
from shared.errors import TemporaryFailure
from shared.ledger import idempotency, quarantine
from shared.settings import Settings, read
from shared.telemetry import HELD, WAITING

HOUSEKEEPING = 600.0
ABOUT = (
    "Takes complaints from every channel. What is answered with 202 or 200 is safely stored; what cannot be taken is refused with a reason "
    "(RFC 9457 problem details whose `detail` says what to do next). Repeating a request is always safe."
)

log = structlog.get_logger()


def doors(desk: Desk, adapters: Mapping[str, Adapter] | None = None) -> tuple[Accept, Door]:
    """The spine and the way to it. Raises ConfigError where an adapter or DESK_ACCOUNTS cannot be read."""
    accept = Accept(desk.ledger, rules_of(desk.policy, desk.secret), desk.relay.forward)
    accounts = read_accounts(desk.settings.accounts)
    return accept, Door(find_adapters() if adapters is None else adapters, accounts, accept, desk.ledger, desk.blobs)


def build(desk: Desk, door: Door, parts: Callable[[], Mapping[str, str]] | None = None) -> Litestar:
    """The web application of intake. parts: what else /ready tells, by name; anything but "ok" means degraded."""
    keys = KeyRing(desk.ledger)
    app = Litestar(
        route_handlers=[
            *PublicApi(desk, door, keys).routes(),
            *StaffApi(desk, door, keys).routes(),
            *Pages(desk, door).routes(),
            *operations(desk, lambda: refresh(desk), parts),
        ],
        exception_handlers={**EXCEPTION_HANDLERS, NotFoundException: not_found},
        openapi_config=describe("Complaint Desk: intake", ABOUT),
        logging_config=None,
    )
    app.state["service"] = "intake"
    return app


def not_found(request: AnyRequest, error: NotFoundException) -> Response[bytes]:
    """Nothing at this address: a page for people, problem details for programs."""
    return failed(request, error) if wants_page(request) else on_http_error(request, error)


async def refresh(desk: Desk) -> None:
    """Bring the gauges up to date; where the ledger is away they keep their last value."""
    WAITING.set(desk.relay.waiting)
    try:
        async with desk.ledger.read() as tx:
            HELD.set(await quarantine.count_held(tx))
    except TemporaryFailure as error:
        log.warning("metrics.stale", reason=error.message)


async def housekeeping(desk: Desk) -> None:
    """Forget what has outlived its use, every few minutes, until cancelled."""
    while True:
        try:
            async with desk.ledger.write() as tx:
                await idempotency.sweep(tx, datetime.now(UTC))
        except TemporaryFailure as error:
            log.warning("housekeeping.waits", reason=error.message)
        await asyncio.sleep(HOUSEKEEPING)


async def main(settings: Settings) -> None:
    """Open the desk and serve until SIGTERM. Raises ConfigError or TemporaryFailure where it cannot start."""
    async with open_desk(settings, consumer="intake") as desk:
        accept, door = doors(desk)
        mailboxes = open_mailboxes(desk, door)
        reconciler = Reconciler(mailboxes)
        loops: dict[str, Loop] = {
            "accept": accept.run,
            "housekeeping": lambda: housekeeping(desk),
            **mail_loops(desk, door, mailboxes, reconciler),
        }
        await serve(desk, build(desk, door, reconciler.parts), (settings.intake_host, settings.intake_port), loops)


if __name__ == "__main__":
    run(read(os.environ), main)
