"""The customers' pages over real HTTP: the form without scripts, the receipt, the progress, adding to a complaint."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html import unescape
from html.parser import HTMLParser
from string import Formatter

import msgspec
import pytest

from services.intake.pages.render import choose, when
from services.intake.pages.words import DEMANDS, WORDS
from shared.complaint import Locale, State
from shared.ledger import complaints, submissions
from tests.arrivals import AT
from tests.intake.serving import Intake
from tests.picture import PNG

FORM = {"text": "热水壶底座有裂缝", "phone": "13800138000", "email": "wang@example.com", "order_number": "DD1", "language": "zh-CN"}


class Fields(HTMLParser):
    """The fields of a page's forms with their values, and what is marked as wrong."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.values: dict[str, str] = {}
        self.labels: set[str] = set()
        self.named: set[str] = set()
        self.invalid: set[str] = set()
        self.outside: list[str] = []
        self._story = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        if tag == "label":
            self.labels.add(told.get("for") or "")
        if tag in ("input", "textarea") and told.get("name"):
            name = str(told["name"])
            self.values[name] = told.get("value") or ""
            if told.get("type") != "hidden":
                self.named.add(str(told.get("id")))
            if told.get("aria-invalid") == "true":
                self.invalid.add(name)
            self._story = name if tag == "textarea" else ""
        for attribute in ("src", "href", "action"):
            if re.match(r"(https?:)?//", told.get(attribute) or ""):
                self.outside.append(str(told[attribute]))

    def handle_data(self, data: str) -> None:
        if self._story:
            self.values[self._story] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self._story = ""


async def fresh_form(intake: Intake, **query: str) -> Fields:
    return Fields((await intake.http.get("/", params=query)).text)


async def sent(intake: Intake, **fields: str) -> str:
    """The path of the receipt page after the form was posted."""
    form = await fresh_form(intake)
    answer = await intake.http.post("/", data={**form.values, **FORM, **fields})
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


async def tracked(intake: Intake, **fields: str) -> tuple[str, str]:
    """(reference, path of its progress page) of a fresh complaint."""
    found = re.fullmatch(r"/received/(C[\w-]+)\?token=(\w+)", await sent(intake, **fields))
    assert found
    return found.group(1), f"/track/{found.group(1)}/{found.group(2)}"


async def test_a_form_becomes_a_complaint_and_its_receipt_shows_reference_link_and_date(intake_on_both: Intake) -> None:
    intake = intake_on_both
    path = await sent(intake)
    receipt = await intake.http.get(path)
    assert receipt.status_code == 200
    reference = path.split("/")[2].split("?")[0]
    assert f'<p class="reference">{reference}</p>' in receipt.text
    assert f"/track/{reference}/" in receipt.text
    assert "最晚在" in receipt.text
    assert "w***@example.com" in receipt.text
    async with intake.desk.ledger.read() as tx:
        (stored,) = await submissions.of_complaint(tx, reference)
    assert stored.submission.text == FORM["text"]
    assert stored.submission.order_number == "DD1"


async def test_a_double_click_makes_one_complaint(intake: Intake) -> None:
    form = await fresh_form(intake)
    assert form.values["form_id"]
    told = [(await intake.http.post("/", data={**form.values, **FORM})).headers["location"] for _ in range(2)]
    assert told[0] == told[1]
    async with intake.desk.ledger.read() as tx:
        assert await complaints.count(tx) == 1


async def test_two_renderings_of_the_form_are_two_forms(intake: Intake) -> None:
    assert (await fresh_form(intake)).values["form_id"] != (await fresh_form(intake)).values["form_id"]


@pytest.mark.parametrize(
    ("typed", "wrong", "says"),
    [
        ({"text": " "}, {"text"}, "e_text"),
        ({"phone": "", "email": ""}, set(), "e_contact"),
        ({"phone": "1380013"}, {"phone"}, "e_phone"),
        ({"email": "wang@"}, {"email"}, "e_email"),
        ({"demand": "退" * 5000}, {"demand"}, "e_long"),
    ],
)
@pytest.mark.parametrize("lang", ["zh-CN", "zh-TW", "en"])
async def test_faults_are_shown_beside_the_field_and_what_was_typed_is_kept(
    intake: Intake, typed: dict[str, str], wrong: set[str], says: str, lang: str
) -> None:
    values = {**FORM, "product": 'a "quoted" <b>壶</b>', "form_id": "one", **typed}
    answer = await intake.http.post("/", params={"lang": lang}, data=values)
    assert answer.status_code == 422
    form = Fields(answer.text)
    assert form.invalid == wrong
    assert WORDS[Locale(lang)][says].format(limit=4000) in unescape(answer.text)
    for name in ("product", "order_number", "form_id", *typed):
        assert form.values[name].strip() == values[name].strip()
    assert "<b>壶" not in answer.text
    async with intake.desk.ledger.read() as tx:
        assert await complaints.count(tx) == 0


