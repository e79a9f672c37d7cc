"""The SMTP sender against a relay on loopback: what becomes of a letter whatever the relay says, and how connections are kept."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from services.demo.smtp_peer import SmtpPeer
from services.notifier.compose import compose
from services.notifier.sender import Letter
from services.notifier.senders.smtp import SmtpOptions as Options
from services.notifier.senders.smtp import SmtpSender, checked, envelope_sender
from shared.errors import ConfigError, TemporaryFailure, Undeliverable
from shared.notice_details import Acknowledgement
from tests.notifier.notices import DESK, SECRET, SOON, notice


def letter(number: int = 1, recipient: str = "customer@mail.example", **changed: Any) -> Letter:
    return compose(notice(Acknowledgement(next_by=SOON), key=f"k{number}", recipient=recipient, **changed), desk=DESK, secret=SECRET)


@pytest.fixture
async def relay() -> AsyncGenerator[SmtpPeer]:
    async with SmtpPeer() as peer:
        yield peer


@pytest.fixture
async def sender(relay: SmtpPeer) -> AsyncGenerator[SmtpSender]:
    opened = SmtpSender()
    await opened.open({"port": str(relay.port), "hello": "desk", "timeout": "5"})
    yield opened
    await opened.close()


async def test_letters_share_four_kept_connections(relay: SmtpPeer, sender: SmtpSender) -> None:
    await asyncio.gather(*(sender.send(letter(number)) for number in range(40)))
    assert relay.count == 40
    assert relay.connected <= 4
    assert set(relay.message_ids.values()) == {1}


async def test_one_letter_after_the_other_uses_one_connection(relay: SmtpPeer, sender: SmtpSender) -> None:
    for number in range(10):
        await sender.send(letter(number))
    assert relay.connected == 1


async def test_a_dead_kept_connection_is_replaced_silently(relay: SmtpPeer, sender: SmtpSender) -> None:
    for number in range(3):
        await sender.send(letter(number))
        relay.drop_connections()
    assert relay.count == 3
    assert relay.connected == 3


async def test_a_relay_that_closes_a_kept_connection_politely_gets_a_new_one(relay: SmtpPeer, sender: SmtpSender) -> None:
    await sender.send(letter(1))
    relay.faults.closing = 1
    await sender.send(letter(2))
    assert relay.count == 2
    relay.faults.closing = 2
    with pytest.raises(TemporaryFailure, match="421"):
        await sender.send(letter(3))
    await sender.send(letter(3))
    assert relay.count == 3


async def test_a_connection_that_lay_idle_is_asked_for_a_sign_of_life(relay: SmtpPeer, sender: SmtpSender) -> None:
    await sender.send(letter(1))
    for connection in sender.idle:
        connection.used_at -= 3600 if connection.used_at else 0
    relay.drop_connections()
    await sender.send(letter(2))
    assert relay.count == 2


@pytest.mark.parametrize(
    ("fault", "value", "error", "told"),
    [
        ("busy", 1, TemporaryFailure, "451 4.7.1 greylisted"),
        ("busy_data", 1, TemporaryFailure, "452 4.3.1"),
        ("cut_before_data", 1, TemporaryFailure, "silent"),
        ("refuse", {"customer@mail.example": "550 5.1.1 no such user"}, Undeliverable, "550 5.1.1 no such user"),
        ("refuse", {"customer@mail.example": "530 5.7.0 login first"}, TemporaryFailure, "'user' and 'password'"),
        ("refuse", {"customer@mail.example": "452 4.2.2 mailbox full"}, TemporaryFailure, "mailbox full"),
        ("refuse_sender", "553 5.7.1 not your address", TemporaryFailure, "'from'"),
        ("refuse_sender", "451 4.3.0 later", TemporaryFailure, "451"),
        ("refuse_content", "554 5.7.1 looks like spam", Undeliverable, "SPF"),
    ],
)
async def test_what_the_relay_says_decides(
    relay: SmtpPeer, sender: SmtpSender, fault: str, value: Any, error: type[Exception], told: str
) -> None:
    setattr(relay.faults, fault, value)
    with pytest.raises(error, match=told):
        await sender.send(letter())
    assert relay.count == 0
    relay.faults.refuse, relay.faults.refuse_sender, relay.faults.refuse_content = {}, "", ""
    await sender.send(letter())
    assert relay.count == 1


async def test_a_refusal_does_not_cost_the_connection(relay: SmtpPeer, sender: SmtpSender) -> None:
    relay.faults.refuse["gone@mail.example"] = "550 5.1.1 no such user"
    for number in range(5):
        with pytest.raises(Undeliverable):
            await sender.send(letter(number, "gone@mail.example"))
        await sender.send(letter(number))
    assert relay.connected == 1
    assert relay.count == 5


async def test_an_outcome_nobody_knows_is_said_to_be_unknown(relay: SmtpPeer, sender: SmtpSender) -> None:
    relay.faults.cut_after_data = 1
    with pytest.raises(TemporaryFailure) as caught:
        await sender.send(letter())
    assert caught.value.uncertain
    await sender.send(letter())
    assert list(relay.message_ids.values()) == [2], "the second mail must carry the first one's Message-ID"


async def test_a_relay_that_is_slow_to_answer_leaves_the_outcome_open(relay: SmtpPeer) -> None:
    sender = SmtpSender()
    await sender.open({"port": str(relay.port), "hello": "desk", "timeout": "0.2"})
    relay.faults.slow = 1.0
    with pytest.raises(TemporaryFailure) as caught:
        await sender.send(letter())
    assert caught.value.uncertain
    await sender.close()


async def test_a_cancelled_letter_does_not_spoil_the_next(relay: SmtpPeer, sender: SmtpSender) -> None:
    relay.faults.slow = 5.0
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await sender.send(letter(1))
    relay.faults.slow = 0.0
    sent = await sender.send(letter(2))
    assert sent.external_id == letter(2).message_id
    assert relay.mails[-1].message_id == letter(2).message_id


async def test_a_relay_that_is_away_is_named(sender: SmtpSender, relay: SmtpPeer) -> None:
    await relay.stop()
    with pytest.raises(TemporaryFailure, match=f"127.0.0.1:{relay.port}") as caught:
        await sender.send(letter())
    assert not caught.value.uncertain


@pytest.mark.parametrize(
    "recipient", ["", "nobody", "a@b@c", "a@b, c@d", "a@b\r\nRCPT TO:<x@y>", "<a@b>", "a b@c", "a@" + "x" * 300, "a@..", "@b"]
)
async def test_what_is_no_address_is_undeliverable(sender: SmtpSender, relay: SmtpPeer, recipient: str) -> None:
    with pytest.raises(Undeliverable):
        await sender.send(letter(recipient=recipient))
    assert relay.count == 0


@pytest.mark.parametrize(
    ("recipient", "reached"), [("用户@例子.example", "用户@xn--fsqu00a.example"), ("user@例子.example", "user@xn--fsqu00a.example")]
)
async def test_addresses_of_the_whole_world(sender: SmtpSender, relay: SmtpPeer, recipient: str, reached: str) -> None:
    await sender.send(letter(recipient=recipient))
    assert relay.mails[0].to == reached


async def test_dots_at_the_beginning_of_a_line_arrive(relay: SmtpPeer, sender: SmtpSender) -> None:
    """Ours are in base64, so this is the relay's own reading, which the checks of the others rest on."""
    _, writer = reader_writer = await asyncio.open_connection("127.0.0.1", relay.port)
    writer.write(b"HELO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\nSubject: t\r\n\r\n..one\r\n...\r\nend\r\n.\r\nQUIT\r\n")
    await reader_writer[0].read()
    writer.close()
    assert relay.mails[0].raw == b"Subject: t\r\n\r\n.one\r\n..\r\nend\r\n"


