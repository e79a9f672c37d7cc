"""A small HTTP/1.1 server on loopback for the stand-ins of the chat platforms. Never part of a running desk.

Not Litestar: a stand-in must be able to do what no good server does (cut the line after taking a request) and start in a millisecond
inside a test. Kept connections, Content-Length bodies, nothing else.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, NamedTuple, Self, cast
from urllib.parse import parse_qsl, urlsplit


class Request(NamedTuple):
    method: str
    path: str
    query: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as a JSON object; empty for anything else."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return cast(dict[str, Any], value) if isinstance(value, dict) else {}


class Answer(NamedTuple):
    """What to say; `cut` says nothing and hangs up, as a network does that fails after the request arrived."""

    body: Any
    status: int = 200
    cut: bool = False


Handler = Callable[[Request], Answer | None]
LARGEST = 8 * 1024 * 1024


class HttpPeer:
    """The server: each request goes to the handlers in turn until one answers; 404 when none does."""

    def __init__(self, *handlers: Handler, host: str = "127.0.0.1", port: int = 0) -> None:
        self.handlers = handlers
        self.host = host
        self.port = port
        self.sessions: set[HttpSession] = set()
        self.server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    async def start(self) -> Self:
        self.server = await asyncio.get_running_loop().create_server(lambda: HttpSession(self), self.host, self.port)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        if self.server:
            self.server.close()
            for session in tuple(self.sessions):
                session.hang_up()
            await self.server.wait_closed()
            self.server = None

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def answer(self, request: Request) -> Answer:
        for handler in self.handlers:
            answer = handler(request)
            if answer is not None:
                return answer
        return Answer({"error": f"nothing at {request.path}"}, 404)


class HttpSession(asyncio.Protocol):
    """One connection, requests in order."""

    def __init__(self, peer: HttpPeer) -> None:
        self.peer = peer
        self.buffer = bytearray()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.peer.sessions.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.peer.sessions.discard(self)
        self.transport = None

    def hang_up(self) -> None:
        if self.transport:
            self.transport.abort()
        self.transport = None

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if len(self.buffer) > LARGEST:
            self.hang_up()
        while self.transport is not None and (request := self.next_request()) is not None:
            answer = self.peer.answer(request)
            if answer.cut:
                self.hang_up()
            else:
                body = json.dumps(answer.body, ensure_ascii=False).encode()
                head = f"HTTP/1.1 {answer.status} Answer\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                self.transport.write(head.encode() + body)

    def next_request(self) -> Request | None:
        """The first whole request in the buffer, taken out of it."""
        head_end = self.buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return None
        first, *lines = bytes(self.buffer[:head_end]).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length") or 0)
        end = head_end + 4 + length
        if len(self.buffer) < end:
            return None
        body = bytes(self.buffer[head_end + 4 : end])
        del self.buffer[:end]
        method, _, rest = first.partition(" ")
        target = urlsplit(rest.partition(" ")[0])
        return Request(method, target.path, dict(parse_qsl(target.query)), body)
