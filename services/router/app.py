"""The router's web side: the departments' API and workbench, health and metrics. The loops that decide and keep time are in worker.py."""

from __future__ import annotations

from litestar import Litestar, get
from litestar.datastructures import State
from litestar.response import Redirect

from services.http import EXCEPTION_HANDLERS, operations
from services.keys import KeyRing
from services.openapi import describe
from services.process import Desk
from services.router.departments import api
from services.router.departments.leases import Departments
from services.router.departments.pages import routes as workbench

LARGEST_BODY = 1_048_576


@get("/", include_in_schema=False)
async def home() -> Redirect:
    """People who type the bare address want the workbench."""
    return Redirect(workbench.PREFIX, status_code=303)


def build(desk: Desk, departments: Departments | None = None) -> Litestar:
    """The web application of one router process. departments: where the caller also runs their sweeps; made here otherwise."""
    worked = departments or Departments(desk)
    keys = KeyRing(desk.ledger)
    return Litestar(
        route_handlers=[home, api.routes(worked, keys, desk.blobs), workbench.routes(desk, worked, keys), *operations(desk)],
        template_config=workbench.templates(),
        exception_handlers=EXCEPTION_HANDLERS,
        request_max_body_size=LARGEST_BODY,
        state=State({"service": "router"}),
        openapi_config=describe(
            "Complaint Desk: departments",
            "How departments take complaints from their queues, work them and settle them. Start with claim, end with settle.",
        ),
    )
