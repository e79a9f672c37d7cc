"""What compose promises besides the words: identity, threads, names, missing facts, the organisation's own templates."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.notifier.compose import LONGEST_CHAIN, DeskIdentity, compose, load_wording
from services.notifier.words import FACT_WORDS
from shared.complaint import Locale, NoticeKind, Thread
from shared.errors import ConfigError, IncompleteNotice
from shared.notice_details import DETAILS, Acknowledgement, InfoRequest, MissingFact, Progress, Result, read_detail, to_detail
from shared.references import read_reply_token
from tests.notifier.notices import DESK, REFERENCE, SECRET, SOON, answered, details, notice

ACK = Acknowledgement(next_by=SOON)


def test_the_same_notice_gives_the_same_letter() -> None:
    assert compose(notice(ACK), desk=DESK, secret=SECRET) == compose(notice(ACK), desk=DESK, secret=SECRET)


def test_an_answer_finds_its_complaint_by_address_and_by_thread() -> None:
    letter = compose(notice(ACK), desk=DESK, secret=SECRET)
    for place in (letter.reply_to, letter.message_id, letter.references[0]):
        assert read_reply_token(place, SECRET) == REFERENCE
        assert read_reply_token(place, b"another key") is None


def test_letters_of_a_complaint_without_mail_hang_on_one_root() -> None:
    letters = [compose(notice(detail), desk=DESK, secret=SECRET) for detail in (ACK, Progress(message="好了", next_by=SOON))]
    assert letters[0].references == letters[1].references == (letters[0].in_reply_to,)
    assert letters[0].message_id != letters[1].message_id


def test_a_mail_is_answered_in_its_thread() -> None:
    letter = compose(notice(ACK, **answered()), desk=DESK, secret=SECRET)
    assert letter.in_reply_to == "first@mail.example"
    assert letter.references == ("zero@mail.example", "first@mail.example")


def test_long_threads_keep_their_beginning_and_their_end() -> None:
    ids = tuple(f"{number}@mail.example" for number in range(50))
    letter = compose(notice(ACK, thread=Thread(message_id="last@mail.example", references=ids)), desk=DESK, secret=SECRET)
    assert len(letter.references) == LONGEST_CHAIN
    assert letter.references[0] == "0@mail.example"
    assert letter.references[-2:] == ("49@mail.example", "last@mail.example")


@pytest.mark.parametrize("forged", ["a@b\r\nBcc: x@y.example", "a b@c", "<a@b>", "", "x" * 300 + "@y", "号@邮.example", "a@b\x00"])
def test_ids_that_are_none_stay_out_of_the_thread(forged: str) -> None:
    letter = compose(notice(ACK, thread=Thread(message_id=forged, references=("good@mail.example", forged))), desk=DESK, secret=SECRET)
    assert letter.references == ("good@mail.example",)
    assert letter.in_reply_to == "good@mail.example"


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("杯子碎了", f"Re: [{REFERENCE}] 杯子碎了"),
        ("Re: 回复：RE: 杯子碎了", f"Re: [{REFERENCE}] 杯子碎了"),
        ("回覆: 轉寄：杯子", f"Re: [{REFERENCE}] 杯子"),
        (f"Re: [{REFERENCE}] 杯子碎了", f"Re: [{REFERENCE}] 杯子碎了"),
        ("two\r\nBcc: everybody@mail.example", f"Re: [{REFERENCE}] two Bcc: everybody@mail.example"),
        ("长" * 400, f"Re: [{REFERENCE}] {'长' * 119}…"),
        ("  Re:  ", f"[{REFERENCE}] 关于您的反馈"),
        ("Reaction: good", f"Re: [{REFERENCE}] Reaction: good"),
    ],
)
def test_the_customers_subject_is_kept(theirs: str, ours: str) -> None:
    assert compose(notice(ACK, subject=theirs), desk=DESK, secret=SECRET).subject == ours


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "王\r\n小明", "{{ 7*7 }}", "x" * 300, "\u202egnp.exe", "\ud800"])
def test_a_name_is_only_ever_a_name(name: str) -> None:
    letter = compose(notice({**to_detail(ACK), "customer_name": name}, kind="acknowledgement"), desk=DESK, secret=SECRET)
    assert "<script" not in letter.html
    assert "49" not in letter.text.split("\n")[0]
    assert "\u202e" not in letter.text
    assert len(letter.text.split("\n")[0]) < 80
    letter.text.encode()


def test_words_of_a_department_are_escaped_and_keep_their_lines() -> None:
    letter = compose(notice(Progress(message="甲 <b>&</b>\r\n\r\n\r\n乙", next_by=SOON)), desk=DESK, secret=SECRET)
    assert "甲 &lt;b&gt;&amp;&lt;/b&gt;<br><br>乙" in letter.html
    assert "甲 <b>&</b>\n\n乙" in letter.text


@pytest.mark.parametrize(
    ("kind", "detail", "told"),
    [
        ("acknowledgement", {}, "next_by"),
        ("acknowledgement", {"next_bye": "2026-11-22T10:00:00Z"}, "next_by"),
        ("acknowledgement", {"next_by": "2026-11-22T10:00:00"}, "timezone"),
        ("acknowledgement", {"next_by": "tomorrow"}, "next_by"),
        ("info_request", {}, "missing"),
        ("info_request", {"missing": ["shoe_size"]}, "shoe_size"),
        ("progress", {"message": "   ", "next_by": "2026-11-22T10:00:00Z"}, "message"),
        ("progress", {"message": "x" * 4001, "next_by": "2026-11-22T10:00:00Z"}, "message"),
        ("escalated", {"next_by": "2026-11-22T10:00:00Z", "level": 3}, "level"),
        ("solution", {"options": []}, "options"),
        ("solution", {"options": [{"title": "退款"}]}, "by"),
        ("result", {"measure": "已退款"}, "cause"),
        ("survey", {"link": "javascript:alert(1)"}, "link"),
    ],
)
def test_a_missing_fact_is_named(kind: str, detail: dict[str, Any], told: str) -> None:
    with pytest.raises(IncompleteNotice, match=told) as caught:
        compose(notice(detail, kind=kind), desk=DESK, secret=SECRET)
    assert kind in caught.value.message


@pytest.mark.parametrize("kind", list(NoticeKind), ids=str)
def test_details_survive_the_way_through_the_ledger(kind: NoticeKind) -> None:
    for detail in details(Locale.ZH_CN).values():
        if type(detail) is DETAILS[kind]:
            assert read_detail(kind, to_detail(detail)) == detail
    assert {type(detail) for detail in details(Locale.EN).values()} == set(DETAILS.values())


def test_a_newer_service_may_say_more() -> None:
    assert read_detail(NoticeKind.ACKNOWLEDGEMENT, {**to_detail(ACK), "mood": "calm"}) == ACK


def test_every_missing_fact_has_words_in_every_language() -> None:
    for locale in Locale:
        assert set(FACT_WORDS[locale]) == set(MissingFact)
        text = compose(notice(InfoRequest(missing=tuple(MissingFact)), locale), desk=DESK, secret=SECRET).text
        assert all(words in text for words in FACT_WORDS[locale].values())


def test_mail_providers_without_address_tags_get_plain_replies() -> None:
    desk = DeskIdentity(mail_from="care@qq.example", public_url="https://d.example", keyed_replies=False)
    assert compose(notice(ACK), desk=desk, secret=SECRET).reply_to == ""
    desk = DeskIdentity(mail_from="care@qq.example", public_url="https://d.example", reply_mailbox="care@reply.d.example")
    assert compose(notice(ACK), desk=desk, secret=SECRET).reply_to.endswith("@reply.d.example")


def test_names_and_zone_follow_the_desk() -> None:
    desk = DeskIdentity(mail_from="a@b.example", public_url="https://d.example", mail_name_en="Tea Shop", zone="Europe/London")
    letter = compose(notice(Result(cause="x", measure="y"), Locale.EN), desk=desk, secret=SECRET)
    assert letter.from_name == "Tea Shop"
    ack = compose(notice(Acknowledgement(next_by=datetime(2026, 11, 22, 10, tzinfo=UTC)), Locale.EN), desk=desk, secret=SECRET)
    assert "Sun 22 Nov, 10:00" in ack.text
    assert "China time" not in ack.text


@pytest.mark.parametrize(
    "wrong", [{"mail_from": "care"}, {"mail_from": "a@b\r\nc"}, {"zone": "Mars/Base"}, {"zone": "../../etc/passwd"}, {"reply_mailbox": "x"}]
)
def test_a_wrong_identity_is_refused_at_the_start(wrong: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        msgspec.structs.replace(DESK, **wrong)


def own(folder: Path, name: str, words: str) -> str:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(words, encoding="utf-8")
    return str(folder)


def test_an_organisation_may_have_its_own_words(tmp_path: Path) -> None:
    folder = own(tmp_path, "acknowledgement/zh-CN/short.txt", "收到啦 {{ reference }}，{{ when(detail.next_by) }} 前回您。")
    wording = load_wording(folder)
    assert (
        compose(notice(ACK, source="social/wechat"), desk=DESK, secret=SECRET, wording=wording).text
        == f"收到啦 {REFERENCE}，11月22日（周日）18:00 前回您。"
    )
    assert "Thank you" in compose(notice(ACK, Locale.EN, source="social/wechat"), desk=DESK, secret=SECRET, wording=wording).text


def test_a_template_that_does_not_compile_is_named_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"progress/en/short.txt, line 2"):
        load_wording(own(tmp_path, "progress/en/short.txt", "ok\n{% if %}"))
    with pytest.raises(ConfigError, match="does not exist"):
        load_wording(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("words", ["{{ no_such_thing }}", "{{ detail.__class__.__mro__ }}", "{{ ''.__class__ }}"])
def test_a_template_cannot_reach_beyond_its_facts(tmp_path: Path, words: str) -> None:
    wording = load_wording(own(tmp_path, "acknowledgement/zh-CN/short.txt", words))
    with pytest.raises(ConfigError, match="acknowledgement/zh-CN"):
        compose(notice(ACK, source="social/wechat"), desk=DESK, secret=SECRET, wording=wording)
