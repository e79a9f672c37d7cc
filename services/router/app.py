"""The router's web side: the departments' API and workbench, health and metrics. The loops that decide and keep time are in worker.py."""

from __future__ import annotations

import os
import socket

import structlog
from litestar import Litestar, get
from litestar.datastructures import State
from litestar.response import Redirect

from services.http import EXCEPTION_HANDLERS, operations
from services.keys import KeyRing
from services.openapi import describe
from services.process import Desk, Loop, open_desk, run, serve
from services.router.departments import api
from services.router.departments.leases import Departments
from services.router.departments.pages import routes as workbench
from services.router.worker import Router
from shared.errors import TemporaryFailure
from shared.queues.contract import Place
from shared.queues.rebuild import Rebuild
from shared.settings import Settings, read
from shared.telemetry import QUEUED

LARGEST_BODY = 1_048_576
ABOUT = "How departments take complaints from their queues, work them and settle them. Start with claim, end with settle."

log = structlog.get_logger()


@get("/", include_in_schema=False)
async def home() -> Redirect:
    """People who type the bare address want the workbench."""
    return Redirect(workbench.PREFIX, status_code=303)


def build(desk: Desk, departments: Departments | None = None) -> Litestar:
    """The web application of one router process. departments: where the caller also runs their sweeps; made here otherwise."""
    worked = departments or Departments(desk)
    keys = KeyRing(desk.ledger)
    return Litestar(
        route_handlers=[
            home,
            api.routes(worked, keys, desk.blobs),
            workbench.routes(desk, worked, keys),
            *operations(desk, lambda: refresh(desk)),
        ],
        template_config=workbench.templates(),
        exception_handlers=EXCEPTION_HANDLERS,
        logging_config=None,
        request_max_body_size=LARGEST_BODY,
        state=State({"service": "router"}),
        openapi_config=describe("Complaint Desk: departments", ABOUT),
    )


async def refresh(desk: Desk) -> None:
    """Bring the gauges of the queues up to date; where Redis is away they keep their last value."""
    try:
        for department, queue in desk.queues.items():
            counts = await queue.counts()
            for place in Place:
                QUEUED.labels(department, place.value).set(getattr(counts, place.value))
    except TemporaryFailure as error:
        log.warning("metrics.stale", reason=error.message)


async def main(settings: Settings) -> None:
    """Open the desk, decide, keep the clocks and serve the departments until SIGTERM."""
    async with open_desk(settings, consumer=f"router-{socket.gethostname()}-{settings.router_port}") as desk:
        departments = Departments(desk)
        router = Router(desk)
        rebuild = Rebuild(desk.ledger, desk.redis, desk.received, desk.notices, desk.queues)
        loops: dict[str, Loop] = {
            "route": router.route,
            "timers": lambda: router.timers([departments.sweep_all_dead]),
            "rebuild": rebuild.watch,
        }
        await serve(desk, build(desk, departments), (settings.router_host, settings.router_port), loops)


if __name__ == "__main__":
    run(read(os.environ), main)
