"""Every adapter that comes with the desk keeps every promise, on its own fixture cases."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from services.intake import registry
from services.intake.adapter import Delivery, Parsed
from services.intake.cases import bless, fixtures_of, load
from services.intake.conformance import check, check_accept, render
from shared.references import dedupe_key
from tests.adapters.write_fixtures import all_cases

OURS = ("web_form", "phone", "wechat", "telegram", "webhook")


@pytest.mark.parametrize("name", OURS)
def test_the_adapter_keeps_every_promise(name: str) -> None:
    report = check(registry.get(name), limit=5)
    assert report.passed, render(report)


@pytest.mark.parametrize("name", OURS)
async def test_a_delivery_taken_twice_is_one_complaint(name: str) -> None:
    adapter, ledger = registry.get(name), dict[str, str]()

    async def accept(delivery: Delivery, parsed: tuple[Parsed, ...]) -> list[str]:
        return [ledger.setdefault(dedupe_key(one.submission, delivery.raw), f"C{len(ledger)}") for one in parsed]

    found = await check_accept(adapter, accept)
    assert found.passed, found.problems
    assert ledger


@pytest.mark.parametrize("name", OURS)
def test_the_cases_on_disk_are_the_ones_that_the_script_writes(name: str) -> None:
    on_disk = {case.name: case for case in load(fixtures_of(registry.get(name)))}
    for case in all_cases()[name]:
        assert (on_disk[case.name].raw, on_disk[case.name].meta) == (case.raw, case.meta), (
            f"run python -m tests.adapters.write_fixtures ({case.name})"
        )


@pytest.mark.parametrize("name", OURS)
def test_blessing_writes_what_the_adapter_does_and_names_what_changed(name: str, tmp_path: Path) -> None:
    adapter = registry.get(name)
    for path in fixtures_of(adapter).iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    case = load(tmp_path)[0]
    expected = tmp_path / f"{case.name}.expected.json"
    expected.write_bytes(msgspec.json.encode({"submissions": []}))
    assert bless(adapter, tmp_path) == [case.name]
    assert bless(adapter, tmp_path) == []
    assert expected.read_bytes() == (fixtures_of(adapter) / expected.name).read_bytes()
