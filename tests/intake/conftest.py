"""A running intake for each test: on SQLite, or on both databases where a test asks for `intake_on_both`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.intake.serving import Intake, serving
from tests.valkey import PrivateValkey, private_valkey


@pytest.fixture(scope="session")
def shared_valkey() -> Iterator[PrivateValkey]:
    with private_valkey() as server:
        yield server


@pytest.fixture
def own_valkey() -> Iterator[PrivateValkey]:
    with private_valkey() as server:
        yield server


@pytest.fixture
async def intake(tmp_path: Path, sqlite_url: str, shared_valkey: PrivateValkey) -> AsyncIterator[Intake]:
    async with serving(tmp_path / "home", sqlite_url, shared_valkey.url) as running:
        yield running


@pytest.fixture
async def intake_on_both(tmp_path: Path, ledger_url: str, shared_valkey: PrivateValkey) -> AsyncIterator[Intake]:
    async with serving(tmp_path / "home", ledger_url, shared_valkey.url) as running:
        yield running
