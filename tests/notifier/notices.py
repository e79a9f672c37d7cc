"""Notices for the tests: one of every kind and variant, in a fixed world."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from services.notifier.compose import DeskIdentity
from shared.complaint import Channel, Locale, Notice, NoticeKind, Thread
from shared.notice_details import (
    DETAILS,
    Acknowledgement,
    Delay,
    Escalated,
    InfoRequest,
    MissingFact,
    NoticeDetail,
    Option,
    Progress,
    Result,
    Solution,
    Survey,
    to_detail,
)

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
SOON = NOW + timedelta(hours=6)
LATER = NOW + timedelta(days=2)
REFERENCE = "C261122-7K3QXP"
SECRET = b"a key for tests"
DESK = DeskIdentity(mail_from="care@shop.example", public_url="https://desk.shop.example/")
KIND_OF = {struct: kind for kind, struct in DETAILS.items()}

#: what a department writes to its customers, in their language
SAYS = {
    Locale.ZH_CN: (
        "物流公司已找到您的包裹，今天下午重新派送。\n签收后如有问题，请随时告诉我们。",
        "打包时漏放了缓冲材料，杯子在路上碎了",
        "今天补发一套新的，运费由我们承担",
    ),
    Locale.ZH_TW: (
        "物流公司已找到您的包裹，今天下午重新配送。\n簽收後若有問題，敬請隨時告訴我們。",
        "包裝時漏放緩衝材料，杯子在運送途中破損",
        "今天補寄一組新品，運費由我們負擔",
    ),
    Locale.EN: (
        "The carrier has found your parcel and delivers it this afternoon.\nIf anything is amiss, please tell us.",
        "The cup was packed without padding and broke on the way",
        "We send you a new set today, free of charge",
    ),
}
TITLES = {
    Locale.ZH_CN: ("补发一套新品", "全额退款 89 元"),
    Locale.ZH_TW: ("補寄一組新品", "全額退款 445 元"),
    Locale.EN: ("A new set", "A full refund of 89 yuan"),
}
ASKS = {
    Locale.ZH_CN: "外包装有没有破损？如果还留着，请拍一张",
    Locale.ZH_TW: "外包裝是否破損？若還留著，請拍一張照片",
    Locale.EN: "Was the outer box damaged? If you still have it, please take a picture of it",
}
NAMES = {Locale.ZH_CN: "王小明", Locale.ZH_TW: "陳怡君", Locale.EN: "Ms Carter"}


def details(locale: Locale) -> dict[str, NoticeDetail]:
    """One detail for every kind and for the variants whose words differ."""
    message, cause, measure = SAYS[locale]
    first, second = TITLES[locale]
    options = (Option(title=first, by=LATER, detail=measure), Option(title=second, by=SOON))
    return {
        "acknowledgement": Acknowledgement(next_by=SOON, customer_name=NAMES[locale]),
        "acknowledgement_out_of_hours": Acknowledgement(next_by=LATER, out_of_hours=True, opens_at=NOW + timedelta(hours=20, minutes=30)),
        "acknowledgement_follow_up": Acknowledgement(next_by=SOON, follow_up=True),
        "info_request": InfoRequest(missing=(MissingFact.ORDER_NUMBER, MissingFact.EVIDENCE), questions=(ASKS[locale],), answer_by=LATER),
        "progress": Progress(message=message, next_by=LATER),
        "delay": Delay(next_by=LATER, promised_by=NOW, reason=message),
        "escalated_to_team_leader": Escalated(next_by=SOON),
        "escalated_to_manager": Escalated(next_by=SOON, level=2),
        "solution": Solution(options=options, cause=cause, answer_by=LATER),
        "solution_single": Solution(options=options[:1]),
        "result": Result(cause=cause, measure=measure, improvement=message),
        "survey": Survey(answer_by=LATER),
    }


def notice(detail: NoticeDetail | dict[str, Any], locale: Locale = Locale.ZH_CN, **changed: Any) -> Notice:
    """A notice by mail, unless changed. A plain dict as detail needs `kind`."""
    kind = KIND_OF[type(detail)] if isinstance(detail, NoticeDetail) else changed.pop("kind")
    given: dict[str, Any] = {
        "key": f"{REFERENCE}:{kind}",
        "reference": REFERENCE,
        "kind": NoticeKind(kind),
        "channel": Channel.EMAIL,
        "source": "email",
        "account": "care",
        "recipient": "customer@mail.example",
        "created_at": NOW,
        "locale": locale,
        "detail": to_detail(detail) if isinstance(detail, NoticeDetail) else detail,
    }
    return Notice(**{**given, **changed})


def answered(subject: str = "收到的杯子碎了") -> dict[str, Any]:
    """What a notice carries that answers a mail."""
    return {"subject": subject, "thread": Thread(message_id="first@mail.example", references=("zero@mail.example",))}
