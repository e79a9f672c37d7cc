"""Facts in a text, each with its place: order numbers, phones, amounts, wished-for dates, the product, the demand. Pure.

Nothing is guessed: a number that could be a bank card, an identity card or a parcel's number is not taken for an order.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import NamedTuple

import phonenumbers

from shared.complaint import Locale
from shared.policy import OrderFormat, Policy

READ = 6000
DIGIT = re.compile(r"\d")
LABEL = re.compile(
    r"(?:订单编号|订单号码?|订单|訂單編號|訂單號碼|訂單|单号|單號|编号|編號|order(?:\s+(?:number|no\.?|id|ref(?:erence)?))?|purchase)\s*(?:是|为|為|is)?\s*[:：#＃\-]*\s*$",
    re.IGNORECASE,
)
#: Words before a number that make it something else than an order.
NOT_ORDER = re.compile(
    r"(?:运单|運單|快递|物流|包裹|追踪|tracking|waybill|awb|卡|card|账|帳|account|身份证|身分證|电话|電話|手机|手機|tel|phone|call|mobile|qq|微信|vx|wx|统编|統編|税号|税號|vat|tax)"
    r"\s*(?:编号|編號|号码|號碼|单号|單號|号|號|number|no\.?|id|#)?\s*(?:是|为|為|is)?\s*[:：#]*\s*$",
    re.IGNORECASE,
)
CARRIER = re.compile(r"(?:SF|YT|ZTO|STO|JTSD|JT|YD|EMS|DPK|1Z|JDV|JDX|QQ|WX|VX|TEL|ID|UPS|DHL)\d", re.IGNORECASE)
CHINESE_MOBILE = re.compile(r"(?<![\dA-Za-z])(?:\+?86[- ]?)?(1[3-9]\d)[- ]?(\d{4})[- ]?(\d{4})(?!\d)")
NUMBER = re.compile(r"(?<![\dA-Za-z#])(?:\+|00|\()?\d[\d\s().\-]{6,18}\d(?![\dA-Za-z])")
SAID_PHONE = re.compile(
    r"(?:电话|電話|手机|手機|致电|联系|聯絡|call|phone|tel|mobile|number|cell|reach me|contact)[^\d+(]{0,16}$", re.IGNORECASE
)
#: Where a number without a country code may belong, by the language of the text.
REGIONS: dict[str, tuple[str, ...]] = {Locale.ZH_TW: ("TW", "HK"), Locale.EN: ("US", "GB")}
AMOUNT = re.compile(
    r"(?:(?P<sign>[¥￥$£€]|nt\$|hk\$|us\$|rmb)\s?(?P<a>\d[\d,]{0,11}(?:\.\d{1,2})?))"
    r"|(?:(?P<b>\d[\d,]{0,11}(?:\.\d{1,2})?)\s?(?P<wan>万|萬)?(?P<unit>多?(?:元|块|塊|圆|圓)|rmb|dollars?|bucks|usd|pounds?|quid|gbp|euros?|eur))",
    re.IGNORECASE,
)
HAN_DAY = r"今天|明天|后天|後天|本周|这周|這週|本月|月底|下班|周末|週末|[周週][一二三四五六日天]|\d{1,2}月\d{1,2}[日号號]?|\d{1,2}[号號]"
HAN_SPAN = r"\d+(?:个|個)?(?:小时|小時|工作日|天)"
LATIN_DAY = (
    r"(?:(?:next |this )?(?:monday|tuesday|wednesday|thursday|friday|saturday|sunday|weekend|week)|tomorrow|today|tonight"
    r"|the end of (?:the )?(?:day|week|month)|\d{1,2}(?:st|nd|rd|th)?(?: of)? [a-z]{3,9}|[a-z]{3,9} \d{1,2}(?:st|nd|rd|th)?"
    r"|\d+ (?:hours|days|working days|business days))"
)
WANTED_BY = re.compile(
    rf"(?:(?:{HAN_DAY}|{HAN_SPAN})(?:之前|以前|之内|以内|之內|以內|前|内|內))|(?:\b(?:by|before|no later than|within)\s+{LATIN_DAY})",
    re.IGNORECASE,
)
MODEL_WORD = re.compile(r"(?:型号|型號|model(?: number| no\.?)?)\s*(?:是|为|為|is)?\s*[:：]?\s*([A-Za-z0-9][\w\-+/]{1,24})", re.IGNORECASE)
BOUGHT_HAN = (
    r"(?:买|購買|购买|買|订购|訂購|入手)(?:了|的)?(?:你们|你們|您们|贵店|一)?(?:家)?(?:的)?"
    r"(?:[一两兩几幾\d]?[个個台件部只支条條套本瓶箱双雙把盒袋张張款块塊])(?P<han>[\u4e00-\u9fffA-Za-z0-9 ]{2,10}?)"
    r"(?=[，,。.!！?？\s]|用|坏|壞|到|收|就|不|没|沒|质|品|才|有|的|$)"
)
BOUGHT_LATIN = (
    r"\b(?:bought|ordered|purchased|got)\s+(?:a|an|this|the|these|your)\s+(?P<latin>[a-z][a-z\- ]{2,28}?)"
    r"(?=\s+(?:from|last|on|in|for|and|but|at|that|it|which|with|as|to|because|online)\b|[.,!?;]|$)"
)
BOUGHT = re.compile(rf"{BOUGHT_HAN}|{BOUGHT_LATIN}", re.IGNORECASE)
CLAUSE_END = re.compile(r"[，,。.!！?？;；\n]")


class Fact(NamedTuple):
    """One fact and its place in the text. kind: order_number, phone, amount, wanted_by, product, model, demand."""

    kind: str
    value: str
    start: int
    end: int


def find(text: str, language: str, policy: Policy) -> list[Fact]:
    """Every fact but the demand, in the order of the text. Phones in E.164, amounts as plain numbers, the rest as written."""
    read = text[:READ]
    found = [*_products(read), *_wanted(read)]
    if DIGIT.search(read):
        orders = list(_orders(read, policy))
        found += [*orders, *_phones(read, language, policy, orders), *_amounts(read)]
    return sorted(found, key=lambda fact: fact.start)


def values(found: list[Fact], kind: str) -> tuple[str, ...]:
    """The distinct values of one kind, in the order of the text."""
    return tuple(dict.fromkeys(fact.value for fact in found if fact.kind == kind))


def clause(text: str, start: int, end: int, longest: int = 80) -> str:
    """The customer's own words around a place: from the punctuation before it to the punctuation behind it."""
    before = [match.end() for match in CLAUSE_END.finditer(text, max(0, start - longest), start)]
    after = CLAUSE_END.search(text, end, end + longest)
    return text[(before[-1] if before else max(0, start - longest)) : (after.start() if after else end + longest)].strip()


