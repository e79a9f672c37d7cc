"""The departments' HTTP API: claim, work and settle, look at queues and complaints. Routes only; what happens is in leases.py.

Every request carries `Authorization: Bearer desk_...`; errors are problem details (RFC 9457). An Idempotency-Key makes an action safe to
repeat (IETF draft-ietf-httpapi-idempotency-key-header).
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any

import msgspec
from litestar import Response, Router, get, post
from litestar.connection import ASGIConnection
from litestar.datastructures import State as AppState
from litestar.di import NamedDependency, Provide
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import Body, FromPath, FromQuery, HeaderParameter, PathParameter, QueryParameter, SkipValidation

from services.http import AnyRequest, Problem
from services.keys import KeyRing
from services.openapi import KEYED
from services.router.departments import auth
from services.router.departments.leases import Caller, Departments
from shared.blobs import Blobs
from shared.complaint import State
from shared.dialogue import (
    Acted,
    Action,
    Answer,
    Ask,
    ClaimRequest,
    Claims,
    Extend,
    Extended,
    Page,
    Prioritise,
    Progress,
    Propose,
    QueueView,
    Reopen,
    Requeue,
    Resolve,
    Settle,
    Settled,
    SettleOne,
    Transfer,
    WholeStory,
    Withdraw,
)
from shared.errors import UnknownReference
from shared.ledger.idempotency import fingerprint, scoped
from shared.queues.contract import Done

PREFIX = "/api/v1"
LONGEST_KEY = 255
MOST_SETTLED = 256

Who = NamedDependency[SkipValidation[Caller]]
IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(name="Idempotency-Key", max_length=LONGEST_KEY, description="The same key again gives the first answer again."),
]
Reference = Annotated[str, PathParameter(description="The complaint's reference.", examples=[Example(value="C261121-7K3QXP")])]
Department = Annotated[str, PathParameter(description="The department's id in the policy.", examples=[Example(value="warehouse")])]
Limit = Annotated[int, QueryParameter(ge=1, le=500)]


class ProgressBody(Progress, frozen=True, kw_only=True):
    token: str


class AskBody(Ask, frozen=True, kw_only=True):
    token: str


class ProposeBody(Propose, frozen=True, kw_only=True):
    token: str


class AnswerBody(Answer, frozen=True, kw_only=True):
    token: str


class TransferBody(Transfer, frozen=True, kw_only=True):
    token: str


class ResolveBody(Resolve, frozen=True, kw_only=True):
    token: str


class SettleManyBody(Action, frozen=True, kw_only=True):
    settlements: Annotated[tuple[SettleOne, ...], msgspec.Meta(min_length=1, max_length=MOST_SETTLED)]


TOKEN = "warehouse:9f2c41d07ab3e865"  # noqa: S105 -- an example, no secret
RESOLUTION = {
    "cause": "拣货时漏放一件。",
    "measure": "已补发缺少的耳机，顺丰 SF1234567890，预计 11 月 25 日送达。",
    "improvement": "同款改为双人复核。",
}
OPTION = {"title": "补发缺少的耳机", "by": "2026-11-25T18:00:00+08:00", "detail": "顺丰发出，运费由我们承担。"}
PROBLEMS = {
    status: ResponseSpec(data_container=Problem, description=said, media_type="application/problem+json", generate_examples=False)  # type: ignore[arg-type] -- any media type is taken
    for status, said in {
        401: "No key, or an unknown one.",
        403: "The key is not for departments.",
        404: "Not there, or not this key's.",
        409: "Not possible now: the lease is lost, or the complaint's state does not allow it. `detail` says what to do.",
        503: "The ledger or Redis is away; try again after Retry-After seconds.",
    }.items()
}


asked = partial(get, responses=PROBLEMS)
taken = partial(post, status_code=200, responses=PROBLEMS)
"""A step is answered with 200: there is nothing new to look up, the answer says how the complaint stands."""


def body(description: str, **example: Any) -> Any:
    return Body(description=description, examples=[Example(summary="example", value=example)])


def routes(departments: Departments, keys: KeyRing, blobs: Blobs) -> Router:
    """Everything under /api/v1 of the router."""

    async def caller(request: AnyRequest) -> Caller:
        return await auth.of_request(keys, request.scope["headers"])

    handlers = [*_queue_routes(departments), *_lease_routes(departments), *_complaint_routes(departments, blobs)]
    return Router(PREFIX, route_handlers=handlers, dependencies={"caller": Provide(caller)}, security=KEYED)


def _queue_routes(departments: Departments) -> list[HTTPRouteHandler]:
    tags = ["queues"]

    @taken("/departments/{department:str}/claim", tags=tags, summary="Claim what is most pressing")
    async def claim(
        request: AnyRequest,
        department: Department,
        caller: Who,
        data: Annotated[ClaimRequest, body("How many, for how long.", n=1, lease_seconds=60, wait=30, worker="li.na")],
    ) -> Claims:
        """Leases on the most pressing complaints (priority, then deadline). Held back up to `wait` seconds while there is none."""
        return await departments.claim(department, data, caller, gone=_hung_up(request) if data.wait else None)

    @taken("/departments/{department:str}/settle", tags=tags, summary="Settle many leases in one step")
    async def settle_many(
        department: Department,
        caller: Who,
        data: Annotated[
            SettleManyBody,
            body(
                "Each is taken or refused by itself.",
                settlements=[{"reference": "C261121-7K3QXP", "token": TOKEN, "outcome": "done", "resolution": RESOLUTION}],
            ),
        ],
    ) -> Settled:
        return await departments.settle_many(department, data.settlements, caller)

    @asked("/departments/{department:str}/queue", tags=tags, summary="How the queue stands, and what is next")
    async def queue(department: Department, caller: Who, limit: Limit = 50) -> QueueView:
        return await departments.waiting(department, caller, limit)

    @asked("/departments/{department:str}/dead", tags=tags, summary="Dead letters with their reasons")
    async def dead(department: Department, caller: Who, limit: Limit = 100) -> Page:
        return await departments.dead(department, caller, limit)

    @taken("/departments/{department:str}/dead/{reference:str}/requeue", tags=tags, summary="Try a dead letter again")
    async def requeue(
        department: Department,
        reference: Reference,
        caller: Who,
        data: Annotated[Requeue | None, body("Why.", reason="订单号已补全。")] = None,
    ) -> Acted:
        return await departments.requeue(department, reference, data or Requeue(), caller)

    return [claim, settle_many, queue, dead, requeue]


def _lease_routes(departments: Departments) -> list[HTTPRouteHandler]:
    tags = ["leases"]

    @taken("/leases/{reference:str}/extend", tags=tags, summary="Keep the lease longer")
    async def extend(
        reference: Reference, caller: Who, data: Annotated[Extend, body("From now on.", token=TOKEN, lease_seconds=300)]
    ) -> Extended:
        return await departments.extend(reference, data.token, data.lease_seconds, caller)

    @taken("/leases/{reference:str}/settle", tags=tags, summary="End the lease: done, retry or dead")
    async def settle(
        request: AnyRequest,
        reference: Reference,
        caller: Who,
        data: Annotated[
            Settle, body("Done in one call, with what the customer is told.", token=TOKEN, outcome="done", resolution=RESOLUTION)
        ],
        idempotency_key: IdempotencyKey = None,
    ) -> Acted:
        """`done` with a resolution resolves the complaint and tells the customer; without one it ends the work on a complaint whose
        customer was told or asked something already. `retry` puts it back after `delay` seconds. `dead` keeps it with its reason."""
        used = await _idempotency(request, caller, idempotency_key)
        return await departments.settle(reference, data, caller, idempotency=used)

    def step(name: str, kind: type[Action], summary: str, *, ends: bool = False, **example: Any) -> HTTPRouteHandler:
        async def handler(
            request: AnyRequest, reference: Reference, caller: Who, data: Any, idempotency_key: IdempotencyKey = None
        ) -> Acted:
            used = await _idempotency(request, caller, idempotency_key)
            return await departments.act(reference, data.token, data, caller, ends=Done() if ends else None, idempotency=used)

        handler.__name__ = name
        handler.__doc__ = (kind.__base__ or kind).__doc__
        handler.__annotations__["data"] = Annotated[kind, body(summary, token=TOKEN, **example)]
        return taken(f"/leases/{{reference:str}}/{name}", tags=tags, summary=summary)(handler)

    return [
        extend,
        settle,
        step("progress", ProgressBody, "Note progress, and tell the customer", note="已联系仓库，正在调取拣货录像。", tell_customer=True),
        step(
            "ask",
            AskBody,
            "Ask the customer for what is missing",
            question="请问收到的包裹外箱有破损吗？",
            fields=["order_number", "evidence"],
        ),
        step("propose", ProposeBody, "Propose a solution", options=[OPTION], cause="拣货时漏放一件。"),
        step("answer", AnswerBody, "The customer accepted or refused", accepted=True, note="电话中同意补发。"),
        step("transfer", TransferBody, "Give it to another department", ends=True, department="logistics", reason="包裹在途中丢失。"),
        step("resolve", ResolveBody, "Resolve it and end the lease", ends=True, **RESOLUTION),
    ]


def _complaint_routes(departments: Departments, blobs: Blobs) -> list[HTTPRouteHandler]:
    tags = ["complaints"]

    @asked("/complaints", tags=tags, summary="Find complaints")
    async def find(
        caller: Who,
        status: Annotated[State | None, QueryParameter(name="state")] = None,
        department: FromQuery[str] = "",
        customer: Annotated[
            str, QueryParameter(max_length=320, description="A customer's id, or an e-mail address or telephone number.")
        ] = "",
        after: Annotated[str, QueryParameter(max_length=16, description="`next` of the page before.")] = "",
        limit: Limit = 50,
    ) -> Page:
        """Newest day first. A department's key finds its own complaints only."""
        return await departments.listed(
            caller, state=status.value if status else "", department=department, customer=customer, after=after, limit=limit
        )

    @asked("/complaints/{reference:str}", tags=tags, summary="The whole story of a complaint")
    async def show(reference: Reference, caller: Who) -> WholeStory:
        return await departments.story(reference, caller)

    @asked("/complaints/{reference:str}/files/{sha256:str}", tags=tags, summary="A file the customer sent", response_class=Response)
    async def file(reference: Reference, sha256: FromPath[str], caller: Who) -> Response[bytes]:
        return await file_answer(departments, blobs, reference, sha256, caller)

    def step(name: str, kind: type[Action], summary: str, **example: Any) -> HTTPRouteHandler:
        async def handler(
            request: AnyRequest, reference: Reference, caller: Who, data: Any, idempotency_key: IdempotencyKey = None
        ) -> Acted:
            used = await _idempotency(request, caller, idempotency_key)
            return await departments.by_reference(reference, data, caller, idempotency=used)

        handler.__name__ = name
        handler.__doc__ = kind.__doc__
        handler.__annotations__["data"] = Annotated[kind, body(summary, **example)]
        return taken(f"/complaints/{{reference:str}}/{name}", tags=tags, summary=summary)(handler)

    return [
        find,
        show,
        file,
        step("priority", Prioritise, "Make it more or less pressing", priority="urgent", reason="客户称将向 12315 投诉。"),
        step("withdraw", Withdraw, "Close it without a notice: there is nothing to be done", reason="客户来电撤回。"),
        step("reopen", Reopen, "Open it again", reason="客户对结果不满意。"),
    ]


