"""Whatever the bytes, reading ends soon, with a Mail or a declared refusal: random, mangled, and built to hurt."""

from __future__ import annotations

import base64
import json
import resource
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.intake.mail.charsets import decode
from services.intake.mail.headers import addresses, instant, message_ids
from services.intake.mail.html import QUOTE_MARK, sanitise, to_text
from services.intake.mail.quotes import cut
from services.intake.mail.read import display_html, read_mail
from services.intake.mail.report import describe
from services.intake.mail.words import decode_words, header_text, parameters
from shared.errors import SubmissionRejected, TooLarge, Unreadable

CORPUS = [path.read_bytes() for path in sorted((Path(__file__).parent / "corpus").glob("*.eml")) if path.stat().st_size < 20_000]
PIECES = [
    b"\r\n",
    b"\n\n",
    b"\r",
    b"--",
    b"--m1\n",
    b"=?utf-8?B?",
    b"?=",
    b'"',
    b"<",
    b">",
    b";",
    b"filename*0*=",
    b"\x00",
    b"\xff\xfe",
    b"(",
    b",",
    b":",
    b"Content-Type: multipart/mixed; boundary=m1\n",
    b"charset=hz",
    b"charset=utf-7",
    b"charset=utf-16",
    b"charset=iso-2022-kr",
    b"charset=idna",
    b"Content-Transfer-Encoding: base64\n",
    b"message/rfc822",
    b"From ",
    b"On 1 Mar 2026 ",
    b" wrote:",
    b"\x1b$B",
    b"~{",
    b"<blockquote type=cite>",
    b"&#x110000;",
]


def reads_or_refuses(raw: bytes) -> None:
    try:
        form = describe("x.eml", read_mail(raw))
    except SubmissionRejected:
        return
    assert QUOTE_MARK not in form["text"] + form["quoted"]
    json.dumps(form, ensure_ascii=False).encode("utf-8")  # no lone surrogates: it must be storable
    display_html(raw)


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    raw = bytearray(draw(st.sampled_from(CORPUS)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(len(raw), 1)))
        match draw(st.integers(0, 3)):
            case 0:
                raw[at:at] = draw(st.sampled_from(PIECES))
            case 1:
                del raw[at : at + draw(st.integers(1, 300))]
            case 2:
                raw[at:at] = draw(st.binary(max_size=20))
            case _:
                start = draw(st.integers(0, max(len(raw), 1)))
                raw[at:at] = raw[start : start + 200]
    return bytes(raw)


@given(st.binary(max_size=3000))
@settings(max_examples=150, deadline=2000)
def test_random_bytes(raw: bytes) -> None:
    reads_or_refuses(raw)
    reads_or_refuses(b"From: a@mail.example\n" + raw)


@given(mangled())
@settings(max_examples=300, deadline=2000, suppress_health_check=[HealthCheck.too_slow])
def test_mangled_mails(raw: bytes) -> None:
    reads_or_refuses(raw)


@given(st.sampled_from(CORPUS), st.data())
@settings(max_examples=60, deadline=2000)
def test_truncated_mails(raw: bytes, data: st.DataObject) -> None:
    reads_or_refuses(raw[: data.draw(st.integers(0, len(raw)))])


@given(st.binary(max_size=400), st.text(alphabet="abcdefgh-_0123456789", max_size=20))
@settings(max_examples=200, deadline=2000)
def test_the_small_readers_never_raise(data: bytes, label: str) -> None:
    for text in (decode(data, label)[0], header_text(data, label)):
        text.encode("utf-8")
        decode_words(text)
        to_text(text)
        sanitise(text)
    addresses(data, label)
    message_ids(data)
    instant(data)
    parameters(data)


@given(st.text(max_size=2000))
@settings(max_examples=150, deadline=2000)
def test_cutting_loses_no_words(text: str) -> None:
    divided = cut(text.replace(QUOTE_MARK, ""))
    whole = "".join((divided.new + divided.quoted).split())
    assert sorted(whole) == sorted("".join(text.replace(QUOTE_MARK, "").split()))


TOP = b"From: a@mail.example\nSubject: x\n"
BOMBS = {
    "a boundary on every line": TOP + b"Content-Type: multipart/mixed; boundary=x\n\n" + b"--x\n" * 500_000,
    "nearly a boundary on every line": TOP + b"Content-Type: multipart/mixed; boundary=x\n\n" + b"--xy\n" * 500_000,
    "nested 5,000 deep": TOP + b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(5000)),
    "one header of a megabyte": b"Subject: " + b"x " * 500_000 + b"\n\nhi",
    "a megabyte of broken words": b"Subject: " + b"=?utf-8?B?" * 100_000 + b"\n\nhi",
    "a megabyte of open quotes": b"To: " + b'"\\' * 500_000 + b"\n\nhi",
    "a megabyte of parameters": TOP + b"Content-Type: text/plain" + b'; a="' * 200_000 + b"\n\nhi",
    "a megabyte of references": TOP + b"References: " + b"<a" * 500_000 + b"\n\nhi",
    "half a million headers": b"X-A: y\n" * 500_000 + b"\nhi",
    "open tags without end": TOP + b"Content-Type: text/html\n\n" + b'<a "' * 500_000,
    "tags without end": TOP + b"Content-Type: text/html\n\n" + b"<div><p>x" * 300_000,
    "a million lines": TOP + b"\n" + b"On 2026 wrote:\n" * 100_000 + b"-- \n" * 500_000,
    "a bounce without end": b"From: MAILER-DAEMON@mail.example\nSubject: failure notice\n\n" + b"<a@mail.example>:\n x\n" * 500_000,
    "twenty megabytes of base64": TOP
    + b"Content-Type: application/pdf\nContent-Transfer-Encoding: base64\n\n"
    + base64.encodebytes(bytes(15_000_000)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_cost_little(name: str) -> None:
    raw = BOMBS[name]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.process_time()
    reads_or_refuses(raw)
    assert time.process_time() - begun < 5
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 12 * len(raw) + 64_000_000


def test_too_many_parts_and_too_many_bytes_are_refused_with_the_mend() -> None:
    with pytest.raises(TooLarge, match="fewer attachments"):
        read_mail(TOP + b"Content-Type: multipart/mixed; boundary=x\n\n" + b"--x\n\nhi\n" * 10_000)
    with pytest.raises(TooLarge, match="smaller attachments"):
        read_mail(TOP + b"\n" + b"x" * 200, max_bytes=100)


@pytest.mark.parametrize(
    "raw", [b"", b"\n\n", b"\x89PNG\r\n\x1a\n\x00\x00", b"hello\nthere\n", b'{"a": 1}\n', b"<html><body>x</body></html>"]
)
def test_what_is_no_mail_is_refused_with_the_mend(raw: bytes) -> None:
    with pytest.raises(Unreadable, match=r"RFC 5322"):
        read_mail(raw)


def test_one_known_header_makes_a_mail() -> None:
    assert read_mail("subject: 只有主题\n\n正文".encode()).text == "正文"
