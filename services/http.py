"""What the web side of every service has in common: problem details for errors, health, readiness and metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
import structlog
from litestar import MediaType, Request, Response, get
from litestar.exceptions import HTTPException, ValidationException
from litestar.handlers import HTTPRouteHandler
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from redis.exceptions import RedisError
from sqlalchemy import text

from services.process import Desk
from shared.errors import DeskError, TemporaryFailure

log = structlog.get_logger()

AnyRequest = Request[Any, Any, Any]


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error as RFC 9457 describes it; `detail` tells the reader what to do next, `code` is for programs."""

    title: str
    status: int
    detail: str
    code: str
    type: str = "about:blank"


def problem(status: int, code: str, title: str, detail: str, headers: dict[str, str] | None = None) -> Response[bytes]:
    """An application/problem+json answer."""
    body = msgspec.json.encode(Problem(title=title, status=status, detail=detail, code=code))
    return Response(body, status_code=status, media_type="application/problem+json", headers=headers)


def on_desk_error(request: AnyRequest, error: DeskError) -> Response[bytes]:
    del request
    headers: dict[str, str] = {}
    if isinstance(error, TemporaryFailure):
        headers["Retry-After"] = str(max(1, round(error.retry_after or 5)))
    title = (type(error).__doc__ or "Error").strip().splitlines()[0]
    return problem(error.status, error.code, title, error.message, headers)


def on_http_error(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    detail = error.detail
    if isinstance(error, ValidationException) and isinstance(error.extra, list):
        detail = "; ".join(f"{e.get('key', '')}: {e.get('message', '')}".strip(": ") for e in error.extra if isinstance(e, dict)) or detail  # type: ignore[attr-defined]
    code = {404: "not_found", 405: "method_not_allowed", 400: "bad_request", 401: "not_authorised", 413: "too_large", 429: "too_many"}
    if error.status_code == 404:
        detail = f"There is nothing at {request.url.path}. The addresses of this service are listed at /schema."
    return problem(error.status_code, code.get(error.status_code, "http_error"), detail, detail, dict(error.headers or {}))


def on_redis_error(request: AnyRequest, error: RedisError) -> Response[bytes]:
    del request, error
    return problem(503, "temporary_failure", "Redis is not answering.", "Try again in a moment; nothing is lost.", {"Retry-After": "2"})


def on_our_fault(request: AnyRequest, error: Exception) -> Response[bytes]:
    log.exception("request.failed", path=request.scope["path"], error=type(error).__name__, exc_info=error)
    return problem(
        500, "our_fault", "The desk made a mistake.", "It has been logged. Try again, or tell the operator the time and this address."
    )


EXCEPTION_HANDLERS: dict[Any, Callable[[AnyRequest, Any], Response[Any]]] = {
    DeskError: on_desk_error,
    HTTPException: on_http_error,
    RedisError: on_redis_error,
    Exception: on_our_fault,
}


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """status: ok, degraded (works, but something is behind) or down. parts: what each needs, in words."""

    status: str
    parts: dict[str, str]


async def check(name: str, probe: Callable[[], Awaitable[Any]], parts: dict[str, str]) -> None:
    try:
        await probe()
        parts[name] = "ok"
    except Exception as error:
        parts[name] = f"{type(error).__name__}: {str(error)[:200]}"


def operations(
    desk: Desk, refresh: Callable[[], Awaitable[None]] | None = None, more: Callable[[], Mapping[str, str]] | None = None
) -> list[HTTPRouteHandler]:
    """/health (the process lives), /ready (it can do its work), /metrics (Prometheus).

    more: further parts of /ready, by name; anything but "ok" makes the service degraded, never down.
    """

    @get("/health", media_type=MediaType.JSON, summary="The process lives", tags=["operations"])
    async def health() -> Health:
        return Health(status="ok", parts={})

    @get("/ready", media_type=MediaType.JSON, summary="The service can do its work", tags=["operations"])
    async def ready() -> Response[Health]:
        parts: dict[str, str] = {}

        async def probe_ledger() -> None:
            async with desk.ledger.read() as tx:
                await tx.execute(text("SELECT 1"))

        async def probe_redis() -> None:
            await desk.redis.ping()  # pyright: ignore[reportGeneralTypeIssues, reportUnknownMemberType]

        await check("ledger", probe_ledger, parts)
        await check("redis", probe_redis, parts)
        # Without Redis the desk still takes complaints; without the ledger it takes nothing.
        parts.update(more() if more else {})
        status = "down" if parts["ledger"] != "ok" else "ok" if set(parts.values()) == {"ok"} else "degraded"
        return Response(Health(status=status, parts=parts), status_code=503 if status == "down" else 200)

    @get("/metrics", media_type=CONTENT_TYPE_LATEST, summary="Prometheus metrics", tags=["operations"])
    async def metrics() -> bytes:
        if refresh is not None:
            await refresh()
        return generate_latest()

    return [health, ready, metrics]
