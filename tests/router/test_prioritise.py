"""How pressing a complaint is, and why."""

import msgspec
import pytest

from services.router.classify import NO_HINTS, understand
from services.router.prioritise import LEVELS, Urgency, prioritise
from shared import policy
from shared.complaint import Priority

POLICY = policy.load()


def weigh(text: str, *, tier: str = "", rules: policy.Policy = POLICY) -> Urgency:
    return prioritise(understand("", text, "web_form", NO_HINTS, rules), "web_form", rules, tier=tier)


@pytest.mark.parametrize(
    ("priority", "text"),
    [
        ("urgent", "充电宝爆炸了，我的手被烧伤，已经去医院"),
        ("urgent", "The heater caught fire and burned my hand."),
        ("urgent", "退款拖了一个月不给，骗子，我已经打12315投诉，还要起诉你们！！！"),
        ("high", "货退回去十天了，退款一直没到账"),
        ("high", "显示已签收，但我根本没有收到包裹"),
        ("high", "质量太差，用了三天就坏，再不处理我就投诉到12315"),
        ("normal", "用了三天按键就坏了"),
        ("normal", "The zipper broke on the second day."),
        ("low", "很好用，五星好评"),
        ("low", "请问有货吗"),
        ("low", "Great product, love it"),
        ("low", "颜色有点深，其他还行"),
    ],
)
def test_the_levels(priority: str, text: str):
    assert weigh(text).priority == priority


def test_every_point_has_a_reason_and_the_sum_is_told():
    found = weigh("显示已签收没收到，价值3000元的手机，我要报警！")
    assert found.reasons[-1].rule == "priority"
    assert LEVELS[found.priority] in found.reasons[-1].why
    assert any(reason.rule == "signal:court" and "报警" in reason.words for reason in found.reasons)
    assert any(reason.rule == "priority:amount" for reason in found.reasons)


def test_calm_words_never_weigh_against_danger():
    assert weigh("总体还行，就是插座有点冒烟，谢谢").priority in {Priority.HIGH, Priority.URGENT}


def test_complexity_chooses_between_the_two_clocks():
    assert not weigh("用了三天就坏了").complex
    assert weigh("商家和快递互相推诿踢皮球，我有开箱视频和录音证据，要走法律途径起诉").complex


def test_a_valued_customer_and_the_operators_own_bounds_count():
    assert weigh("用了三天按键就坏了", tier="vip").priority is Priority.HIGH
    stricter = msgspec.structs.replace(POLICY, priority=msgspec.structs.replace(POLICY.priority, urgency_from=(0.1, 0.5, 0.9)))
    assert weigh("用了三天按键就坏了", rules=stricter).priority is Priority.URGENT
