"""How many letters a second one core composes, and what building the mail costs by hand and with the standard library.

    python -m bench.compose [--seconds 2] [--json]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP

from services.notifier.compose import DeskIdentity, compose
from services.notifier.mime import render_mail
from services.notifier.sender import Letter
from shared.complaint import Channel, Locale, Notice, NoticeKind
from shared.notice_details import Acknowledgement, to_detail

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
DESK = DeskIdentity(mail_from="care@shop.example", public_url="https://desk.shop.example")
SECRET = b"benchmark key, not a secret"


def notice(number: int, source: str = "email", recipient: str = "customer@mail.example") -> Notice:
    return Notice(
        key=f"C261122-7K3QXP:acknowledgement:{number}",
        reference="C261122-7K3QXP",
        kind=NoticeKind.ACKNOWLEDGEMENT,
        channel=Channel.EMAIL,
        source=source,
        account="care",
        recipient=recipient,
        created_at=NOW,
        locale=tuple(Locale)[number % 3],
        detail=to_detail(Acknowledgement(next_by=NOW + timedelta(minutes=number % 1440))),
        subject="收到的杯子碎了",
    )


def by_standard_library(letter: Letter) -> bytes:
    mail = EmailMessage(policy=SMTP)
    mail["Date"] = letter.notice.created_at
    mail["From"] = f"{letter.from_name} <care@shop.example>"
    mail["To"] = letter.notice.recipient
    mail["Subject"] = letter.subject
    mail["Message-ID"] = f"<{letter.message_id}>"
    mail["Reply-To"] = letter.reply_to
    mail["In-Reply-To"] = f"<{letter.in_reply_to}>"
    mail["References"] = " ".join(f"<{known}>" for known in letter.references)
    mail["Auto-Submitted"] = "auto-replied"
    mail.set_content(letter.text, cte="base64")
    mail.add_alternative(letter.html, subtype="html", cte="base64")
    return mail.as_bytes()


def rate(act: Callable[[int], object], seconds: float) -> float:
    act(0)
    done = 0
    started = time.perf_counter()
    while (taken := time.perf_counter() - started) < seconds:
        for _ in range(50):
            act(done)
            done += 1
    return done / taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    mails = [notice(number) for number in range(600)]
    chats = [notice(number, "social/wechat", "oOpenId") for number in range(600)]
    letters = [compose(one, desk=DESK, secret=SECRET) for one in mails]
    figures = {
        "mail letters composed/s": rate(lambda at: compose(mails[at % 600], desk=DESK, secret=SECRET), given.seconds),
        "chat letters composed/s": rate(lambda at: compose(chats[at % 600], desk=DESK, secret=SECRET), given.seconds),
        "mails built/s": rate(lambda at: render_mail(letters[at % 600], DESK.mail_from), given.seconds),
        "mails built/s, standard library": rate(lambda at: by_standard_library(letters[at % 600]), given.seconds),
    }
    if given.json:
        print(json.dumps({name: round(value) for name, value in figures.items()}))
    else:
        for name, value in figures.items():
            print(f"{name:36}{value:>10,.0f}")


if __name__ == "__main__":
    main()
