"""The filter before the rules' searches may let too much through, but never keeps out what would match."""

from __future__ import annotations

import re

import pytest

from services.router.classify.corpus import expand, families
from services.router.classify.needed import Filter
from services.router.classify.script import fold
from services.router.classify.wording import compiled
from shared.policy import load


def test_no_rule_of_the_policy_is_kept_from_a_text_it_matches() -> None:
    table = compiled(load(None))
    matchers = [m for kind in (table.rules, table.signals, table.demands) for rows in kind.values() for _, m in rows]
    kept_out = searched = 0
    for line in expand(families(), variants=1):
        text = fold(line.text)
        worth = table.filter.may_match(text)
        searched += len(worth)
        for matcher in matchers:
            if matcher.number not in worth and matcher.pattern.search(text):
                kept_out += 1
    assert kept_out == 0
    assert searched, "the filter let nothing through at all"


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("退款|退钱", "要求退钱", "要求换货"),
        ("(?:还|也)(?:没|不)到", "快递还没到", "没有到"),
        ("质量[^。]{0,10}?(?:差|不好)", "质量真的差", "质量很好"),
        (r"(?<![a-z])(?:broken|can't use)", "it is broken", "brown bread"),
        ("等(?:了)?一(?:周|星期)", "等一周", "等一天"),
        ("没?收到", "收到", "收不"),
        ("[好坏]评{1,2}", "坏评", "评好"),
    ],
)
def test_what_a_pattern_needs(pattern: str, matching: str, other: str) -> None:
    found = Filter([re.compile(pattern)])
    assert found.may_match(matching) == {0}
    assert found.may_match(other) == set()


@pytest.mark.parametrize("pattern", [".*", "(?i)broken", "a?b*", r"\d+", "(?:退款)?"])
def test_a_pattern_that_needs_nothing_certain_is_always_tried(pattern: str) -> None:
    assert Filter([re.compile(pattern)]).may_match("") == {0}
