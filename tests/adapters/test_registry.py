"""Adapters are found by their entry points, and every mistake there names its mend."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from services.intake import registry, scaffold
from services.intake.cases import fixtures_of
from services.intake.conformance import check, check_installed, render
from shared.complaint import Channel
from shared.errors import ConfigError


def entry(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, value, registry.GROUP)


PHONE = entry("phone", "services.intake.adapters.phone:ADAPTER")


def test_ours_are_installed() -> None:
    for name in ("web_form", "phone", "wechat", "telegram", "webhook"):
        assert registry.get(name).name == name


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'phone'"):
        registry.get("fone", [PHONE])
    with pytest.raises(ConfigError, match="Installed are: phone"):
        registry.get("zzz", [PHONE])
    with pytest.raises(ConfigError, match="none; install the package"):
        registry.get("zzz", [])


def test_one_name_for_two_adapters_is_refused_and_one_installed_twice_is_not() -> None:
    with pytest.raises(ConfigError, match="Two adapters are called 'phone'"):
        registry.entries([PHONE, entry("phone", "other.package:ADAPTER")])
    assert list(registry.find_adapters([PHONE, PHONE])) == ["phone"]


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (entry("gone", "no_such_package.adapter:ADAPTER"), "cannot be loaded: ModuleNotFoundError"),
        (entry("cls", "services.intake.adapters.phone:PhoneAdapter"), "not at its class"),
        (entry("fone", "services.intake.adapters.phone:ADAPTER"), "calls itself 'phone'"),
    ],
)
def test_a_broken_entry_point_is_named(broken: EntryPoint, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        registry.get(broken.name, [broken])
    with pytest.raises(ConfigError, match=words):
        registry.find_adapters([PHONE, broken])
    by_name = {found.name: found for found in registry.survey([PHONE, broken])}
    assert words in by_name[broken.name].problem
    assert by_name["phone"].adapter is registry.get("phone")


@pytest.mark.parametrize("channel", list(Channel))
def test_a_new_adapter_keeps_every_promise_straight_away(channel: Channel, tmp_path: Path) -> None:
    made = scaffold.new(f"sample_{channel.value}", tmp_path, channel, taken=())
    adapter = registry.load_file(made.files[0])
    assert (adapter.name, adapter.channel) == (f"sample_{channel.value}", channel)
    assert fixtures_of(adapter) == tmp_path / "fixtures" / adapter.name
    report = check(adapter)
    assert report.passed, render(report)
    assert report.cases == 8


def test_what_is_written_can_be_checked_by_its_path(tmp_path: Path) -> None:
    said = scaffold.scaffold("sample", tmp_path)
    assert 'sample = "sample:ADAPTER"' in said
    assert f"desk adapters check {tmp_path / 'sample.py'}" in said
    (tmp_path / "fixtures/sample/text.expected.json").write_text("{}")
    assert not check_installed(str(tmp_path / "sample.py")).passed
    report = check_installed(str(tmp_path / "sample.py"), bless=True)
    assert report.passed
    assert report.blessed == ("text",)
    assert "blessed anew, read the diff: text" in render(report)
    assert check_installed("phone", fixtures_of(registry.get("phone"))).passed


def test_the_entry_point_line_names_the_package(tmp_path: Path) -> None:
    package = tmp_path / "acme" / "desk"
    package.mkdir(parents=True)
    (tmp_path / "acme" / "__init__.py").touch()
    (package / "__init__.py").touch()
    assert scaffold.new("acme_chat", package, taken=()).entry_point == 'acme_chat = "acme.desk.acme_chat:ADAPTER"'


@pytest.mark.parametrize("name", ["", "X", "a", "class", "has-dash", "has space", "../up", "7up", "名字", "a" * 41])
def test_a_name_that_will_not_do(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="will not do as a name"):
        scaffold.new(name, tmp_path, taken=())
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="already an adapter called 'phone'"):
        scaffold.new("phone", tmp_path)
    scaffold.new("sample", tmp_path, taken=())
    before = (tmp_path / "sample.py").read_bytes()
    with pytest.raises(ConfigError, match="already there"):
        scaffold.new("sample", tmp_path, taken=())
    assert (tmp_path / "sample.py").read_bytes() == before


@pytest.mark.parametrize(("text", "words"), [("1/0", "ZeroDivisionError"), ("ADAPTER = 1", "has no ADAPTER"), (None, "is no Python file")])
def test_a_file_that_holds_no_adapter(text: str | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        registry.load_file(path)
