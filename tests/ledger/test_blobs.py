"""Blobs: what is put stays, once, under the hash of its bytes; on a folder and in an object store."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from shared.blobs import Blobs, _Remote
from shared.errors import ConfigError, TemporaryFailure, TooLarge, UnknownBlob

DATA = b"\x00\xff a photo of a broken rice cooker"
NAME = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(params=["folder", "object store"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    """MemoryStore is obstore's own store, with the same interface as its S3."""
    return Blobs.open((tmp_path / "b l o b s").as_uri()) if request.param == "folder" else Blobs(_Remote(MemoryStore()))


async def test_what_is_put_is_got_back(blobs: Blobs):
    assert await blobs.put(DATA) == NAME
    assert await blobs.has(NAME)
    assert await blobs.get(NAME) == DATA
    assert await blobs.get(await blobs.put(b"")) == b""


async def test_putting_twice_or_at_once_is_the_same(blobs: Blobs):
    assert set(await asyncio.gather(*(blobs.put(DATA) for _ in range(20)))) == {NAME}
    assert await blobs.put(DATA) == NAME
    assert await blobs.get(NAME) == DATA


async def test_missing_bytes_are_a_declared_error(blobs: Blobs):
    assert not await blobs.has(NAME)
    with pytest.raises(UnknownBlob, match="no stored bytes"):
        await blobs.get(NAME)


async def test_no_name_leads_out_of_the_store(blobs: Blobs):
    await blobs.put(DATA)
    for name in ("../../etc/passwd", "", NAME.upper(), NAME + "\n", NAME[:63], f"../{NAME}", "%2e%2e/" + NAME, "\0" * 64):
        with pytest.raises(UnknownBlob):
            await blobs.get(name)
        with pytest.raises(UnknownBlob):
            await blobs.has(name)


async def test_too_much_is_refused(tmp_path: Path):
    blobs = Blobs.open(tmp_path.as_uri(), max_bytes=10)
    await blobs.put(b"x" * 10)
    with pytest.raises(TooLarge, match="11 bytes"):
        await blobs.put(b"x" * 11)


async def test_a_folder_holds_only_whole_files(tmp_path: Path):
    blobs = Blobs.open(tmp_path.as_uri())
    await blobs.put(DATA)
    assert {name: files for name, _, files in os.walk(tmp_path) if files} == {str(tmp_path / NAME[:2]): [NAME]}


async def test_changed_bytes_are_never_given_out(tmp_path: Path):
    blobs = Blobs.open(tmp_path.as_uri())
    await blobs.put(DATA)
    (tmp_path / NAME[:2] / NAME).write_bytes(b"something else")
    with pytest.raises(UnknownBlob, match="changed"):
        await blobs.get(NAME)


async def test_a_disk_that_refuses_is_a_temporary_failure_and_leaves_nothing(tmp_path: Path):
    blobs = Blobs.open(tmp_path.as_uri())
    (tmp_path / NAME[:2]).write_text("a file where a folder must be")
    with pytest.raises(TemporaryFailure):
        await blobs.put(DATA)
    assert [files for _, _, files in os.walk(tmp_path)] == [[NAME[:2]]]


def test_a_url_that_is_no_store_is_the_operators_fault(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    for url in ("gopher://x/y", "nonsense", (tmp_path / "file" / "blobs").as_uri()):
        with pytest.raises(ConfigError):
            Blobs.open(url)