async def file_answer(departments: Departments, blobs: Blobs, reference: str, sha256: str, caller: Caller) -> Response[bytes]:
    """A file of the complaint as a download: never rendered here, whatever it says it is."""
    story = await departments.story(reference, caller)
    found = next((f for said in story.complaint.said for f in said.files if sha256 and f.sha256 == sha256), None)
    if found is None:
        raise UnknownReference(f"Complaint {reference} has no such file. Its files are listed under `said`.")
    picture = found.media_type in ("image/jpeg", "image/png", "image/gif", "image/webp")
    headers = {
        "Content-Disposition": "inline" if picture else "attachment",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Cache-Control": "private, max-age=3600",
    }
    return Response(await blobs.get(sha256), media_type=found.media_type if picture else "application/octet-stream", headers=headers)


async def _idempotency(request: AnyRequest, caller: Caller, key: str | None) -> tuple[str, str] | None:
    """(scoped key, fingerprint) of a request that carries an Idempotency-Key, bare or as an RFC 8941 string."""
    if not key:
        return None
    return scoped(caller.client, request.scope["path"], key.strip().strip('"')), fingerprint(await request.body())


def _hung_up(request: ASGIConnection[Any, Any, Any, AppState]) -> Callable[[], Awaitable[None]]:
    """Waits until the caller has closed the connection."""

    async def gone() -> None:
        with contextlib.suppress(RuntimeError):
            while (await request.receive())["type"] != "http.disconnect":
                pass

    return gone
