"""Well-formed mails, as the standard library writes them, are read as it reads them: our own splitter invents nothing."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.intake.mail.read import read_mail

WORDS = (
    st.text(alphabet="订单退款破损快递 abcXYZ019éß，。!?-", min_size=1, max_size=60)
    .map(str.strip)
    .filter(lambda text: len(text.strip("-")) > 2)
)
NAMES = st.text(alphabet="发票照片凭证 abc019é._-", min_size=1, max_size=40).map(lambda text: text.strip(" .") + ".bin")
FILES = st.lists(st.tuples(NAMES, st.binary(max_size=300)), max_size=3)


@given(subject=WORDS, lines=st.lists(WORDS, min_size=1, max_size=6), files=FILES, html=st.booleans(), smtp=st.booleans())
@settings(max_examples=120, deadline=2000)
def test_reads_what_the_standard_library_wrote(
    subject: str, lines: list[str], files: list[tuple[str, bytes]], html: bool, smtp: bool
) -> None:
    text = "\n".join(lines)
    mail = EmailMessage(policy=policy.SMTP if smtp else policy.default)
    mail["From"] = "张三 <zhang@mail.example>"
    mail["To"] = "care@shop.example"
    mail["Subject"] = subject
    mail.set_content(text)
    if html:
        mail.add_alternative("<p>other words</p>", subtype="html")
    for name, data in files:
        mail.add_attachment(data, maintype="application", subtype="octet-stream", filename=name)
    raw = mail.as_bytes()
    theirs = message_from_bytes(raw, policy=policy.default)
    ours = read_mail(raw)
    assert ours.subject == " ".join(str(theirs["subject"]).split(" ")).strip()
    assert (ours.sender.name, ours.sender.address) == ("张三", "zhang@mail.example")
    body = theirs.get_body(("plain",))
    assert body is not None
    assert (ours.text + ours.quoted).split() == body.get_content().split()
    expected = [(part.get_filename(), part.get_content()) for part in theirs.iter_attachments()]
    assert [(file.filename, file.data) for file in ours.files] == expected


@pytest.mark.parametrize(
    "charset", ["gb2312", "gbk", "gb18030", "big5", "utf-8", "utf-16", "iso-2022-jp", "shift_jis", "euc-jp", "koi8-r", "iso-8859-1"]
)
def test_each_charset_comes_back(charset: str) -> None:
    text = {"koi8-r": "Где мой заказ", "iso-8859-1": "déjà vu"}.get(charset, "中文")
    head = f"From: a@mail.example\nContent-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: 8bit\n\n".encode()
    assert read_mail(head + text.encode(charset)).text == text
