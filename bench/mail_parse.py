"""How many mails a second one core reads: `python bench/mail_parse.py [seconds]`. Prints figures, judges nothing.

The mail is the ordinary one of the trade: 7 KB, Chinese text and HTML, a small picture. The standard library's two parsers read the same
bytes in the same run, so that the figures can be compared on any machine.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP, compat32, default
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from services.intake.mail.html import to_text
from services.intake.mail.read import read_mail

TEXT = (
    "您好，我在贵店购买的电饭煲（订单号 2026030112345678）收到时外壳破裂，内胆也有划痕。"
    "多次联系客服没有人处理，请尽快安排退款或者换货，谢谢。\n"
) * 4


def ordinary_mail() -> bytes:
    """A 7 KB mail as a Chinese webmail client writes it."""
    mail = EmailMessage(policy=SMTP)
    mail["From"] = "张小明 <zhang.xm@mail.example>"
    mail["To"] = "店铺客服 <care@shop.example>"
    mail["Subject"] = "投诉：收到的电饭煲外壳破裂，要求退款"
    mail["Date"] = "Sun, 01 Mar 2026 10:02:11 +0800"
    mail["Message-ID"] = "<20260301100211.7f3a@mail.example>"
    quoted = '\n在 2026-03-01 09:00:00，"店铺客服" <care@shop.example> 写道：\n> 您好，请提供照片。\n'
    mail.set_content(TEXT + quoted)
    mail.add_alternative(f"<html><body><p>{TEXT}</p><blockquote type=cite>您好，请提供照片。</blockquote></body></html>", subtype="html")
    mail.add_attachment(bytes(range(256)) * 8, maintype="image", subtype="jpeg", filename="外壳破裂.jpg")
    return mail.as_bytes()


def rate(work: Callable[[], object], seconds: float) -> float:
    """Calls a second, over at least `seconds`."""
    done, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        for _ in range(20):
            work()
        done += 20
    return done / (time.perf_counter() - begun)


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    raw = ordinary_mail()
    print(f"mail of {len(raw):,} bytes")
    ours = rate(lambda: read_mail(raw), seconds)
    print(f"read_mail                           {ours:9,.0f} mails/s")
    for name, policy in (("email, policy.compat32, tree only", compat32), ("email, policy.default, tree + text", default)):

        def parse(policy: object = policy) -> None:
            message = message_from_bytes(raw, policy=policy)
            if policy is default:
                _ = (message["subject"], message["from"], message.get_body(("plain",)).get_content())

        peer = rate(parse, seconds)
        print(f"{name:<35} {peer:9,.0f} mails/s   ours is {ours / peer:.1f} times that")
    row = '<tr style="height:20px"><td class="a" style="color:#333">商品</td><td><a href="https://shop.example/1?u=1">查看</a></td><td>￥1.00&nbsp;元</td></tr>'
    page = f"<html><body><table>{row * 350}</table></body></html>"
    from inscriptis import get_text

    print(
        f"HTML of {len(page):,} characters to text: ours {1000 / rate(lambda: to_text(page), seconds):.1f} ms, "
        f"inscriptis {1000 / rate(lambda: get_text(page), seconds):.1f} ms"
    )


if __name__ == "__main__":
    main()
