"""TCP proxies on loopback that break what passes through them: one cuts a line in the middle, one holds a command back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Self

Way = Callable[[bytes], AsyncIterator[bytes]]
"""What becomes of a piece on its way: it may be held back, changed, or sent on in parts. Raising Cut cuts the line there and then."""


class Cut(Exception):
    """The line is cut."""


async def unchanged(data: bytes) -> AsyncIterator[bytes]:
    yield data


def slowly(seconds: float) -> Way:
    """A line on which each piece takes its time."""

    async def way(data: bytes) -> AsyncIterator[bytes]:
        await asyncio.sleep(seconds)
        yield data

    return way


class Proxy:
    """`async with Proxy(connect) as proxy`: what comes to proxy.port goes to `connect()`. Pieces take their way to_server or to_client."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]],
        *,
        to_server: Way = unchanged,
        to_client: Way = unchanged,
    ) -> None:
        self.connect = connect
        self.to_server = to_server
        self.to_client = to_client
        self.port = 0
        self._server: asyncio.Server | None = None
        self._lines: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for line in tuple(self._lines):
            line.cancel()
        await asyncio.gather(*self._lines, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._lines.add(task)
        try:
            there, back = await self.connect()
        except OSError:
            writer.transport.abort()
            self._lines.discard(task)
            return
        ways = [
            asyncio.create_task(self._carry(reader, back, self.to_server)),
            asyncio.create_task(self._carry(there, writer, self.to_client)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            writer.transport.abort()
            back.transport.abort()
            self._lines.discard(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way) -> None:
        with contextlib.suppress(Cut):
            while data := await reader.read(65536):
                async for piece in way(data):
                    writer.write(piece)
                    await writer.drain()