async def test_photos_are_kept_and_other_files_refused_beside_the_field(intake: Intake) -> None:
    data = {**FORM, "form_id": "one"}
    refused = await intake.http.post("/", data=data, files=[("evidence", ("a.exe", b"MZ", "image/png"))])
    assert refused.status_code == 422
    assert "不是照片" in refused.text
    taken = await intake.http.post("/", data=data, files=[("evidence", ("壶.png", PNG, "image/png")), ("evidence", ("", b"", ""))])
    assert taken.status_code == 303
    async with intake.desk.ledger.read() as tx:
        (stored,) = await submissions.of_complaint(tx, taken.headers["location"].split("/")[2].split("?")[0])
    assert [a.filename for a in stored.submission.attachments] == ["壶.png"]


async def test_photos_that_were_chosen_are_missed_aloud_when_the_form_comes_back(intake: Intake) -> None:
    answer = await intake.http.post("/", data={**FORM, "text": ""}, files=[("evidence", ("壶.png", PNG, "image/png"))])
    assert WORDS[Locale.ZH_CN]["files_again"] in answer.text


async def test_a_robot_sees_a_receipt_and_people_see_it_in_quarantine(intake: Intake) -> None:
    assert await sent(intake, website="http://spam.example") == "/received"
    page = await intake.http.get("/received")
    assert page.status_code == 200
    held = (await intake.http.get("/api/v1/quarantine", headers=await intake.key("operator"))).json()
    assert [h["code"] for h in held] == ["honeypot"]


async def test_a_form_about_an_order_that_is_open_joins_without_showing_the_complaint(intake: Intake) -> None:
    reference, _ = await tracked(intake)
    path = await sent(intake, text="怎么还没有人理我")
    assert path == f"/received/{reference}"
    page = (await intake.http.get(path)).text
    assert WORDS[Locale.ZH_CN]["joined_lead"] in page
    assert "/track/C" not in page


async def test_the_progress_page_shows_the_stages_and_the_promised_time(intake_on_both: Intake) -> None:
    intake = intake_on_both
    _, path = await tracked(intake, name="王芳")
    page = await intake.http.get(path)
    assert page.status_code == 200
    assert page.text.count('<li class="done') == 1
    assert 'aria-current="step"' in page.text
    assert WORDS[Locale.ZH_CN]["promised"] in page.text
    for personal in ("王芳", "13800138000", "wang@example.com", FORM["text"]):
        assert personal not in page.text


@pytest.mark.parametrize(
    "path", ["/track/C261121-7K3QXP/00000000000000000000000000000000", "/track/x/y", "/received/C261121-7K3QXP?token=1"]
)
async def test_a_wrong_link_is_a_page_that_helps(intake: Intake, path: str) -> None:
    answer = await intake.http.get(path)
    assert answer.status_code == 404
    assert WORDS[Locale.ZH_CN]["p_404_more"] in answer.text


async def test_what_is_added_on_the_page_joins_that_very_complaint(intake_on_both: Intake) -> None:
    intake = intake_on_both
    reference, path = await tracked(intake)
    form = Fields((await intake.http.get(path)).text)
    for _ in range(2):  # a double click
        answer = await intake.http.post(path, data={**form.values, "text": "补一张照片"}, files=[("evidence", ("a.png", PNG, "image/png"))])
        assert answer.headers["location"] == f"{path}?added=1"
    async with intake.desk.ledger.read() as tx:
        told = await submissions.of_complaint(tx, reference)
        found = await complaints.get(tx, reference)
        assert await complaints.count(tx) == 1
        assert [e.kind for e in await complaints.history(tx, reference)] == ["received", "followed_up"]
    assert [(s.role, s.submission.text) for s in told] == [("complaint", FORM["text"]), ("follow_up", "补一张照片")]
    assert found.version == 2
    thanked = (await intake.http.get(f"{path}?added=1")).text
    assert WORDS[Locale.ZH_CN]["added"] in thanked
    assert WORDS[Locale.ZH_CN]["s_followed_up"] in thanked


async def test_nothing_to_add_is_said_beside_the_field(intake: Intake) -> None:
    _, path = await tracked(intake)
    answer = await intake.http.post(path, data={"text": " "})
    assert answer.status_code == 422
    assert Fields(answer.text).invalid == {"text"}


async def test_a_photo_alone_is_enough_to_add(intake: Intake) -> None:
    _, path = await tracked(intake)
    answer = await intake.http.post(path, data={"text": ""}, files=[("evidence", ("a.png", PNG, "image/png"))])
    assert answer.status_code == 303


async def test_what_is_added_to_a_closed_complaint_opens_a_new_one_that_is_acknowledged(intake: Intake) -> None:
    reference, path = await tracked(intake)
    await close(intake, reference)
    answer = await intake.http.post(path, data={"text": "又坏了"})
    new = re.fullmatch(r"/received/(C[\w-]+)\?token=\w+", answer.headers["location"])
    assert new
    assert new.group(1) != reference
    async with intake.desk.ledger.read() as tx:
        assert (await complaints.get(tx, new.group(1))).linked_to == reference
    assert "w***@example.com" in (await intake.http.get(answer.headers["location"])).text


