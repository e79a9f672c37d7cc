"""The letters, word for word (golden files; `pytest --bless` rewrites them), and what all of them have in common."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from services.notifier.compose import TEMPLATES, compose
from shared.complaint import Locale
from tests.notifier.notices import DESK, REFERENCE, SECRET, answered, details, notice

GOLDEN = Path(__file__).parent / "golden"
CASES = [(name, locale) for name in details(Locale.EN) for locale in Locale]
EVERY = pytest.mark.parametrize(("case", "locale"), CASES, ids=[f"{name}-{locale.value}" for name, locale in CASES])

SORRY = {Locale.ZH_CN: r"抱歉|道歉|歉意", Locale.ZH_TW: r"抱歉|致歉", Locale.EN: r"sorry"}
THANKS = {Locale.ZH_CN: "谢谢", Locale.ZH_TW: "謝謝", Locale.EN: "Thank you"}
NEVER = re.compile(r"规定|規定|条款|條款|无法受理|policy|not our (fault|responsibility)|unfortunately|亲[，,]|您必须", re.IGNORECASE)
#: mainland words that give a converted text away in Taiwan, and the other way round
FOREIGN = {
    Locale.ZH_CN: r"回覆|資訊|盡快|收件編號|訂單編號",
    Locale.ZH_TW: r"受理編號|信息|短信|反饋|郵箱|回復|訂單號|快遞|軟件",
    Locale.EN: r"[\u4e00-\u9fff]",
}
CHARSET = {Locale.ZH_CN: "gb2312", Locale.ZH_TW: "big5", Locale.EN: "ascii"}


@EVERY
def test_letters_are_as_reviewed(case: str, locale: Locale, bless: bool) -> None:
    detail = details(locale)[case]
    mail = compose(notice(detail, locale), desk=DESK, secret=SECRET)
    chat = compose(notice(detail, locale, source="social/wechat"), desk=DESK, secret=SECRET)
    written = {".txt": f"{mail.subject}\n\n{mail.text}\n----- in a chat -----\n\n{chat.text}\n", ".html": mail.html + "\n"}
    for suffix, content in written.items():
        file = GOLDEN / f"{case}.{locale.value}{suffix}"
        if bless:
            file.parent.mkdir(exist_ok=True)
            file.write_text(content, encoding="utf-8")
        assert file.read_text(encoding="utf-8") == content, "the letter changed; if that is meant, run pytest --bless and review the diff"


def test_every_golden_file_belongs_to_a_case() -> None:
    expected = {f"{name}.{locale.value}{suffix}" for name, locale in CASES for suffix in (".txt", ".html")}
    assert {file.name for file in GOLDEN.iterdir()} == expected


@EVERY
def test_letters_apologise_thank_and_never_argue(case: str, locale: Locale) -> None:
    detail = details(locale)[case]
    for source in ("email", "social/telegram"):
        text = compose(notice(detail, locale, source=source), desk=DESK, secret=SECRET).text
        assert re.search(SORRY[locale], text)
        assert THANKS[locale].lower() in text.lower()
        assert not NEVER.search(text)
        assert REFERENCE in text
        assert f"https://desk.shop.example/track/{REFERENCE}/" in text
        assert not re.search(FOREIGN[locale], text)
        assert "None" not in text
        assert "\n\n\n" not in text


@EVERY
def test_letters_tell_every_date_they_know(case: str, locale: Locale) -> None:
    """In China's time, with the weekday, in the reader's language."""
    weekday = {Locale.ZH_CN: "（周", Locale.ZH_TW: "（週", Locale.EN: "(China time)"}[locale]
    detail = details(locale)[case]
    for source in ("email", "social/wechat"):
        letter = compose(notice(detail, locale, source=source), desk=DESK, secret=SECRET)
        given = [name for name in ("next_by", "opens_at", "answer_by", "promised_by") if getattr(detail, name, None)]
        assert letter.text.count(weekday) == len(given) + len(getattr(detail, "options", ()))


@EVERY
def test_chat_letters_fit_into_one_message(case: str, locale: Locale) -> None:
    letter = compose(notice(details(locale)[case], locale, source="social/wechat"), desk=DESK, secret=SECRET)
    assert len(letter.text.encode()) <= 2048
    assert letter.html == letter.subject == ""


@EVERY
def test_html_says_what_the_text_says(case: str, locale: Locale) -> None:
    letter = compose(notice(details(locale)[case], locale), desk=DESK, secret=SECRET)
    said = re.sub(r"<[^>]+>", " ", re.sub(r"(?s)<head>.*</head>", "", letter.html)).replace("&#34;", '"').replace("&#39;", "'")
    words = re.compile(r"[^\W_]+")
    missing = [word for word in words.findall(letter.text) if word not in said]
    assert missing == []
    assert f'lang="{locale.value}"' in letter.html
    assert "<img" not in letter.html
    assert "src=" not in letter.html


@pytest.mark.parametrize("locale", list(Locale), ids=str)
def test_templates_are_written_in_their_own_script(locale: Locale) -> None:
    """Nothing beyond GB 2312 in Simplified, beyond Big5 in Traditional: a character of the other script shows at once."""
    files = [*TEMPLATES.glob(f"*/{locale.value}/*.txt")]
    assert len(files) == 18
    for file in files:
        words = re.sub(r"\{[%{].*?[%}]\}", "", file.read_text(encoding="utf-8"))
        words.encode(CHARSET[locale])
        assert not set("<>&") & set(words), f"{file} holds HTML: the same words also go out as plain text"


def test_the_subject_never_changes_within_a_complaint() -> None:
    for locale in Locale:
        subjects = {compose(notice(detail, locale, **answered()), desk=DESK, secret=SECRET).subject for detail in details(locale).values()}
        assert subjects == {f"Re: [{REFERENCE}] 收到的杯子碎了"}
        assert len({compose(notice(detail, locale), desk=DESK, secret=SECRET).subject for detail in details(locale).values()}) == 1