@pytest.mark.parametrize(
    ("wanted", "envelope"),
    [
        ("from", "care@shop.example"),
        ("null", ""),
        ("reply", letter().reply_to),
        ("bounce@shop.example", letter().reply_to.replace("care+", "bounce+")),
    ],
)
async def test_bounces_go_where_they_are_wanted(relay: SmtpPeer, wanted: str, envelope: str) -> None:
    sender = SmtpSender()
    await sender.open({"port": str(relay.port), "hello": "desk", "envelope": wanted})
    await sender.send(letter())
    await sender.close()
    assert relay.mails[0].envelope_from == envelope


def test_bounces_without_keyed_replies_go_to_the_plain_mailbox() -> None:
    plain = Letter(notice=letter().notice, subject="", text="", html="", message_id="m@x", mail_from="care@shop.example")
    assert envelope_sender("bounce@shop.example", plain) == "bounce@shop.example"
    assert envelope_sender("reply", plain) == "care@shop.example"


async def test_an_own_address_for_the_relay_goes_into_header_and_envelope(relay: SmtpPeer) -> None:
    sender = SmtpSender()
    await sender.open({"port": str(relay.port), "hello": "desk", "from": "desk@relay.example"})
    await sender.send(letter())
    await sender.close()
    assert relay.mails[0].envelope_from == "desk@relay.example"
    assert relay.mails[0].message["From"].addresses[0].addr_spec == "desk@relay.example"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("tls") / "relay.pem"
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    command = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", *subject)
    subprocess.run([*command, "-keyout", str(file), "-out", str(file) + ".crt"], check=True, capture_output=True)
    file.write_text(file.read_text() + Path(str(file) + ".crt").read_text())
    return file


