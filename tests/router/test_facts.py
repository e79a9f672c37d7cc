"""Facts in a text, each in its place, and nothing taken for what it is not."""

import pytest

from services.router.classify import facts
from services.router.classify.script import language
from shared import policy

POLICY = policy.load()


def of(kind: str, text: str) -> tuple[str, ...]:
    return facts.values(facts.find(text, language(text), POLICY), kind)


@pytest.mark.parametrize(
    ("text", "orders"),
    [
        ("订单202611031234567890一直没发货", ("202611031234567890",)),
        ("單號JD298374650123，還沒到", ("JD298374650123",)),
        ("拼多多订单 261103-123456789012345", ("261103-123456789012345",)),
        ("Order 113-4567890-1234567 is late", ("113-4567890-1234567",)),
        ("my order #48213 never came", ("48213",)),
        ("订单编号：DD20261015-8842，没收到", ("DD20261015-8842",)),
        ("order number AB1029384.", ("AB1029384",)),
        ("两个订单：202611031234567890和202611031234567891", ("202611031234567890", "202611031234567891")),
        ("电话13812345678", ()),
        ("快递单号SF1234567890123一直不动", ()),
        ("卡号6222021234567890123", ()),
        ("身份证号 11010519900307233X", ()),
        ("花了1280元", ()),
        ("2026年11月3日买的", ()),
        ("型号ABX-200坏了", ()),
        ("iPhone 15 Pro", ()),
    ],
)
def test_order_numbers(text: str, orders: tuple[str, ...]):
    assert of("order_number", text) == orders


@pytest.mark.parametrize(
    ("text", "phones"),
    [
        ("请回电13812345678", ("+8613812345678",)),
        ("请回电 138 1234 5678 或 138-1234-5678", ("+8613812345678",)),
        ("电话：010-62345678", ("+861062345678",)),
        ("my number is +44 20 7946 0958", ("+442079460958",)),
        ("call me at (415) 555-2671", ("+14155552671",)),
        ("請打0912-345-678給我", ("+886912345678",)),
        ("订单13812345678", ()),
        ("订单202611031381234567", ()),
        ("我买了12345678个", ()),
        ("call 123", ()),
    ],
)
def test_phones_come_out_in_e164(text: str, phones: tuple[str, ...]):
    assert of("phone", text) == phones


@pytest.mark.parametrize(
    ("text", "amounts"),
    [
        ("扣了我1,280.50元", ("1280.5",)),
        ("赔我¥300", ("300",)),
        ("I paid $49.99", ("49.99",)),
        ("损失1.5万元", ("15000",)),
        ("五个苹果", ()),
    ],
)
def test_amounts(text: str, amounts: tuple[str, ...]):
    assert of("amount", text) == amounts


@pytest.mark.parametrize(
    ("text", "by"), [("请周五之前解决", ("周五之前",)), ("please reply by Friday", ("by Friday",)), ("24小时内答复", ("24小时内",))]
)
def test_the_wished_for_date(text: str, by: tuple[str, ...]):
    assert of("wanted_by", text) == by


def test_product_and_model():
    assert of("product", "上周买了一台电饭锅用了两天就坏") == ("电饭锅",)
    assert of("product", "I bought a blender from you last month") == ("blender",)
    assert of("model", "型号：KX-200") == ("KX-200",)


def test_every_fact_is_at_its_place():
    text = "订单202611031234567890，电话13812345678，扣了300元，周五之前给我"
    for fact in facts.find(text, "zh-CN", POLICY):
        if fact.kind != "phone" and fact.kind != "amount":
            assert text[fact.start : fact.end] == fact.value
        assert text[fact.start : fact.end]


def test_the_clause_around_a_place_is_the_customers_own_words():
    text = "东西坏了，要求全额退款，谢谢"
    start = text.index("退款")
    assert facts.clause(text, start, start + 2) == "要求全额退款"
