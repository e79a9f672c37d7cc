"""Long texts in parts: whole, in order, within the limit, cut where a reader would."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.splitting import split_text, utf8_bytes, utf16_units
from shared.errors import Undeliverable

LINK = "https://desk.shop.example/track/C261122-7K3QXP/668d784ecde6290d7930efcd537ab28e"


def words_of(parts: list[str]) -> str:
    if len(parts) > 2:
        parts = [re.sub(r"^\(\d+/\d+\)\n", "", part) for part in parts]
    return re.sub(r"\s", "", "".join(parts))


@given(st.text(max_size=1500), st.integers(60, 300), st.sampled_from([utf8_bytes, utf16_units]))
def test_nothing_is_lost_and_nothing_too_long(text: str, limit: int, size: object) -> None:
    parts = split_text(text, limit, size)  # type: ignore[arg-type] # hypothesis tells no more than object
    assert all(size(part) <= limit for part in parts)  # type: ignore[operator] # as above
    assert words_of(parts) == re.sub(r"\s", "", text)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("短", ["短"]),
        ("甲" * 30 + "\n\n" + "乙" * 30, ["甲" * 30, "乙" * 30]),
        ("甲" * 29 + "。" + "乙" * 30, ["甲" * 29 + "。", "乙" * 30]),
        (
            "One sentence that is long, v1.2. Another one which is rather long too.",
            ["One sentence that is long, v1.2.", "Another one which is rather long too."],
        ),
        ("甲" * 25 + "！”" + "乙" * 20, ["甲" * 25 + "！”", "乙" * 20]),
    ],
)
def test_cuts_fall_where_a_reader_expects_them(text: str, parts: list[str]) -> None:
    assert split_text(text, 60 if text.isascii() else 100, utf8_bytes) == parts


@pytest.mark.parametrize("before", range(1, 60))
def test_a_link_stays_whole(before: int) -> None:
    parts = split_text("字" * before + LINK + "，谢谢您的耐心等待", 130, utf8_bytes)
    assert any(LINK in part for part in parts)


def test_more_than_two_parts_are_numbered() -> None:
    parts = split_text("一句话。" * 100, 300, utf8_bytes)
    assert [part.split("\n")[0] for part in parts] == [f"({number}/{len(parts)})" for number in range(1, len(parts) + 1)]


def test_a_limit_without_room_is_refused() -> None:
    with pytest.raises(Undeliverable):
        split_text("中文", 2, utf8_bytes)
