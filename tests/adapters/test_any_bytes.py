"""Whatever comes, an adapter gives submissions that can be stored, or the declared error. Nothing else gets out."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.intake import registry
from services.intake.adapter import Delivery, Parsed
from services.intake.cases import Case, fixtures_of, load, run
from services.intake.conformance import flaws
from shared.errors import TooLarge, Unreadable
from tests.adapters.test_conformance import OURS

NOW = datetime(2026, 3, 1, tzinfo=UTC)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("name", OURS)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_mangled_good_deliveries(name: str, data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(good_cases(name)))
    raw = bytearray(case.raw)
    for _ in range(data.draw(st.integers(0, 5))):
        at = data.draw(st.integers(0, len(raw)))
        raw[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    mangled = msgspec.structs.replace(case.delivery, raw=bytes(raw))
    refusal = run(registry.get(name), mangled, case.meta.secret).refusal
    assert refusal is None or refusal.message.endswith((".", "?"))
    for one in parsed_unverified(name, mangled):
        assert not list(flaws(one, case.meta.account))


@pytest.mark.parametrize("name", ["web_form", "phone", "telegram", "webhook"])
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_good_documents_with_odd_values(name: str, data: st.DataObject) -> None:
    documents = [msgspec.json.decode(case.raw) for case in good_cases(name) if case.raw[:1] == b"{" and well_formed(case.raw)]
    document = dict(data.draw(st.sampled_from(documents)))
    for field in data.draw(st.lists(st.sampled_from(sorted(document)), max_size=3)):
        document[field] = data.draw(JSON_VALUES)
    delivery = Delivery(raw=msgspec.json.encode(document), account="demo", received_at=NOW)
    for one in parsed_unverified(name, delivery):
        assert not list(flaws(one, "demo"))


def well_formed(raw: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(raw), dict)
    except ValueError:
        return False


@cache
def good_cases(name: str) -> list[Case]:
    return [case for case in load(fixtures_of(registry.get(name))) if case.raw]


def parsed_unverified(name: str, delivery: Delivery) -> tuple[Parsed, ...]:
    """What parse alone makes of it; only the declared errors may come."""
    try:
        return registry.get(name).parse(delivery)
    except (Unreadable, TooLarge):
        return ()
