"""The e-mail adapter: one submission a mail, and a dedupe key that says when two deliveries are the same mail."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from services.intake.adapter import Delivery, Parsed
from services.intake.adapters.email import ADAPTER
from shared.complaint import Channel, Identity, decode_submission, encode
from shared.errors import Unreadable
from shared.references import dedupe_key
from tests.mail.memory import mail

NOW = datetime(2026, 3, 1, 2, 3, tzinfo=UTC)
CORPUS = Path(__file__).parent / "corpus"


def delivery(raw: bytes, account: str = "care@shop.example", **headers: str) -> Delivery:
    return Delivery(raw=raw, account=account, received_at=NOW, headers=headers)


def parse(raw: bytes, account: str = "care@shop.example", **headers: str) -> Parsed:
    (parsed,) = ADAPTER.parse(delivery(raw, account, **headers))
    return parsed


def key(raw: bytes, account: str = "care@shop.example") -> str:
    return dedupe_key(parse(raw, account).submission, raw)


def test_a_mail_becomes_a_submission() -> None:
    parsed = parse((CORPUS / "mime_mixed_pdf_and_photo.eml").read_bytes())
    submission = parsed.submission
    assert (submission.channel, submission.source, submission.account) == (Channel.EMAIL, "email", "care@shop.example")
    assert submission.customer.identities == (Identity(kind="email", value="zhang@mail.example"),)
    assert not submission.customer.identities[0].verified
    assert submission.text.startswith("您好，我买的电饭煲")
    assert [a.filename for a in submission.attachments] == ["外壳破裂.jpg", "发票 No.1.pdf"]
    assert {sha256(data).hexdigest() for data in parsed.files.values()} == {a.sha256 for a in submission.attachments} == set(parsed.files)
    assert submission.thread is not None
    assert submission.thread.recipients == ("care@shop.example",)
    assert decode_submission(encode(submission)) == submission
    assert parse((CORPUS / "mime_mixed_pdf_and_photo.eml").read_bytes()) == parsed


def test_the_way_a_mail_took_does_not_change_its_key() -> None:
    raw = mail(1)
    travelled = b"Delivered-To: x@shop.example\r\nReceived: from a by b\r\nX-Spam-Score: 3\r\nReturn-Path: <zhang@mail.example>\r\n" + raw
    assert key(travelled) == key(raw) == key(raw.replace(b"\r\n", b"\n")) == key(raw + b"\r\n\r\n")


def test_another_transfer_encoding_is_the_same_mail() -> None:
    head, _, body = mail(1).partition(b"\r\n\r\n")
    encoded = head + b"\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(body)
    assert key(encoded) == key(mail(1))


def test_one_message_id_with_other_content_is_another_mail() -> None:
    assert key(mail(1)) != key(mail(1, body="另一件事。"))


def test_one_content_with_another_message_id_is_another_mail() -> None:
    assert key(mail(1)) != key(mail(1).replace(b"<m1@", b"<again@"))


def test_without_message_id_the_content_decides() -> None:
    first = mail(1).replace(b"Message-ID: <m1@mail.example>\r\n", b"")
    later = first.replace(b"10:02:11", b"11:30:00")
    assert key(first) == key(b"Received: by c\r\n" + first)
    assert key(first) != key(later)


def test_the_same_mail_in_two_accounts_has_two_keys_and_one_external_id() -> None:
    assert key(mail(1), "care@shop.example") != key(mail(1), "sales@shop.example")
    assert parse(mail(1), "care").submission.external_id == parse(mail(1), "sales").submission.external_id


def test_an_attached_picture_counts_for_the_key() -> None:
    raw = (CORPUS / "mime_related_inline.eml").read_bytes()
    assert key(raw) != key(raw.replace(b"/9j/4AAB", b"/9j/4AAC"))


def test_reports_and_automatic_mail_are_marked() -> None:
    bounce = parse((CORPUS / "bounce_dsn_failed.eml").read_bytes()).submission
    assert bounce.automatic
    assert bounce.bounce is not None
    assert bounce.bounce.original_id == "c260301-abcdef.x@shop.example"
    newsletter = parse((CORPUS / "auto_not_a_newsletter.eml").read_bytes()).submission
    assert not newsletter.automatic  # a person may have written it: a complaint, but never answered by a machine
    assert newsletter.extra["unanswerable_because"] == "list-unsubscribe header"
    receipt = parse((CORPUS / "receipt_read.eml").read_bytes()).submission
    assert (receipt.extra["receipt"], receipt.extra["receipt_for"]) == ("read", "c260301-abcdef.x@shop.example")


def test_a_mail_that_only_carries_another_speaks_with_its_words() -> None:
    raw = b"From: a@mail.example\nContent-Type: message/rfc822\n\nFrom: b@mail.example\nSubject: x\n\nthe parcel is lost\n"
    submission = parse(raw).submission
    assert submission.text == "the parcel is lost"
    assert submission.attachments[0].filename == "x.eml"


def test_the_envelope_and_the_delivery_headers_tell_where_it_was_sent() -> None:
    raw = b"Delivered-To: care+c260301-abcdef.k7f3q9ab@shop.example\r\n" + mail(1)
    parsed = parse(raw, **{"x-envelope-to": "Help@shop.example"})
    assert parsed.submission.thread is not None
    assert parsed.submission.thread.recipients == ("care@shop.example", "care+c260301-abcdef.k7f3q9ab@shop.example", "help@shop.example")


def test_what_is_no_mail_is_refused() -> None:
    with pytest.raises(Unreadable):
        ADAPTER.parse(delivery(b"\x00\x01"))
