"""The blob store: attachments and large raw bytes, by the SHA-256 of their content. A local folder, or S3, OSS and others by URL.

A blob is written before the ledger's row that names it, so that a row never points nowhere; one that no row names does no harm.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import from_url

from shared.errors import ConfigError, TemporaryFailure, UnknownBlob

SHA256 = re.compile(r"[0-9a-f]{64}")
LARGEST = 64 << 20


class Blobs:
    """Content-addressed bytes. Putting the same twice is one blob; a put that returned survives a crash."""

    def __init__(self, store: Any, folder: Path | None) -> None:
        self._store = store
        self._folder = folder

    @classmethod
    def open(cls, url: str) -> Blobs:
        """A store by URL: file:///folder (made when missing), s3://bucket/prefix, ... Raises ConfigError."""
        try:
            if url.startswith("file:"):
                folder = Path(unquote(urlsplit(url).path))
                folder.mkdir(parents=True, exist_ok=True)
                return cls(None, folder)
            return cls(from_url(url), None)
        except (OSError, ValueError, BaseError) as error:
            raise ConfigError(f"DESK_BLOBS_URL '{url.split('?')[0]}' cannot be opened: {error}. Use file:///folder or s3://bucket/prefix.") from error

    async def put(self, data: bytes) -> str:
        """Keep the bytes; their sha256 in hex. Raises TemporaryFailure when the store does not take them."""
        if len(data) > LARGEST:
            raise ValueError(f"{len(data):,} bytes are more than one blob holds ({LARGEST:,})")
        digest = hashlib.sha256(data).hexdigest()
        try:
            if self._folder is not None:
                _write(self._folder / _path(digest), data)
            else:
                await obstore.put_async(self._store, _path(digest), data)
        except (OSError, BaseError) as error:
            raise TemporaryFailure(f"The blob store does not take an attachment: {type(error).__name__}.", retry_after=5) from error
        return digest

    async def get(self, sha256: str) -> bytes:
        """The bytes. Raises UnknownBlob when there are none, ValueError for what is no SHA-256."""
        path = _path(sha256)
        try:
            if self._folder is not None:
                return (self._folder / path).read_bytes()
            return bytes(await (await obstore.get_async(self._store, path)).bytes_async())
        except (FileNotFoundError, NotFoundError) as error:
            raise UnknownBlob(f"The blob store has no {sha256}. Check DESK_BLOBS_URL; restore it from the backup.") from error
        except (OSError, BaseError) as error:
            raise TemporaryFailure(f"The blob store is not answering: {type(error).__name__}.", retry_after=5) from error

    async def has(self, sha256: str) -> bool:
        try:
            if self._folder is not None:
                return (self._folder / _path(sha256)).exists()
            await obstore.head_async(self._store, _path(sha256))
        except (FileNotFoundError, NotFoundError):
            return False
        return True


def _path(sha256: str) -> str:
    """Where a blob lies: two levels, so that no folder grows without end. Refuses anything but a digest, so no path can be smuggled in."""
    if not SHA256.fullmatch(sha256):
        raise ValueError(f"{sha256[:80]!r} is no SHA-256 in hex")
    return f"{sha256[:2]}/{sha256}"


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all, and on the disk when it returns. Small enough to run where we stand: attachments are bounded."""
    if path.exists():
        return
    path.parent.mkdir(exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with draft.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        draft.unlink(missing_ok=True)
