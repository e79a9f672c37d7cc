"""An HTTP client that costs next to nothing: keep-alive connections on bare asyncio protocols; it measures the server, not itself.

`closed` keeps a fixed number of clients busy, each with one request at a time; `opened` sends at a fixed rate whatever the server does,
and counts each latency from the instant the request was due.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import NamedTuple, cast

ANSWER_WITHIN = 60.0


class Answer(NamedTuple):
    """One answered request. due: epoch seconds when it was sent, or was due; seconds: until the whole answer was here."""

    status: int
    body: bytes
    due: float
    seconds: float


class Load(NamedTuple):
    """What a run brought. seconds: from the first request to the last answer."""

    answers: list[Answer]
    seconds: float

    @property
    def rate(self) -> float:
        return len(self.answers) / self.seconds if self.seconds else 0.0

    def statuses(self) -> Counter[int]:
        return Counter(a.status for a in self.answers)

    def check(self, status: int) -> Load:
        """Itself, when every answer had this status: a figure over refusals would mean nothing."""
        others = [a for a in self.answers if a.status != status]
        if others:
            raise RuntimeError(f"{len(others)} of {len(self.answers)} answers were not {status}; the first: {others[0].body[:300]!r}")
        return self


class Line(asyncio.Protocol):
    """One keep-alive connection, one request at a time."""

    def __init__(self, lost: Callable[[Exception], None]) -> None:
        self._lost = lost
        self._buffer = b""
        self._answered: Callable[[int, bytes], None] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answered:
            self._lost(exc or ConnectionError("the server closed the connection before it answered"))

    def send(self, request: bytes, answered: Callable[[int, bytes], None]) -> None:
        assert self._transport is not None
        self._answered = answered
        self._transport.write(request)

    def close(self) -> None:
        if self._transport:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            self._buffer = buffer
            return
        at = buffer.lower().find(b"content-length:", 0, end)
        length = int(buffer[at + 15 : buffer.find(b"\r\n", at)]) if at >= 0 else 0
        if len(buffer) < end + 4 + length:
            self._buffer = buffer
            return
        self._buffer = b""
        answered, self._answered = self._answered, None
        if answered:
            answered(int(buffer[9:12]), buffer[end + 4 :])


Script = Generator[bytes, tuple[int, bytes], None]
"""What one client does: yields a request, is sent the status and the body of its answer, and yields the next."""


def one_after_another(requests: Iterator[bytes]) -> Script:
    """A client that does not look at its answers. Several may share the requests."""
    for request in requests:  # noqa: UP028 - an answer is sent into each yield, and an iterator takes none
        yield request


async def closed(
    address: tuple[str, int], requests: Iterator[bytes], *, clients: int = 32, seconds: float = 0.0, keep_bodies: bool = False
) -> Load:
    """Keep every client busy until the requests or the seconds (0: no limit) run out; then wait for the last answers."""
    scripts = [one_after_another(requests) for _ in range(clients)]
    return await scripted(address, scripts, seconds=seconds, keep_bodies=keep_bodies)


async def scripted(address: tuple[str, int], scripts: Sequence[Script], *, seconds: float = 0.0, keep_bodies: bool = False) -> Load:
    """One client a script, each with one request at a time, until the scripts or the seconds (0: no limit) run out."""
    run = _Run(keep_bodies)
    until = time.perf_counter() + seconds if seconds else float("inf")

    def step(line: Line, script: Script, answer: tuple[int, bytes] | None) -> None:
        try:
            request = (script.send(answer) if answer else next(script)) if time.perf_counter() < until else None
        except StopIteration:
            request = None
        if request is None:
            run.open_lines -= 1
            if not run.open_lines:
                run.finish()
            return
        began = time.time()

        def answered(status: int, body: bytes) -> None:
            run.note(status, body, began)
            step(line, script, (status, body))

        line.send(request, answered)

    return await run.of(address, len(scripts), lambda lines: [step(*pair, None) for pair in zip(lines, scripts, strict=True)])


async def opened(address: tuple[str, int], requests: Iterator[bytes], *, rate: float, seconds: float, clients: int = 128) -> Load:
    """Send `rate` requests a second for `seconds`. A request that finds no free connection waits; its latency counts that in."""
    run = _Run(keep_bodies=True)
    total = round(rate * seconds)
    loop = asyncio.get_running_loop()

    def begin(lines: list[Line]) -> None:
        free = list(lines)
        waiting: list[tuple[bytes, float]] = []
        start = time.time()
        run.open_lines = total

        def serve() -> None:
            while waiting and free and not run.over:
                request, due = waiting.pop(0)
                line = free.pop()
                line.send(request, lambda status, body, line=line, due=due: answered(line, status, body, due))

        def answered(line: Line, status: int, body: bytes, due: float) -> None:
            run.note(status, body, due)
            free.append(line)
            run.open_lines -= 1
            if not run.open_lines:
                run.finish()
            serve()

        def tick(number: int) -> None:
            due = start + number / rate
            waiting.append((next(requests), due))
            if number + 1 < total and not run.over:
                loop.call_later(max(0.0, start + (number + 1) / rate - time.time()), tick, number + 1)
            serve()

        tick(0)

    return await run.of(address, clients, begin)


class _Run:
    def __init__(self, keep_bodies: bool) -> None:
        self._keep = keep_bodies
        self._answers: list[Answer] = []
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.open_lines = 0

    @property
    def over(self) -> bool:
        """Finished, or failed."""
        return self._done.done()

    def note(self, status: int, body: bytes, due: float) -> None:
        self._answers.append(Answer(status, body if self._keep or status >= 300 else b"", due, time.time() - due))

    def finish(self) -> None:
        if not self._done.done():
            self._done.set_result(None)

    def fail(self, error: Exception) -> None:
        if not self._done.done():
            self._done.set_exception(error)

    async def of(self, address: tuple[str, int], clients: int, begin: Callable[[list[Line]], object]) -> Load:
        loop = asyncio.get_running_loop()
        lines = [(await loop.create_connection(lambda: Line(self.fail), *address))[1] for _ in range(clients)]
        self.open_lines = clients
        started = time.perf_counter()
        begin(lines)
        try:
            while not self._done.done():
                known = len(self._answers)
                await asyncio.wait([self._done], timeout=ANSWER_WITHIN)
                if not self._done.done() and len(self._answers) == known:
                    raise TimeoutError(f"No answer from {address} in {ANSWER_WITHIN:.0f} s.")
            self._done.result()
            taken = time.perf_counter() - started
        finally:
            for line in lines:
                line.close()
        return Load(self._answers, taken)
