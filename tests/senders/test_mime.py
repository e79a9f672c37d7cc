"""The mail we build by hand is the mail the standard library would build: proven by reading it back with the standard library."""

from __future__ import annotations

from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.policy import compat32, default
from email.utils import parseaddr

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.compose import DeskIdentity, compose
from services.notifier.layout import one_line
from services.notifier.mime import encoded, header, mailbox, render_mail
from services.notifier.sender import Letter
from shared.complaint import Locale, Thread
from shared.notice_details import Acknowledgement, Survey
from tests.notifier.notices import DESK, NOW, SECRET, SOON, answered, details, notice

ACK = Acknowledgement(next_by=SOON)
EXPECTED_HEADERS = [
    *("Date", "From", "To", "Subject", "Message-ID", "Reply-To", "In-Reply-To", "References", "Auto-Submitted"),
    *("X-Auto-Response-Suppress", "Content-Language", "MIME-Version", "Content-Type"),
]


def read(letter: Letter) -> EmailMessage:
    return message_from_bytes(render_mail(letter), policy=default)


def body(mail: EmailMessage, subtype: str) -> str:
    part = mail.get_body((subtype,))
    assert part is not None
    return part.get_content().replace("\r\n", "\n")


@pytest.mark.parametrize("locale", list(Locale), ids=str)
def test_the_standard_library_reads_every_letter(locale: Locale) -> None:
    for detail in details(locale).values():
        letter = compose(notice(detail, locale, **answered()), desk=DESK, secret=SECRET)
        raw = render_mail(letter)
        mail = read(letter)
        assert mail.defects == []
        assert mail["Subject"] == letter.subject
        assert mail["From"].addresses[0].display_name == letter.from_name
        assert mail["From"].addresses[0].addr_spec == "care@shop.example"
        assert mail["Reply-To"].addresses[0].addr_spec == letter.reply_to
        assert mail["To"] == "customer@mail.example"
        assert mail["Message-ID"] == f"<{letter.message_id}>"
        assert mail["In-Reply-To"] == "<first@mail.example>"
        assert mail["References"].split() == ["<zero@mail.example>", "<first@mail.example>"]
        assert mail["Date"].datetime == NOW
        assert body(mail, "plain") == letter.text
        assert body(mail, "html") == letter.html
        assert raw.isascii()
        assert max(len(line) for line in raw.split(b"\r\n")) <= 998
        assert max(len(line) for line in raw.split(b"\r\n\r\n")[0].split(b"\r\n")) <= 140
        assert raw.count(b"\n") == raw.count(b"\r\n")


def test_automatic_mail_says_that_it_is() -> None:
    ack = read(compose(notice(ACK), desk=DESK, secret=SECRET))
    assert (ack["Auto-Submitted"], ack["X-Auto-Response-Suppress"], ack["Precedence"]) == ("auto-replied", "All", None)
    survey = read(compose(notice(Survey()), desk=DESK, secret=SECRET))
    assert (survey["Auto-Submitted"], survey["Precedence"]) == ("auto-generated", "bulk")
    assert list(ack.keys()) == EXPECTED_HEADERS


def test_every_attempt_gives_the_same_bytes() -> None:
    first, second = (compose(notice(ACK, **answered()), desk=DESK, secret=SECRET) for _ in range(2))
    assert render_mail(first) == render_mail(second)


def sender_name(raw: bytes) -> str:
    """By RFC 2047 section 6.2: the space between two encoded words is none. The structured parser of Python 3.11 keeps it in names."""
    words = message_from_bytes(raw, policy=compat32)["From"].rpartition("<")[0].strip().removesuffix("care@shop.example")
    if "=?" in words:
        return str(make_header(decode_header(words.replace("\n ", " "))))
    return parseaddr(f"{words} <a@b>")[0]


HOSTILE = st.text(alphabet=st.one_of(st.characters(), st.sampled_from('\r\n\t<>"\\@,;:=?_ é中😀\u2028\x85')), max_size=200)


@given(subject=HOSTILE, name=HOSTILE, message_id=HOSTILE, shop=HOSTILE)
def test_nothing_from_outside_adds_a_header(subject: str, name: str, message_id: str, shop: str) -> None:
    desk = DeskIdentity(mail_from="care@shop.example", public_url="https://d.example", mail_name=shop)
    ack = Acknowledgement(next_by=SOON, customer_name=name)
    letter = compose(notice(ack, subject=subject, thread=Thread(message_id=message_id)), desk=desk, secret=SECRET)
    raw = render_mail(letter)
    mail = message_from_bytes(raw, policy=default)
    assert list(mail.keys()) == EXPECTED_HEADERS
    assert mail["Subject"] == letter.subject
    assert mail["From"].addresses[0].addr_spec == "care@shop.example"
    assert len(mail["From"].addresses) == 1
    assert sender_name(raw) == one_line(shop)
    assert body(mail, "plain") == letter.text
    assert raw.count(b"\r\n\r\n") >= 3


@given(HOSTILE)
def test_a_recipient_never_adds_a_header(recipient: str) -> None:
    """The SMTP sender refuses such an address before; the builder does not rely on it."""
    letter = compose(notice(ACK), desk=DESK, secret=SECRET)
    mail = read(msgspec.structs.replace(letter, notice=msgspec.structs.replace(letter.notice, recipient=recipient)))
    assert list(mail.keys()) == EXPECTED_HEADERS


@pytest.mark.parametrize(
    ("built", "wanted"),
    [
        (header("Subject", "plain words"), "Subject: plain words"),
        (header("Subject", "Re: [C261122-7K3QXP] 杯"), "Subject: Re: [C261122-7K3QXP]\r\n =?utf-8?B?5p2v?="),
        (header("Subject", "=?utf-8?B?fake?="), "Subject: =?utf-8?B?PT91dGYtOD9CP2Zha2U/PQ==?="),
        (header("Subject", "x" * 100), "Subject: " + encoded("x" * 100)),
        (mailbox("", "a@b"), "a@b"),
        (mailbox('Tea "&" Co', "a@b"), '"Tea \\"&\\" Co"\r\n <a@b>'),
        (mailbox("客服", "a@b"), "=?utf-8?B?5a6i5pyN?=\r\n <a@b>"),
    ],
)
def test_headers_are_readable_where_they_can_be(built: str, wanted: str) -> None:
    assert built == wanted


def test_encoded_words_never_cut_a_character() -> None:
    for piece in encoded("中文😀" * 40).split("\r\n "):
        assert len(piece) <= 75
        assert message_from_bytes(f"Subject: {piece}\r\n\r\n".encode(), policy=default)["Subject"].defects == ()
