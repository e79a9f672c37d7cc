"""Attachments and large raw bytes, each under its own SHA-256: on a local folder, or in S3 and what speaks it (OSS), by URL.

What is put is there to stay: the same bytes are one object however often they come, and nothing is ever overwritten. On a local disk the
bytes and their name are synced before `put` returns, since the ledger's row that names them may be committed the moment after.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import ObjectStore, from_url

from shared.errors import ConfigError, TemporaryFailure, TooLarge, UnknownBlob

MAX_BYTES = 104_857_600
NAME = re.compile(r"[0-9a-f]{64}")


class Store(Protocol):
    """Where bytes lie by their path ab/<sha256>. `read` raises FileNotFoundError."""

    async def write(self, path: str, data: bytes) -> None: ...

    async def read(self, path: str) -> bytes: ...

    async def has(self, path: str) -> bool: ...


class Blobs:
    """Bytes by their SHA-256 (64 lower-case hex digits). Raises TemporaryFailure while the store does not answer."""

    def __init__(self, store: Store, *, max_bytes: int = MAX_BYTES) -> None:
        self._store = store
        self._max_bytes = max_bytes

    @classmethod
    def open(cls, url: str, *, max_bytes: int = MAX_BYTES) -> Blobs:
        """By URL: file:///folder (made when missing) or s3://bucket/prefix with its credentials in the usual AWS_ variables.

        Raises ConfigError. Nothing is connected yet.
        """
        parts = urlsplit(url)
        if parts.scheme == "file":
            return cls(_Folder(Path(unquote(parts.path))), max_bytes=max_bytes)
        try:
            return cls(_Remote(from_url(url)), max_bytes=max_bytes)
        except (BaseError, ValueError) as error:
            raise ConfigError(f"DESK_BLOBS_URL '{url}' cannot be opened: {error}. Use file:///folder or s3://bucket/prefix.") from error

    async def put(self, data: bytes) -> str:
        """The name of the bytes, once they are safely stored. Raises TooLarge."""
        if len(data) > self._max_bytes:
            raise TooLarge(f"{len(data)} bytes are more than the {self._max_bytes} this desk keeps of one file.")
        name = hashlib.sha256(data).hexdigest()
        try:
            if not await self._store.has(_path(name)):
                await self._store.write(_path(name), data)
        except (OSError, BaseError) as error:
            raise TemporaryFailure(f"The file store does not take this now: {_reason(error)}", retry_after=5) from error
        return name

    async def get(self, sha256: str) -> bytes:
        """The bytes. Raises UnknownBlob, also for what is no SHA-256 and for bytes that no longer match their name."""
        try:
            data = await self._store.read(_path(sha256))
        except FileNotFoundError:
            raise UnknownBlob(f"There are no stored bytes under {sha256[:80]!r}.") from None
        except (OSError, BaseError) as error:
            raise TemporaryFailure(f"The file store does not answer: {_reason(error)}", retry_after=5) from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise UnknownBlob(f"The stored bytes under {sha256} were changed since. Restore them from a backup.")
        return data

    async def has(self, sha256: str) -> bool:
        """Whether the bytes are there. Raises UnknownBlob for what is no SHA-256."""
        try:
            return await self._store.has(_path(sha256))
        except (OSError, BaseError) as error:
            raise TemporaryFailure(f"The file store does not answer: {_reason(error)}", retry_after=5) from error


class _Folder:
    """A local folder. Not obstore's: that one does not sync what it writes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"The folder of files {folder} cannot be made: {error.strerror}. Mend it, or DESK_BLOBS_URL.") from error

    async def write(self, path: str, data: bytes) -> None:
        await asyncio.to_thread(self._write, self._folder / path, data)

    def _write(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(exist_ok=True)
        file, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        try:
            with os.fdopen(file, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        _sync_names(path.parent)
        _sync_names(self._folder)

    async def read(self, path: str) -> bytes:
        return await asyncio.to_thread((self._folder / path).read_bytes)

    async def has(self, path: str) -> bool:
        return (self._folder / path).exists()


class _Remote:
    """An object store, whose answer to a write means that it is kept."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def write(self, path: str, data: bytes) -> None:
        with suppress(AlreadyExistsError):  # somebody stored the very same bytes meanwhile
            await self._store.put_async(path, data, mode="create")

    async def read(self, path: str) -> bytes:
        return bytes(await (await self._store.get_async(path)).bytes_async())

    async def has(self, path: str) -> bool:
        try:
            await self._store.head_async(path)
        except FileNotFoundError:
            return False
        return True


def _path(sha256: str) -> str:
    """Where a name lies. Only a SHA-256 is a name, so that no path can lead elsewhere."""
    if not NAME.fullmatch(sha256):
        raise UnknownBlob(f"{sha256[:80]!r} is not the name of stored bytes.")
    return f"{sha256[:2]}/{sha256}"


def _sync_names(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