@functools.lru_cache(maxsize=8)
def _formats(policy: Policy) -> tuple[re.Pattern[str] | None, re.Pattern[str] | None]:
    """(shapes that stand for themselves, shapes that need a word before them)"""

    def joined(shapes: list[OrderFormat]) -> re.Pattern[str] | None:
        body = "|".join(f"(?:{shape.pattern})" for shape in shapes)
        return re.compile(rf"(?<![\w-])(?:{body})(?![\w-]*\d|[A-Za-z])", re.IGNORECASE | re.ASCII) if body else None

    return joined([s for s in policy.order_numbers if not s.labelled]), joined([s for s in policy.order_numbers if s.labelled])


def _orders(text: str, policy: Policy) -> Iterator[Fact]:
    plain, labelled = _formats(policy)
    taken: set[int] = set()
    for pattern, need_label in ((plain, False), (labelled, True)):
        for match in pattern.finditer(text) if pattern else ():
            start, end = match.span()
            before = text[max(0, start - 28) : start]
            has_label = LABEL.search(before) is not None
            blocked = NOT_ORDER.search(before) is not None or (CARRIER.match(match[0]) is not None and not has_label)
            mobile = CHINESE_MOBILE.fullmatch(match[0]) is not None and not has_label
            if blocked or mobile or (need_label and not has_label) or taken & set(range(start, end)):
                continue
            taken |= set(range(start, end))
            yield Fact("order_number", match[0], start, end)


def _phones(text: str, language: str, policy: Policy, orders: list[Fact]) -> Iterator[Fact]:
    taken = [(fact.start, fact.end) for fact in orders]
    for match in CHINESE_MOBILE.finditer(text):
        if not _overlaps(match.span(), taken):
            taken.append(match.span())
            yield Fact("phone", "+86" + "".join(match.groups()), *match.span())
    for match in NUMBER.finditer(text):
        if _overlaps(match.span(), taken):
            continue
        international = match[0].startswith(("+", "00"))
        if not international and not SAID_PHONE.search(text[max(0, match.start() - 24) : match.start()]) and language != Locale.ZH_TW:
            continue
        for region in REGIONS.get(language) or (policy.phone_region,):
            number = _e164(match[0], region)
            if number:
                taken.append(match.span())
                yield Fact("phone", number, *match.span())
                break


def _e164(text: str, region: str) -> str:
    try:
        number = phonenumbers.parse("+" + text[2:] if text.startswith("00") else text, region)
    except phonenumbers.NumberParseException:
        return ""
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164) if phonenumbers.is_valid_number(number) else ""


def _amounts(text: str) -> Iterator[Fact]:
    for match in AMOUNT.finditer(text):
        number = float((match["a"] or match["b"]).replace(",", "")) * (10_000 if match["wan"] else 1)
        yield Fact("amount", f"{number:g}" if number < 1e6 else f"{number:.0f}", *match.span())


def _wanted(text: str) -> Iterator[Fact]:
    for match in WANTED_BY.finditer(text):
        yield Fact("wanted_by", match[0], *match.span())


def _products(text: str) -> Iterator[Fact]:
    match = BOUGHT.search(text)
    if match:
        name = "han" if match["han"] else "latin"
        yield Fact("product", match[name].strip(), *match.span(name))
    match = MODEL_WORD.search(text)
    if match:
        yield Fact("model", match[1], *match.span(1))


def _overlaps(span: tuple[int, int], taken: list[tuple[int, int]]) -> bool:
    return any(span[0] < end and start < span[1] for start, end in taken)