@pytest.mark.parametrize(
    ("tls", "implicit", "trusted"), [("starttls", False, True), ("implicit", True, True), ("auto", False, False), ("auto", False, True)]
)
async def test_mail_travels_encrypted(certificate: Path, tls: str, implicit: bool, trusted: bool) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    async with SmtpPeer(tls=context, implicit=implicit, login=("care", "pass word")) as relay:
        sender = SmtpSender()
        settings = {"port": str(relay.port), "tls": tls, "hello": "desk", "user": "care", "password": "pass word"}
        await sender.open({**settings, **({"ca_file": str(certificate)} if trusted else {})})
        await sender.send(letter())
        assert relay.count == 1
        assert all(session.secure for session in relay.sessions)
        await sender.close()


async def test_a_relay_with_a_strangers_certificate_gets_nothing(certificate: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    async with SmtpPeer(tls=context) as relay:
        sender = SmtpSender()
        await sender.open({"port": str(relay.port), "tls": "starttls", "hello": "desk"})
        with pytest.raises(TemporaryFailure, match=r"does not answer \(.*certificate"):
            await sender.send(letter())
        await sender.close()
        assert relay.count == 0


async def test_starttls_that_is_not_offered_is_not_done_without(relay: SmtpPeer) -> None:
    sender = SmtpSender()
    await sender.open({"port": str(relay.port), "tls": "starttls", "hello": "desk"})
    with pytest.raises(TemporaryFailure):
        await sender.send(letter())
    await sender.close()
    assert relay.count == 0


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"from": "nobody"}, "'from'"),
        ({"port": "99999"}, "port"),
        ({"tls": "maybe"}, "tls"),
        ({"conections": "4"}, "Did you mean 'connections'"),
        ({"envelope": "somebody"}, "envelope"),
        ({"ca_file": "/no/such/file.pem"}, "ca_file"),
        ({"host": "mail.example", "user": "u", "password": "hunter2", "tls": "none"}, "in the clear"),
    ],
)
async def test_wrong_settings_are_named_and_secrets_are_not(settings: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        await SmtpSender().open(settings)
    assert "hunter2" not in caught.value.message


def test_a_password_never_goes_to_a_far_relay_in_the_clear() -> None:
    far = Options(host="mail.example", user="u", password="p")
    assert checked(far).tls == "starttls"
    assert checked(far).effective_port == 587
    assert checked(Options(host="mail.example", port=465, user="u", password="p")).tls == "implicit"
    assert checked(Options(host="127.0.0.1", user="u", password="p")).tls == "auto"