async def close(intake: Intake, reference: str) -> None:
    async with intake.desk.ledger.write() as tx:
        found = await complaints.get(tx, reference)
        closed = msgspec.structs.replace(found, state=State.CLOSED, version=found.version + 1, closed_at=AT)
        await complaints.save(tx, [(found.version, closed)])


async def test_a_stranger_cannot_add_without_the_link(intake: Intake) -> None:
    reference, _ = await tracked(intake)
    answer = await intake.http.post(f"/track/{reference}/{'0' * 32}", data={"text": "我是别人"})
    assert answer.status_code == 404
    async with intake.desk.ledger.read() as tx:
        assert len(await submissions.of_complaint(tx, reference)) == 1


async def test_asking_for_the_progress_tells_nobody_whether_there_is_a_complaint(intake: Intake) -> None:
    reference, _ = await tracked(intake)
    real = await intake.http.post("/track", data={"reference": reference, "contact": "13800138000"})
    guess = await intake.http.post("/track", data={"reference": "C261121-7K3QXP", "contact": "13800138000"})
    assert real.status_code == guess.status_code == 200
    assert real.text.replace(reference, "C261121-7K3QXP") == guess.text
    assert "138****8000" in real.text
    wrong = await intake.http.post("/track", data={"reference": "abc", "contact": ""})
    assert wrong.status_code == 422
    assert Fields(wrong.text).invalid == {"reference", "contact"}


async def test_every_page_keeps_itself_to_itself(intake: Intake) -> None:
    _, path = await tracked(intake)
    for address in ("/", path, "/track", "/nothing-here"):
        answer = await intake.http.get(address, headers={"Accept": "text/html"})
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "<script" not in answer.text
        assert " style=" not in answer.text
        assert Fields(answer.text).outside == []
    assert (await intake.http.get(path)).headers["x-robots-tag"].startswith("noindex")


async def test_every_field_has_a_label(intake: Intake) -> None:
    _, path = await tracked(intake)
    for address in ("/", path, "/track"):
        form = Fields((await intake.http.get(address)).text)
        assert form.named
        assert form.named <= form.labels


async def test_the_style_sheet_is_kept_for_ever_under_its_own_address(intake: Intake) -> None:
    page = (await intake.http.get("/")).text
    address = re.search(r'href="(/static/desk\.css\?v=\w+)"', page)
    assert address
    answer = await intake.http.get(address.group(1))
    assert answer.headers["content-type"].startswith("text/css")
    assert "immutable" in answer.headers["cache-control"]


async def test_a_language_that_was_chosen_is_remembered(intake: Intake) -> None:
    assert "遇到问题了" in (await intake.http.get("/")).text
    assert "Something went wrong" in (await intake.http.get("/?lang=en")).text
    assert "Something went wrong" in (await intake.http.get("/")).text


@pytest.mark.parametrize(
    ("accepted", "locale"),
    [
        ("", "zh-CN"),
        ("zh-TW,zh;q=0.9,en;q=0.8", "zh-TW"),
        ("zh-Hant-HK", "zh-TW"),
        ("zh-Hans-HK", "zh-CN"),
        ("en-GB,en;q=0.9", "en"),
        ("fr,en;q=0.5,zh;q=0.7", "zh-CN"),
        ("de,ja", "zh-CN"),
        ("en;q=nonsense, zh-tw;q=0.1", "zh-TW"),
        ("en;q=0", "zh-CN"),
    ],
)
def test_the_browsers_language_counts_where_none_was_chosen(accepted: str, locale: str) -> None:
    assert choose(None, None, accepted) == locale
    assert choose("en", "zh-TW", accepted) == "en"
    assert choose(None, "zh-TW", accepted) == "zh-TW"


def test_the_languages_say_the_same_things() -> None:
    names = {locale: set(words) for locale, words in WORDS.items()}
    assert names[Locale.ZH_CN] == names[Locale.ZH_TW] == names[Locale.EN]
    for name, text in WORDS[Locale.ZH_CN].items():
        blanks = {blank for _, blank, _, _ in Formatter().parse(text) if blank}
        for locale in (Locale.ZH_TW, Locale.EN):
            assert {blank for _, blank, _, _ in Formatter().parse(WORDS[locale][name]) if blank} == blanks, (locale, name)
    assert set(DEMANDS) == set(Locale)


def test_the_receipt_is_dated_in_business_time() -> None:
    at = datetime(2026, 11, 22, 22, 5, tzinfo=UTC)
    assert when(at, Locale.ZH_CN) == "11月23日（周一）06:05"
    assert when(at, Locale.ZH_TW) == "11月23日（週一）06:05"
    assert when(at, Locale.EN) == "Mon 23 Nov, 06:05"
