"""What the pages name exists: links, files, make targets, commands with their options, settings, metrics."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from prometheus_client import REGISTRY
from typer.main import get_command

from services.cli import app
from services.router.departments import leases
from shared import telemetry
from shared.settings import Settings
from tests.docs.pages import ROOT, Page, pages

PAGES = pages()
MODULES_WITH_METRICS = (leases, telemetry)
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path)
FILE = re.compile(r"[\w.-]+(?:/[\w.*-]+)*/?")
ENDINGS = (".py", ".md", ".toml", ".yaml", ".lua", ".npz", ".lock")
MADE_LATER = re.compile(r"^var/|line_works|letters?\.py|^fixtures/|your_|NAME|\*")
"""What a reader makes, or the desk writes."""


def in_the_project(name: str) -> bool:
    """At this place, or below one of the folders in which the pages speak of their own files."""
    bare = name.rstrip("/")
    return (ROOT / bare).exists() or any(path.name for top in ("services", "shared", "tests", "docs") for path in (ROOT / top).rglob(bare))


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@every_page
def test_links_lead_somewhere(page: Page):
    for link in page.links:
        target, _, anchor = link.partition("#")
        if "://" in target:
            continue
        path = ((ROOT / page.path).parent / target) if target else ROOT / page.path
        assert path.exists(), f"{page.path} links to {link}"
        assert not anchor or anchor in {re.sub(r"[^\w -]", "", t.lower()).replace(" ", "-") for _, t in Page("", path.read_text()).headings}


@every_page
def test_files_that_are_named_exist(page: Page):
    named = {span for span in page.spans if FILE.fullmatch(span) and (span.endswith(ENDINGS) or span.endswith("/"))}
    missing = sorted(name for name in named if not MADE_LATER.search(name) and not name.startswith("/") and not in_the_project(name))
    assert not missing


@every_page
def test_make_targets_that_are_named_exist(page: Page):
    named = {match[1] for piece in page.commands if (match := re.match(r"make ([a-z-]+)$", piece))}
    assert named <= make_targets()


@every_page
def test_desk_commands_that_are_named_exist(page: Page):
    for piece in page.commands:
        match = re.match(r"(?:\.venv/bin/)?desk((?: [a-z][a-z-]*)*)(.*)", piece)
        if match and match[1]:
            assert (fault := _fault(match[1].split(), match[2])) == "", f"{page.path}: `{piece}`: {fault}"


def _fault(words: list[str], rest: str) -> str:
    """What is wrong with a command line of `desk`, empty when nothing is."""
    command: Any = get_command(app)
    while words and hasattr(command, "commands"):
        if words[0] not in command.commands:
            return f"there is no command {words[0]}"
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    options = [word for word in rest.split() if re.fullmatch(r"--?[a-z][\w-]*", word)]
    unknown = [option for option in options if option not in known]
    return f"there is no option {unknown[0]}" if unknown else ""


def test_a_wrong_command_would_be_found():
    assert _fault(["queue", "nosuch"], "") == "there is no command nosuch"
    assert _fault(["keys", "add"], " me --nosuch x") == "there is no option --nosuch"


SETTINGS = {f"DESK_{field.name.upper()}" for field in msgspec.structs.fields(Settings)}


@every_page
def test_settings_that_are_named_exist(page: Page):
    assert set(re.findall(r"DESK_[A-Z][A-Z_]*[A-Z]", page.text)) <= SETTINGS


def test_every_setting_is_explained():
    rows = [line for line in (ROOT / "docs/operations.md").read_text().splitlines() if line.startswith("| `DESK_")]
    assert {name for row in rows for name in re.findall(r"DESK_\w+", row.split("|")[1])} == SETTINGS


@every_page
def test_metrics_that_are_named_exist(page: Page):
    series = {metric.name for metric in REGISTRY.collect()}
    known = series | {f"{name}_total" for name in series}
    assert {"desk_arrivals_total", "desk_claims_total"} <= known
    assert set(re.findall(r"`(desk_[a-z_]+)", page.prose)) <= known


def test_both_readmes_say_the_same():
    english, chinese = (next(page for page in PAGES if page.path == path) for path in ("README.md", "README.zh-CN.md"))
    assert [level for level, _ in english.headings] == [level for level, _ in chinese.headings]
    assert english.text.count("\n|") == chinese.text.count("\n|")

    def same(page: Page) -> list[str]:
        commands = [line for line in page.code_lines if re.match(r"(make|desk|curl|KEY|API|-)", line)]
        return [line.replace('"仓储组"', '"warehouse team"') for line in commands]

    assert same(english) == same(chinese)
    assert len(same(english)) > 15
    places = [re.findall(r"^\| (`[^|]+`) \|", page.text, re.MULTILINE) for page in (english, chinese)]
    assert places[0] == places[1]


def test_the_changelog_speaks_of_this_version():
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert f"## [{version[1]}]" in (ROOT / "CHANGELOG.md").read_text()


def test_every_page_of_docs_can_be_found_from_the_readme():
    linked = {link for page in PAGES if page.path == "README.md" for link in page.links}
    assert {page.path for page in PAGES if page.path.startswith("docs/")} <= linked
