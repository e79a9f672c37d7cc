"""Web forms of about 1 KB as customers fill them in, each from another customer about another order, as whole HTTP requests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count

STORIES = (
    "我上个月在你们店买的电饭煲到现在还没有收到，物流信息三天没有更新了，客服一直说在路上，请尽快处理，家里等着用。",
    "收到的电热水壶底座有裂缝，一通电就跳闸，孩子差点触电，客服让我等了三天也没有答复，请尽快给我换货或者退款。",
    "申请退款已经半个月了，系统一直显示处理中，钱没有退回来，打电话每次都说再等等，我要求今天之内给我一个说法。",
    "说好随箱附赠的滤芯少发了两个，订单上写得清清楚楚，麻烦补发给我，不要再让我重新拍照片了，照片已经传过两次。",
    "電子發票一直沒有收到，公司要報帳，請你們盡快開立並寄到我的信箱，上次客服說三天內處理，現在已經過了一個星期。",
    "快递显示已签收，但是我根本没有收到，也没有人打电话联系我，小区驿站和物业都问过了都没有，请帮我查清楚。",
    "The blender I ordered arrived with a broken lid and it smells burnt when it runs. I asked for a replacement twice and "
    "nobody answered. Please send a new one this week or refund me, I need it for my shop.",
    "你们的客服态度太差了，我只是问一下什么时候发货，就直接挂我电话，这样的服务我要投诉到12315，请经理给我回电话。",
)
FILL = "订单付款当天就完成了，商品页面写的是四十八小时内发货，我截图保存了，也问过客服两次，每次答复都不一样。"
SIZE = 1000
"""Bytes of a body, about."""
MARK = "%MARK%"


def templates() -> list[bytes]:
    """Bodies with a place for the number, four times in each."""
    made: list[bytes] = []
    for story in STORIES:
        text = story
        while len(_body(text).encode()) + len(FILL.encode()) // 2 < SIZE:
            text += FILL
        made.append(_body(text).encode().replace(b"%", b"%%").replace(MARK.replace("%", "%%").encode(), b"%09d"))
    return made


def _body(text: str) -> str:
    form = {
        "name": "王芳",
        "email": f"customer{MARK}@mail.example",
        "phone": f"13{MARK}",
        "order_number": f"DD2026{MARK}",
        "product": "电热水壶",
        "text": f"{text} ({MARK})",
    }
    return json.dumps(form, ensure_ascii=False)


def bodies(first: int = 0) -> Iterator[bytes]:
    """For ever; the number makes each distinct. Raises ValueError for a number beyond what a telephone number holds."""
    made = templates()
    for number in count(first):
        yield made[number % len(made)] % ((number,) * 4)


def requests(path: str, first: int = 0) -> Iterator[bytes]:
    """Whole HTTP/1.1 requests, for ever."""
    head = f"POST {path} HTTP/1.1\r\nHost: desk\r\nContent-Type: application/json\r\nContent-Length: ".encode()
    for body in bodies(first):
        yield b"%s%d\r\n\r\n%s" % (head, len(body), body)
