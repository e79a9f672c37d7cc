"""The deadlines that follow from the category, each with its reason."""

from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest

from services.router import clocks
from shared import policy
from shared.complaint import Category

SHANGHAI = ZoneInfo("Asia/Shanghai")
POLICY = policy.load()


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)


def told(category: str, received: str, *, complex_case: bool = False, signals: frozenset[str] = frozenset()) -> dict[str, str]:
    found = clocks.deadlines(local(received), Category(category), complex_case=complex_case, policy=POLICY, signals=signals)
    return {deadline.clock: deadline.due_by.astimezone(SHANGHAI).strftime("%m-%d %H:%M") for deadline in found}


def test_every_clock_of_an_ordinary_complaint():
    assert told("product_quality", "2026-03-10 10:00") == {
        "department_answer": "03-10 22:00",
        "resolution": "03-11 10:00",
        "follow_up": "03-12 10:00",
        "escalation_1": "03-12 10:00",
        "escalation_2": "03-13 10:00",
    }


def test_a_complex_one_has_two_days():
    assert told("product_quality", "2026-03-10 10:00", complex_case=True)["resolution"] == "03-12 10:00"


@pytest.mark.parametrize(
    ("category", "due"), [("refund_abnormal", "03-10 12:00"), ("invoice_paper", "03-11 22:00"), ("compensation", "03-10 11:00")]
)
def test_each_category_has_its_own_answer_time(category: str, due: str):
    assert told(category, "2026-03-10 10:00")["department_answer"] == due


def test_goods_already_back_give_finance_twelve_hours_and_the_reason_says_so():
    found = clocks.department_answer(local("2026-03-10 10:00"), Category.REFUND_ABNORMAL, POLICY, signals=frozenset({"goods_back"}))
    assert found.due_by.astimezone(SHANGHAI).hour == 22
    assert "已退回卖家" in found.why
    assert "财务部" in found.why


def test_the_answer_to_a_paper_invoice_needs_carrier_and_number():
    assert "运单号" in clocks.department_answer(local("2026-03-10 10:00"), Category.INVOICE_PAPER, POLICY).why


def test_a_category_may_count_working_days_of_its_department():
    row = msgspec.structs.replace(POLICY.categories[Category.INVOICE_ELECTRONIC], counts="working")
    ours = msgspec.structs.replace(POLICY, categories={**POLICY.categories, Category.INVOICE_ELECTRONIC: row})
    found = clocks.department_answer(local("2025-09-30 23:59"), Category.INVOICE_ELECTRONIC, ours)  # the night before the national holiday
    assert found.due_by.astimezone(SHANGHAI).strftime("%m-%d %H:%M") == "10-09 23:59"
    assert "工作时间" in found.why
    future = clocks.department_answer(local("2035-09-30 23:59"), Category.INVOICE_ELECTRONIC, ours)
    assert "节假日表尚未公布" in future.why


def test_every_category_has_every_clock_and_a_reason():
    for category in Category:
        found = clocks.deadlines(local("2026-12-31 23:59"), category, complex_case=False, policy=POLICY)
        assert all(deadline.why and deadline.due_by > local("2026-12-31 23:59") for deadline in found)
        assert len({deadline.clock for deadline in found}) == 5
