"""Signatures and encryption against known vectors and against another implementation."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from services.intake import registry
from services.intake.adapter import Delivery
from services.intake.adapters import webhook, wechat
from services.intake.cases import fixtures_of, load
from shared.errors import Untrusted
from tests.adapters.write_fixtures import AES_KEY, APP_ID, SALT, STAMP, TOKEN, message

ENCRYPTED = (
    "Q3stYC6hdFzMh9T8HCvyDJJe5MuZ7J4OV6X0j7kZVFCvr6YjMJMqZ9dtZXwRmuC/ooT7EnjgSOO/UiLUlntAHyokjkpRvuqsrr9sYzTl3V8g2ypkF6PEfwTze33pR/zR"
    "4boh411G5baD22Ykmfvv3eyPqjMrt6fB1wD/iypRR5smg/squLxMzMO1n1iSPcxLpc42RWnioRJOocdaDY7RFiWRUxOEfR+1e4/deYaEo52P6IdmMH2aQxJljHKRZr59"
    "ZJf/tSuIFUt1lAerLsT67QPk1fd2JnIWC75hk6FZIFt/saKCr71fD+2N3H8oqH1jk9iRCwFkE6Ow/kexEDH+ZDrMi2EtGi0ABiW7JxzMuF7QiJFoCndSkgTUAxNN8Enl"
    "SQPL2A5QlCyUtIqqdpMtL8jY+AVhZ/Qgp7Xc+evOoR8="
)


def test_wechat_signs_and_encrypts_as_the_platform_does() -> None:
    assert wechat.signature(TOKEN, STAMP, "nonce01") == "d6c4ae5963aaa8aa3ae929f458c57126f4c64b8e"
    assert wechat.signature(TOKEN, STAMP, "nonce01", ENCRYPTED) == "78c4fe6e688a4e7f700e678f39b1e2650af59a73"
    assert wechat.seal(message("text", Content="没收到货"), AES_KEY, APP_ID, SALT) == ENCRYPTED


@given(st.binary(max_size=200))
def test_wechat_opens_what_it_sealed(text: bytes) -> None:
    secret = {"app_id": APP_ID, "encoding_aes_key": AES_KEY}
    assert wechat.unseal(wechat.seal(text, AES_KEY, APP_ID, SALT), secret, "gh_demo") == text


@given(st.integers(0, len(base64.b64decode(ENCRYPTED)) - 1), st.integers(1, 255))
def test_a_changed_byte_never_opens_into_another_app_s_message(at: int, change: int) -> None:
    data = bytearray(base64.b64decode(ENCRYPTED))
    data[at] ^= change
    opened = wechat.decrypt(base64.b64encode(data).decode(), wechat.aes_key(AES_KEY, ""), APP_ID.encode())
    assert opened is None or len(opened) == len(message("text", Content="没收到货"))


@pytest.mark.parametrize("sealed", ["", "====", "QUJD", ENCRYPTED[:-24], "没收到货", "A" * 64])
def test_what_is_not_sealed_is_refused(sealed: str) -> None:
    with pytest.raises(Untrusted):
        wechat.unseal(sealed, {"app_id": APP_ID, "encoding_aes_key": AES_KEY}, "gh_demo")


def test_the_webhook_signature_of_the_standard() -> None:
    key = webhook.read_key("whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3", "erp")
    signed = webhook.sign(key, "msg_1", STAMP, b'{"type":"complaint.created","data":{"id":"c1"}}')
    assert signed == "v1,ZboKIUEpOOengpem86Pz6eG0hYjJD9z7QMKWCr6x+E0="


@given(
    key=st.binary(min_size=24, max_size=64),
    message_id=st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="."), min_size=1, max_size=40),
    body=st.text(max_size=200).map(lambda text: text.encode("utf-8", "ignore")),
    late=st.integers(-400, 400),
)
def test_webhooks_are_taken_exactly_when_the_reference_library_takes_them(key: bytes, message_id: str, body: bytes, late: int) -> None:
    secret = "whsec_" + base64.b64encode(key).decode()
    now = datetime.now(UTC).replace(microsecond=0)
    sent = now + timedelta(seconds=late)
    if 280 < abs(late) < 320:
        return  # the library reads its own clock, so the second of the limit is not the same for both
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(sent.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, sent, body.decode()),
    }
    delivery = Delivery(raw=body, account="erp", received_at=now, headers=headers)
    assert taken(delivery, secret) == taken_by_the_library(delivery, secret) == (abs(late) < 300)
    flipped = msgspec.structs.replace(delivery, raw=body + b" ")
    assert not taken(flipped, secret)
    assert not taken_by_the_library(flipped, secret)


def taken(delivery: Delivery, secret: str) -> bool:
    try:
        webhook.ADAPTER.verify(delivery, {"secret": secret})
    except Untrusted:
        return False
    return True


def taken_by_the_library(delivery: Delivery, secret: str) -> bool:
    try:
        Webhook(secret).verify(delivery.raw, dict(delivery.headers), json_parse=False)
    except WebhookVerificationError:
        return False
    return True


def test_an_integrator_cannot_call_itself_trusted() -> None:
    claims = {case.name: case for case in load(fixtures_of(webhook.ADAPTER))}["claims_trust"]
    verified = webhook.ADAPTER.verify(claims.delivery, claims.meta.secret)
    (one,) = webhook.ADAPTER.parse(verified)
    assert claims.meta.headers[webhook.TRUSTED] == "yes"
    assert not any(identity.verified for identity in one.submission.customer.identities)


@pytest.mark.parametrize("name", ["wechat", "telegram", "webhook"])
def test_a_header_or_query_that_is_no_ascii_is_refused_like_any_other(name: str) -> None:
    adapter = registry.get(name)
    for case in load(fixtures_of(adapter)):
        if case.expected and "submissions" in case.expected:
            odd = dict.fromkeys(case.meta.headers, "签名\udcff")
            delivery = msgspec.structs.replace(case.delivery, headers=odd, query=dict.fromkeys(case.meta.query, "签名\udcff"))
            with pytest.raises(Untrusted):
                adapter.verify(delivery, case.meta.secret)
