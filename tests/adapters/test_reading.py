"""Numbers, addresses, file names and texts as people type them, and what becomes of them."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contacts import is_withheld, read_email, read_phone
from shared.errors import Unreadable
from shared.evidence import safe_name, sniff
from shared.reading import instant, one_line, read_json, tidy


@pytest.mark.parametrize(
    ("typed", "number", "extension"),
    [
        ("13800138000", "+8613800138000", ""),
        (" 138 0013-8000 ", "+8613800138000", ""),
        ("+86 138 0013 8000", "+8613800138000", ""),
        ("１３８００１３８０００", "+8613800138000", ""),
        ("010-62345678转8001", "+861062345678", "8001"),
        ("（021）6234-5678 分机 12", "+862162345678", "12"),
        ("0755 2345 6789 ext. 7", "+8675523456789", "7"),
        ("+852 2345 6789", "+85223456789", ""),
        ("+886 912 345 678", "+886912345678", ""),
        ("+44 20 7946 0958", "+442079460958", ""),
        ("400-820-0000", "+864008200000", ""),
        ("12000138000", "", ""),
        ("12315", "", ""),
        ("打我座机", "", ""),
        ("1" * 400, "", ""),
        ("", "", ""),
    ],
)
def test_phone_numbers(typed: str, number: str, extension: str) -> None:
    assert read_phone(typed) == (number, extension)


@given(st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True))
def test_the_short_way_for_mobiles_agrees_with_phonenumbers_where_that_knows_the_number(typed: str) -> None:
    assert read_phone(typed)[0] == "+86" + typed
    assert read_phone("+86" + typed)[0] in {"+86" + typed, ""}  # its tables do not know every range that is in use


@pytest.mark.parametrize("typed", ["anonymous", "Unknown", "-", "匿名", "", " 未知 "])
def test_callers_without_a_number(typed: str) -> None:
    assert is_withheld(typed)
    assert not is_withheld("13800138000")


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("Wang.XM@Example.com", "wang.xm@example.com"),
        (" <li+shop@example.com.cn> ", "li+shop@example.com.cn"),
        ("mailto:a@b.cn", "a@b.cn"),
        ("ｌｉ＠ｅｘａｍｐｌｅ．ｃｏｍ", "li@example.com"),
        ("李@例子.中国", "李@例子.中国"),
        ("li@", ""),
        ("li@localhost", ""),
        ("a@b.cn, c@d.cn", ""),
        ("a b@c.cn", ""),
        ("a@b..cn", ""),
        ("a@" + "b" * 64 + ".cn", ""),
        ("x" * 300 + "@example.com", ""),
    ],
)
def test_mail_addresses(typed: str, address: str) -> None:
    assert read_email(typed) == address


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        (b"\x89PNG\r\n\x1a\n....", "image/png"),
        (b"\xff\xd8\xff\xe0..JFIF", "image/jpeg"),
        (b"GIF89a......", "image/gif"),
        (b"RIFF\x10\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"\x00\x00\x00\x18ftypheic", "image/heic"),
        (b"\x00\x00\x00\x18ftypisom", "video/mp4"),
        (b"\x00\x00\x00\x14ftypqt  ", "video/quicktime"),
        (b"\r\n%PDF-1.7", "application/pdf"),
        (b"RIFF\x10\x00\x00\x00WAVEfmt ", ""),
        (b"\x00\x00\x00\x18ftypzzzz", ""),
        (b"MZ\x90\x00", ""),
        (b"<svg onload=alert(1)>", ""),
        (b"PK\x03\x04", ""),
        (b"", ""),
    ],
)
def test_files_are_what_their_first_bytes_say(head: bytes, media_type: str) -> None:
    assert sniff(head) == media_type


@pytest.mark.parametrize(
    ("given_name", "media_type", "name"),
    [
        ("碎杯子.PNG", "image/png", "碎杯子.PNG"),
        ("../../etc/passwd", "image/png", "passwd.png"),
        ("C:\\fakepath\\a.jpg", "image/jpeg", "a.jpg"),
        ("invoice\u202efdp.exe", "application/pdf", "invoicefdp.exe.pdf"),
        ("e\u0301.gif", "image/gif", "é.gif"),
        ("a\x00b\r\nc.png", "image/png", "abc.png"),
        ('a"b<c>.png', "image/png", "a_b_c_.png"),
        ("...", "image/png", "evidence.png"),
        ("", "", "evidence"),
    ],
)
def test_file_names(given_name: str, media_type: str, name: str) -> None:
    assert safe_name(given_name, media_type) == name


@given(st.text(max_size=400), st.sampled_from(["image/png", "video/mp4", ""]))
def test_no_file_name_is_dangerous(given_name: str, media_type: str) -> None:
    name = safe_name(given_name, media_type)
    assert 0 < len(name) <= 120
    assert not any(mark in name for mark in '/\\:<>"|?*\x00')
    assert not any(
        unicodedata.category(mark) in {"Cc", "Cs"} or unicodedata.bidirectional(mark) in {"RLO", "LRO", "RLE", "PDF"} for mark in name
    )


@given(st.text(max_size=300))
def test_tidy_text_is_storable_and_stays_as_it_is(text: str) -> None:
    clean = tidy(text)
    clean.encode()
    assert "\x00" not in clean
    assert tidy(clean) == clean
    line = one_line(text)
    assert "\n" not in line
    assert one_line(line) == line


def test_tidy_keeps_what_the_customer_wrote() -> None:
    words = "第一行\n\n\t第二行　全角空格 👩‍👧 end"
    assert tidy(f"  {words}\r\n") == words


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    city: str


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    order_number: str
    inner: Inner | None = None
    at: datetime | None = None


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "The body is empty"),
        (b"{", "not complete, well-formed JSON"),
        (b"{}", "The field 'order_number' is missing. Add it"),
        (b'{"order_nummer":"1"}', "no field 'order_nummer'. Did you mean 'order_number'?"),
        (b'{"zzz":"1"}', "Leave it out; the fields are: order_number, inner, at"),
        (b'{"order_number":7}', "The field 'order_number' must be text in quotes, not a whole number"),
        (b'{"order_number":"7","inner":{}}', "The field 'city' is missing in 'inner'"),
        (b'{"order_number":"7","at":"tomorrow"}', "must be a time such as 2026-03-01T10:02:11+08:00"),
        ('{"order_number":"单"}'.encode("gbk"), "not in UTF-8"),
        (b"[" * 100_000, "must be"),
    ],
)
def test_a_wrong_field_is_named_with_its_mend(raw: bytes, words: str) -> None:
    with pytest.raises(Unreadable, match=r"[.?]$") as caught:
        read_json(msgspec.json.Decoder(Outer), raw)
    assert words in caught.value.message


def test_a_byte_order_mark_is_forgiven() -> None:
    assert read_json(msgspec.json.Decoder(Outer), b'\xef\xbb\xbf{"order_number":"7"}').order_number == "7"


def test_times_without_an_offset_are_chinese_time() -> None:
    assert instant(datetime(2026, 3, 1, 10), "at") == datetime(2026, 3, 1, 2, tzinfo=UTC)  # noqa: DTZ001 - that is the point
    assert instant(None, "at") is None
    for year in (1999, 2100, 9999):
        with pytest.raises(Unreadable, match="years 2000 to 2099"):
            instant(datetime(year, 12, 31, 23, 59, tzinfo=UTC), "at")
