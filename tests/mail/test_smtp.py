"""The SMTP and LMTP door, spoken to by a real client: 250 only after the mail is stored, and the right refusal for everything else."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiosmtplib
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from services.intake.adapter import Delivery
from services.intake.mailbox_contract import Outcome
from services.intake.smtp import DoorOptions, SmtpDoor
from shared.errors import SubmissionRejected, TemporaryFailure
from tests.mail.memory import Desk, mail

ACCOUNTS = {"care@shop.example": "care", "help@shop.example": "care", "sales@shop.example": "sales"}


@pytest.fixture
def desk() -> Desk:
    return Desk()


@contextlib.asynccontextmanager
async def open_door(desk: Desk, **changes: object) -> AsyncIterator[SmtpDoor]:
    door = SmtpDoor(desk.take, lambda recipient: ACCOUNTS.get(recipient.lower()), DoorOptions(**changes))  # type: ignore[arg-type] - test options by name
    await door.start()
    try:
        yield door
    finally:
        await door.stop()


async def send(door: SmtpDoor, raw: bytes, *recipients: str) -> tuple[dict[str, aiosmtplib.SMTPResponse], str]:
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=door.port, start_tls=False) as client:
        return await client.sendmail("zhang@mail.example", list(recipients or ("care@shop.example",)), raw)


async def test_a_mail_is_answered_250_after_it_is_stored(desk: Desk) -> None:
    async with open_door(desk) as door:
        _, said = await send(door, mail(7))
    assert desk.subjects == ["7"]
    assert said.startswith("2.6.0 accepted")


async def test_the_answer_waits_for_the_store(desk: Desk) -> None:
    may_go_on = asyncio.Event()

    async def slow(deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        await may_go_on.wait()
        return await desk.take(deliveries)

    door = SmtpDoor(slow, ACCOUNTS.get, DoorOptions())
    await door.start()
    sending = asyncio.create_task(send(door, mail(1)))
    done, _ = await asyncio.wait([sending], timeout=0.3)
    assert not done
    may_go_on.set()
    await asyncio.wait_for(sending, 5)
    await door.stop()
    assert desk.subjects == ["1"]


async def test_a_client_that_hangs_up_does_not_undo_the_store(desk: Desk) -> None:
    begun, may_go_on = asyncio.Event(), asyncio.Event()

    async def slow(deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        begun.set()
        await may_go_on.wait()
        return await desk.take(deliveries)

    door = SmtpDoor(slow, ACCOUNTS.get, DoorOptions())
    await door.start()
    _, writer = await asyncio.open_connection("127.0.0.1", door.port)
    dialogue = b"EHLO x\r\nMAIL FROM:<a@mail.example>\r\nRCPT TO:<care@shop.example>\r\nDATA\r\n" + mail(1) + b"\r\n.\r\n"
    writer.write(dialogue)
    await asyncio.wait_for(begun.wait(), 5)
    writer.transport.abort()
    may_go_on.set()
    await door.stop()
    assert desk.subjects == ["1"]


async def test_the_raw_bytes_come_through_unchanged(desk: Desk) -> None:
    seen: list[Delivery] = []
    desk.fails = seen.extend
    raw = mail(1, body="..\r\n.dots at line starts\r\n" + "很长" * 5000)
    async with open_door(desk) as door:
        await send(door, raw)
    assert seen[0].raw == raw
    assert seen[0].headers["x-envelope-to"] == "care@shop.example"
    assert seen[0].headers["x-envelope-from"] == "zhang@mail.example"
    assert seen[0].received_at.tzinfo is UTC


@pytest.mark.parametrize(
    ("error", "code", "enhanced"),
    [
        (TemporaryFailure("The ledger\r\nis down"), 451, "4.3.0"),
        (SubmissionRejected("no good"), 554, "5.6.0"),
        (KeyError("a defect"), 451, "4.3.0"),
    ],
)
async def test_what_cannot_be_stored_is_said_to_the_sender(desk: Desk, error: Exception, code: int, enhanced: str) -> None:
    def fail(_: Sequence[Delivery]) -> None:
        raise error

    desk.fails = fail
    async with open_door(desk) as door:
        with pytest.raises(aiosmtplib.SMTPDataError) as caught:
            await send(door, mail(1))
    assert caught.value.code == code
    assert caught.value.message.startswith(enhanced)


async def test_strangers_are_refused_by_name(desk: Desk) -> None:
    async with open_door(desk) as door:
        with pytest.raises(aiosmtplib.SMTPRecipientsRefused) as caught:
            await send(door, mail(1), "nobody@shop.example")
        refused, _ = await send(door, mail(2), "nobody@shop.example", "care@shop.example")
    assert caught.value.recipients[0].code == 550
    assert caught.value.recipients[0].message.startswith("5.1.1")
    assert list(refused) == ["nobody@shop.example"]
    assert desk.subjects == ["2"]


async def test_too_large_a_mail_is_refused_before_and_after(desk: Desk) -> None:
    async with open_door(desk, max_bytes=2000) as door, aiosmtplib.SMTP(hostname="127.0.0.1", port=door.port, start_tls=False) as client:
        await client.ehlo()
        assert client.esmtp_extensions["size"] == "2000"
        said = await client.execute_command(b"MAIL FROM:<a@mail.example> SIZE=5000")
        assert said.code == 552
        await client.mail("a@mail.example")
        await client.rcpt("care@shop.example")
        with pytest.raises(aiosmtplib.SMTPDataError) as caught:
            await client.data(mail(1, body="x\r\n" * 2000))
        assert caught.value.code == 552
        assert desk.subjects == []


async def test_two_addresses_of_one_account_are_one_delivery_of_two_accounts_two(desk: Desk) -> None:
    async with open_door(desk) as door:
        await send(door, mail(1), "care@shop.example", "help@shop.example")
        await send(door, mail(2), "care@shop.example", "sales@shop.example")
    assert desk.subjects == ["1", "2", "2"]


async def lmtp(door: SmtpDoor, raw: bytes, *recipients: str) -> list[str]:
    """Speak LMTP by hand: aiosmtplib reads one answer to the data, LMTP gives one a recipient."""
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)

    async def answer() -> str:
        while (line := (await asyncio.wait_for(reader.readline(), 5)).decode().rstrip())[3:4] == "-":
            pass
        return line

    await answer()
    for command in ("LHLO client.example", "MAIL FROM:<zhang@mail.example>", *(f"RCPT TO:<{r}>" for r in recipients), "DATA"):
        writer.write(command.encode() + b"\r\n")
        said = await answer()
        assert said[0] in "235", said
    writer.write(raw + b"\r\n.\r\n")
    answers = [await answer() for _ in recipients]
    writer.write(b"QUIT\r\n")
    assert (await answer()).startswith("221")
    writer.close()
    await writer.wait_closed()
    return answers


async def test_lmtp_answers_for_each_recipient(desk: Desk) -> None:
    def sales_is_down(deliveries: Sequence[Delivery]) -> None:
        if deliveries[0].account == "sales":
            raise TemporaryFailure("sales is down")

    desk.fails = sales_is_down
    async with open_door(desk, lmtp=True) as door:
        answers = await lmtp(door, mail(1), "care@shop.example", "sales@shop.example", "help@shop.example")
    assert [answer[:9] for answer in answers] == ["250 2.6.0", "451 4.3.0", "250 2.6.0"]
    assert desk.subjects == ["1"]


async def test_lmtp_says_too_large_to_each_recipient(desk: Desk) -> None:
    async with open_door(desk, lmtp=True, max_bytes=1000) as door:
        answers = await lmtp(door, mail(1, body="x\r\n" * 1000), "care@shop.example", "sales@shop.example")
    assert [answer[:3] for answer in answers] == ["552", "552"]


async def test_starttls_is_offered_and_can_be_required(desk: Desk, tmp_path: Path) -> None:
    server, client_context = certificate(tmp_path)
    async with open_door(desk, tls=server, require_tls=True) as door:
        with pytest.raises(aiosmtplib.SMTPResponseException) as caught:
            await send(door, mail(1))
        assert caught.value.code == 530
        async with aiosmtplib.SMTP(hostname="127.0.0.1", port=door.port, start_tls=False) as client:
            await client.starttls(server_hostname="localhost", tls_context=client_context)
            await client.sendmail("zhang@mail.example", ["care@shop.example"], mail(2))
    assert desk.subjects == ["2"]


def certificate(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context with a certificate of its own making, and a client's that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    cert = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = folder / "cert.pem"
    pem.write_bytes(
        cert.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    return server, ssl.create_default_context(cafile=str(pem))
