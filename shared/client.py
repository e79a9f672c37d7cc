"""A department's Python client: claim complaints, work them, settle them, over the desk's HTTP API.

    async with DeskClient("http://127.0.0.1:8081", key, "warehouse") as desk:
        for work in await desk.claim(5, wait=30):
            print(work.complaint.said[0].text)
            await work.done(cause="拣货时漏放一件。", measure="已补发，顺丰 SF123。")

Refusals come as the classes of shared/errors.py (LeaseLost, RuleViolation, NotAllowed, ...), a desk that is away as TemporaryFailure.
What is safe to repeat is repeated: each step carries an Idempotency-Key, so that a lost answer never tells the customer twice.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, TypeVar

import httpx
import msgspec

from shared import errors
from shared.complaint import Category, Priority
from shared.dialogue import (
    Acted,
    Action,
    Answer,
    Ask,
    ClaimRequest,
    Claims,
    Dossier,
    Extended,
    Leased,
    Page,
    Prioritise,
    Progress,
    Propose,
    QueueView,
    Requeue,
    Resolve,
    Settled,
    SettleOne,
    Transfer,
    WholeStory,
)
from shared.notice_details import MissingFact, Option

T = TypeVar("T")
TRIES = 3
GRACE = 10.0
"""Seconds an answer may take beyond the wait that was asked for."""


class Work:
    """A leased complaint. Each method is one step; `done`, `retry`, `dead` and `transfer` end the lease."""

    def __init__(self, desk: DeskClient, lease: Leased) -> None:
        self._desk = desk
        self.lease = lease
        self.expires_at = lease.expires_at

    @property
    def reference(self) -> str:
        return self.lease.reference

    @property
    def complaint(self) -> Dossier:
        return self.lease.complaint

    async def extend(self, seconds: float) -> datetime:
        """Keep it `seconds` from now; when the lease ends. Raises LeaseLost."""
        answer = await self._desk.post(f"leases/{self.reference}/extend", Extended, self._with({"lease_seconds": seconds}))
        self.expires_at = answer.expires_at
        return answer.expires_at

    async def progress(self, note: str, *, tell_customer: bool = False) -> Acted:
        return await self._step("progress", Progress(note=note, tell_customer=tell_customer))

    async def ask(self, question: str = "", fields: Sequence[MissingFact] = (), answer_by: datetime | None = None) -> Acted:
        """Ask the customer for what is missing, once."""
        return await self._step("ask", Ask(question=question, fields=tuple(fields), answer_by=answer_by))

    async def propose(self, options: Sequence[Option], *, cause: str = "", answer_by: datetime | None = None) -> Acted:
        return await self._step("propose", Propose(options=tuple(options), cause=cause, answer_by=answer_by))

    async def answer(self, accepted: bool, note: str = "") -> Acted:
        """The customer accepted or refused what was proposed."""
        return await self._step("answer", Answer(accepted=accepted, note=note))

    async def transfer(self, department: str, reason: str, *, category: Category | None = None) -> Acted:
        return await self._step("transfer", Transfer(department=department, reason=reason, category=category))

    async def done(self, cause: str = "", measure: str = "", improvement: str = "", *, tell_customer: bool = True) -> Acted:
        """Resolve the complaint and end the lease. Without words: only the work is done, the customer having been told or asked."""
        resolution = None
        if cause or measure:
            resolution = Resolve(cause=cause, measure=measure, improvement=improvement, tell_customer=tell_customer)
        return await self._settle("done", resolution=resolution)

    async def retry(self, delay: float = 0.0) -> Acted:
        """Put it back; ready again after `delay` seconds."""
        return await self._settle("retry", delay=delay)

    async def dead(self, reason: str) -> Acted:
        """Nobody here can do it: it waits among the dead letters."""
        return await self._settle("dead", reason=reason)

    async def _settle(self, outcome: str, **fields: Any) -> Acted:
        return await self._desk.post(f"leases/{self.reference}/settle", Acted, self._with({"outcome": outcome, **_plain(fields)}))

    async def _step(self, name: str, action: Action) -> Acted:
        return await self._desk.post(f"leases/{self.reference}/{name}", Acted, self._with(msgspec.to_builtins(action)))

    def _with(self, fields: dict[str, Any]) -> dict[str, Any]:
        return {"token": self.lease.token, **fields}


class DeskClient:
    """One department's client; close it, or use it as a context manager. worker: who works, for the history.

    Up to `connections` requests at once. transport: an httpx transport, for tests and proxies.
    """

    def __init__(
        self,
        url: str,
        key: str,
        department: str,
        *,
        worker: str = "",
        connections: int = 20,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.department = department
        self._worker = worker
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        base = f"{url.rstrip('/')}/api/v1/"
        self._http = httpx.AsyncClient(base_url=base, headers=headers, limits=limits, timeout=GRACE, transport=transport, trust_env=False)

    async def __aenter__(self) -> DeskClient:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def claim(self, n: int = 1, *, lease_seconds: float = 60.0, wait: float = 0.0) -> list[Work]:
        """Up to n complaints, most pressing first; with `wait` (up to 30 s) the answer is held back while there is none."""
        wanted = ClaimRequest(n=n, lease_seconds=lease_seconds, wait=wait, worker=self._worker)
        # Not repeated: a claim whose answer was lost holds leases that only time gives back.
        answer = await self._call("POST", self._own("claim"), Claims, msgspec.to_builtins(wanted), wait=wait, tries=1)
        return [Work(self, lease) for lease in answer.leases]

    async def incoming(self, *, n: int = 1, lease_seconds: float = 60.0, wait: float = 30.0) -> AsyncIterator[Work]:
        """Every complaint as it comes, for ever; a desk that is away is waited for."""
        while True:
            try:
                batch = await self.claim(n, lease_seconds=lease_seconds, wait=wait)
            except errors.TemporaryFailure as error:
                await asyncio.sleep(error.retry_after or 1.0)
                continue
            for work in batch:
                yield work

    async def settle_many(self, settlements: Sequence[SettleOne]) -> Settled:
        """End many leases in one request; each is taken or refused by itself."""
        return await self._call("POST", self._own("settle"), Settled, {"settlements": msgspec.to_builtins(settlements)}, tries=1)

    async def queue(self, limit: int = 50) -> QueueView:
        return await self._call("GET", self._own(f"queue?limit={limit}"), QueueView)

    async def dead_letters(self, limit: int = 100) -> Page:
        return await self._call("GET", self._own(f"dead?limit={limit}"), Page)

    async def requeue(self, reference: str, reason: str = "") -> Acted:
        return await self.post(self._own(f"dead/{reference}/requeue"), Acted, msgspec.to_builtins(Requeue(reason=reason)))

    async def story(self, reference: str) -> WholeStory:
        """Everything about one complaint. Raises UnknownReference."""
        return await self._call("GET", f"complaints/{reference}", WholeStory)

    async def prioritise(self, reference: str, priority: Priority, reason: str, *, due_by: datetime | None = None) -> Acted:
        body = msgspec.to_builtins(Prioritise(priority=priority, reason=reason, due_by=due_by))
        return await self.post(f"complaints/{reference}/priority", Acted, body)

    async def withdraw(self, reference: str, reason: str) -> Acted:
        return await self.post(f"complaints/{reference}/withdraw", Acted, {"reason": reason})

    async def reopen(self, reference: str, reason: str) -> Acted:
        return await self.post(f"complaints/{reference}/reopen", Acted, {"reason": reason})

    async def post(self, path: str, answer: type[T], body: dict[str, Any]) -> T:
        """One step under an Idempotency-Key of its own, repeated while the desk is away. Raises what refuses it."""
        return await self._call("POST", path, answer, body, key=secrets.token_hex(16))

    def _own(self, path: str) -> str:
        return f"departments/{self.department}/{path}"

    async def _call(
        self, method: str, path: str, answer: type[T], body: Any = None, *, key: str = "", wait: float = 0.0, tries: int = TRIES
    ) -> T:
        content = None if body is None else msgspec.json.encode(body)
        headers = {"Idempotency-Key": key} if key else None
        failure = errors.TemporaryFailure()
        for attempt in range(tries):
            if attempt:
                await asyncio.sleep(min(failure.retry_after or 1.0, 5.0))
            try:
                response = await self._http.request(method, path, content=content, headers=headers, timeout=wait + GRACE)
                return msgspec.json.decode(_accepted(response), type=answer)
            except httpx.TransportError as error:
                failure = errors.TemporaryFailure(f"The desk is not answering: {type(error).__name__}.", retry_after=1.0)
            except errors.TemporaryFailure as error:
                failure = error
        raise failure


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    return msgspec.to_builtins({name: value for name, value in fields.items() if value is not None})


BY_CODE: dict[str, type[errors.DeskError]] = {
    kind.code: kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.DeskError)
}
BY_STATUS = {401: errors.NotAllowed, 403: errors.NotAllowed, 404: errors.UnknownReference, 409: errors.RuleViolation}


def _accepted(response: httpx.Response) -> bytes:
    """The body of a good answer. Raises what a problem stands for (RFC 9457)."""
    if response.is_success:
        return response.content
    try:
        problem: dict[str, Any] = msgspec.json.decode(response.content, type=dict[str, Any])
    except msgspec.DecodeError:
        problem = {"detail": f"HTTP {response.status_code}"}
    detail = str(problem.get("detail", ""))
    if response.status_code in (429, 502, 503, 504):
        after = response.headers.get("retry-after", "")
        raise errors.TemporaryFailure(detail, retry_after=float(after) if after.isdigit() else 1.0)
    kind = BY_CODE.get(str(problem.get("code", ""))) or BY_STATUS.get(response.status_code, errors.RuleViolation)
    error = kind(detail)
    error.code, error.status = str(problem.get("code", kind.code)), response.status_code
    raise error
