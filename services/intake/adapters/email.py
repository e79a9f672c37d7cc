"""E-mail: one raw mail in, one Submission out. Pure; the reading itself is services/intake/mail.

When two deliveries are the same mail: `external_id` is the Message-ID with a hash of what the mail says (sender, subject, date, text,
files), never of how it travelled. So
- the same mail fetched twice, or delivered twice to one account (two aliases, a mailing copy): one dedupe key, a duplicate;
- a repeated Message-ID with other content: another key, a submission of its own; Message-IDs are not unique in the wild;
- no Message-ID: the hash alone; two equal texts differ by their Date, without a Date they count as one;
- the same mail in two accounts of ours: one external_id but two dedupe keys, since the account is part of the key. Each account may
  have its own owner and language, and dropping one silently would lose it for them; by the equal external_id the desk can join them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC

from services.intake.adapter import Adapter, Delivery, Parsed
from services.intake.mail.read import MAX_BYTES, File, Mail, read_mail
from shared.complaint import Attachment, Channel, Customer, Identity, Submission, Thread
from shared.reach import UNANSWERABLE


class EmailAdapter(Adapter):
    """The e-mail channel; raw mail comes from a mailbox (mailbox.py) or the SMTP door (smtp.py), never over HTTP."""

    name = "email"
    channel = Channel.EMAIL
    max_bytes = MAX_BYTES

    def parse(self, delivery: Delivery) -> tuple[Parsed, ...]:
        """One submission a mail; reports and automatic mail too, marked as such. Raises Unreadable or TooLarge."""
        mail = read_mail(delivery.raw, self.max_bytes)
        automatic = mail.automatic or ("empty envelope sender" if delivery.headers.get("x-envelope-from", "?") in ("", "<>") else "")
        named = [(file, attachment_name(file, number)) for number, file in enumerate(mail.files, 1)]
        submission = Submission(
            channel=Channel.EMAIL,
            source="email",
            account=delivery.account,
            text=mail.text or mail.embedded,
            external_id=external_id(mail),
            sent_at=mail.sent_at,
            customer=customer_of(mail),
            subject=mail.subject,
            quoted=mail.quoted,
            html=mail.html,
            attachments=tuple(
                Attachment(filename=name, media_type=file.media_type, size=file.size, sha256=file.sha256, inline=file.inline)
                for file, name in named
            ),
            thread=Thread(
                message_id=mail.message_id,
                in_reply_to=mail.in_reply_to,
                references=mail.references,
                recipients=recipients_of(mail, delivery),
            ),
            automatic=bool(automatic),
            bounce=mail.bounce,
            notes=mail.notes,
            extra=dict(facts(mail, automatic)),
        )
        return (Parsed(submission=submission, files={file.sha256: file.data for file in mail.files}),)


def external_id(mail: Mail) -> str:
    """Message-ID, "#", and 24 hex characters of the content; equal for every copy of one mail, whatever headers the way added."""
    digest = hashlib.blake2b(digest_size=12)
    sent_at = mail.sent_at.astimezone(UTC).isoformat() if mail.sent_at else ""
    for piece in (mail.sender.address.lower(), mail.subject, sent_at, "\n".join(mail.text.split()), "\n".join(mail.quoted.split())):
        digest.update(piece.encode("utf-8", "surrogatepass") + b"\x00")
    for file in mail.files:
        # files that are text travel with whatever line ends the servers like
        plain = file.media_type.startswith(("text/", "message/"))
        digest.update(hashlib.sha256(b"".join(file.data.split())).digest() if plain else bytes.fromhex(file.sha256))
    return f"{mail.message_id[:400]}#{digest.hexdigest()}"


def customer_of(mail: Mail) -> Customer:
    """The sender. Never verified: anybody can write any From (RFC 5321 section 7.1)."""
    address = mail.sender.address
    identities = (Identity(kind="email", value=address.lower()),) if "@" in address else ()
    return Customer(name=mail.sender.name[:200], identities=identities)


def recipients_of(mail: Mail, delivery: Delivery) -> tuple[str, ...]:
    """Every address the mail was sent to, those of the SMTP envelope (header `x-envelope-to` of the delivery) included."""
    envelope = (word.strip().lower() for word in delivery.headers.get("x-envelope-to", "").split(","))
    return tuple(dict.fromkeys((*mail.recipients, *(word for word in envelope if word))))


def facts(mail: Mail, automatic: str) -> Iterator[tuple[str, str]]:
    """What the schema has no field for: where answers should go, why a machine must not answer, and read receipts."""
    if mail.reply_to and mail.reply_to.lower() != mail.sender.address.lower():
        yield "reply_to", mail.reply_to
    if automatic:
        yield "automatic_because", automatic
    elif mail.unanswerable:
        yield UNANSWERABLE, mail.unanswerable
    if mail.receipt:
        yield "receipt", mail.receipt.kind
        yield "receipt_for", mail.receipt.original_id
    if mail.embedded and not mail.text:
        yield "text_from", "attached mail"


EXTENSIONS = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/gif": ".gif",
    "application/pdf": ".pdf",
    "text/html": ".html",
    "text/plain": ".txt",
    "text/calendar": ".ics",
    "message/delivery-status": ".txt",
    "message/rfc822": ".eml",
    "audio/mpeg": ".mp3",
    "video/mp4": ".mp4",
}


def attachment_name(file: File, number: int) -> str:
    """The sender's name for it, or a made-up one that opens with the right program."""
    return file.filename or f"attachment-{number}{EXTENSIONS.get(file.media_type, '.bin')}"


ADAPTER = EmailAdapter()
