"""The generic signed webhook: marketplaces, chat systems and other middleware push complaints here in one plain JSON form.

Signed as Standard Webhooks says (headers webhook-id, webhook-timestamp, webhook-signature; HMAC-SHA256 over id.timestamp.body). What the
integrator says about its customers is believed as proven only where the account's secrets say `trusted`. `desk schema` shows the form.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

import msgspec

from services.intake.adapter import Adapter, Delivery, Parsed
from shared.complaint import Attachment, Channel, Customer, Identity, Submission
from shared.contacts import read_email, read_phone
from shared.errors import TooLarge, Unreadable, Untrusted
from shared.evidence import safe_name, sniff
from shared.reading import instant, one_line, read_json, tidy

TOLERANCE = 300  # seconds, as Standard Webhooks advises
#: through this entry `verify` tells `parse` that the integrator's word counts; no HTTP header can be called so, and it is always set anew
TRUSTED = "desk: trusted"

Line = Annotated[str, msgspec.Meta(max_length=200)]
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Word = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
Paragraph = Annotated[str, msgspec.Meta(max_length=4_000)]


class PushedIdentity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The customer's id on the integrator's platform: kind is the platform's word (taobao, weibo, ...), value its user id."""

    kind: Word
    value: Id


class PushedCustomer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who complains; give what is known."""

    name: Line = ""
    email: Annotated[str, msgspec.Meta(max_length=320)] = ""
    phone: Line = ""
    identities: Annotated[list[PushedIdentity], msgspec.Meta(max_length=10)] = []
    tier: Line = ""


class PushedFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Evidence: `content` in base 64, or `remote_id`, the integrator's own word for a file that it keeps."""

    filename: Line = ""
    media_type: Line = ""
    content: bytes = b""
    remote_id: Annotated[str, msgspec.Meta(max_length=1_000)] = ""


class PushedSubmission(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One complaint or message of a customer. Required: channel, external_id, and text or a file.

    source: the sort of the channel in one word, such as taobao. external_id: yours, unique for ever; the same id again is the same
    submission, so send a correction under a new id with the same conversation. sent_at: RFC 3339, Asia/Shanghai where it has no offset.
    """

    channel: Channel
    external_id: Id
    text: Annotated[str, msgspec.Meta(max_length=50_000)] = ""
    source: Word = "webhook"
    conversation: Line = ""
    customer: PushedCustomer = PushedCustomer()
    subject: Annotated[str, msgspec.Meta(max_length=1_000)] = ""
    language: Line = ""
    sent_at: datetime | None = None
    order_number: Line = ""
    purchased_at: Line = ""
    product: Line = ""
    model: Line = ""
    demand: Paragraph = ""
    wanted_by: Line = ""
    mood: Line = ""
    category_hint: Line = ""
    attachments: Annotated[list[PushedFile], msgspec.Meta(max_length=9)] = []
    consent: Line = ""
    extra: Annotated[dict[Line, Paragraph], msgspec.Meta(max_length=20)] = {}


PUSHED = msgspec.json.Decoder(PushedSubmission)
MAX_FILE = 10 << 20


class WebhookAdapter(Adapter):
    """Reads one pushed submission; `account` is the integrator's name in DESK_ACCOUNTS.

    Secrets: `secret` (whsec_..., several separated by blanks while one replaces another), and `trusted` ("yes" where the integrator
    proves its customers' identities).
    """

    name = "webhook"
    channel = Channel.CHAT  # the usual one; each submission names its own
    max_bytes = 16 << 20
    secrets = ("secret", "trusted")

    def verify(self, delivery: Delivery, secret: Mapping[str, str]) -> Delivery:
        keys = [read_key(word, delivery.account) for word in secret.get("secret", "").split()]
        if not keys:
            raise Untrusted(f"No secret for the webhook account {delivery.account}: add it to DESK_ACCOUNTS.")
        message_id, stamp = delivery.headers.get("webhook-id", ""), delivery.headers.get("webhook-timestamp", "")
        given = delivery.headers.get("webhook-signature", "")
        if not (message_id and stamp and given):
            raise Untrusted("The headers webhook-id, webhook-timestamp and webhook-signature are all needed (Standard Webhooks).")
        if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
            raise Untrusted("The header webhook-timestamp must be unix seconds.")
        if abs(delivery.received_at.timestamp() - int(stamp)) > TOLERANCE:
            raise Untrusted("The webhook-timestamp is more than five minutes away from now. Sign each attempt anew, and check both clocks.")
        if not fits(given, [sign(key, message_id, stamp, delivery.raw) for key in keys]):
            raise Untrusted(f"No webhook-signature fits the secret of account {delivery.account}. Sign the exact bytes of the body.")
        trusted = secret.get("trusted", "").lower() in {"yes", "true", "1"}
        return msgspec.structs.replace(delivery, headers={**delivery.headers, TRUSTED: "yes" if trusted else "no"})

    def parse(self, delivery: Delivery) -> tuple[Parsed, ...]:
        pushed = read_json(PUSHED, delivery.raw)
        return (submission(pushed, delivery.account, trusted=delivery.headers.get(TRUSTED) == "yes"),)


def read_key(word: str, account: str) -> bytes:
    """The key behind whsec_ and base 64. Raises Untrusted where it is not such a key."""
    encoded = word.removeprefix("whsec_")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) < 16:
        raise Untrusted(f"The secret of the webhook account {account} in DESK_ACCOUNTS must be whsec_ and at least 16 bytes in base 64.")
    return key


def sign(key: bytes, message_id: str, stamp: str, body: bytes) -> str:
    """The signature v1 of one attempt (Standard Webhooks, "Signature scheme")."""
    signed = f"{message_id}.{stamp}.".encode("utf-8", "surrogatepass") + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def fits(given: str, wanted: list[str]) -> bool:
    """Whether one of the given signatures is one of the wanted ones; every pair is compared, in constant time."""
    offered = [word.encode("utf-8", "surrogatepass") for word in given.split()[:20]]
    return sum(hmac.compare_digest(one.encode(), other) for one in wanted for other in offered) > 0


def submission(pushed: PushedSubmission, account: str, *, trusted: bool) -> Parsed:
    """A pushed submission as one of ours. Raises Unreadable, TooLarge."""
    text = tidy(pushed.text)
    if not text and not pushed.attachments:
        raise Unreadable("The field 'text' is missing or empty, and there is no file. Send what the customer said.")
    attachments, files = keep(pushed.attachments)
    extra = {one_line(name): tidy(value) for name, value in pushed.extra.items()}
    identities, notes = contacts(pushed.customer, account, trusted, extra)
    read = Submission(
        channel=pushed.channel,
        source=f"{pushed.channel.value}/{pushed.source}",
        account=account,
        text=text,
        external_id=one_line(pushed.external_id) or "-",
        conversation=one_line(pushed.conversation),
        sent_at=instant(pushed.sent_at, "sent_at"),
        customer=Customer(name=one_line(pushed.customer.name), identities=identities, tier=one_line(pushed.customer.tier)),
        language=one_line(pushed.language),
        subject=one_line(pushed.subject),
        order_number=one_line(pushed.order_number),
        purchased_at=one_line(pushed.purchased_at),
        product=one_line(pushed.product),
        model=one_line(pushed.model),
        demand=tidy(pushed.demand),
        wanted_by=one_line(pushed.wanted_by),
        mood=one_line(pushed.mood),
        category_hint=one_line(pushed.category_hint),
        attachments=attachments,
        consent=one_line(pushed.consent),
        notes=notes,
        extra=extra,
    )
    return Parsed(submission=read, files=files)


def contacts(customer: PushedCustomer, account: str, trusted: bool, extra: dict[str, str]) -> tuple[tuple[Identity, ...], tuple[str, ...]]:
    """The identities the integrator names: its own kinds under its account, so that no integrator speaks for another's customers."""
    known: list[Identity] = []
    notes: list[str] = []
    for identity in customer.identities:
        if identity.kind in {"email", "phone"}:
            raise Unreadable(f"Give the customer's {identity.kind} in the field '{identity.kind}', not among the identities.")
        known.append(Identity(identity.kind, f"{account}:{one_line(identity.value)}", verified=trusted))
    for kind, typed, normal in (
        ("email", customer.email, read_email(customer.email)),
        ("phone", customer.phone, read_phone(customer.phone)[0] if customer.phone.strip() else ""),
    ):
        if normal:
            known.append(Identity(kind, normal, verified=trusted))
        elif typed.strip():
            extra[f"customer_{kind}"] = one_line(typed)
            notes.append(f"{kind}_unusable")
    return tuple(known), tuple(notes)


def keep(pushed: list[PushedFile]) -> tuple[tuple[Attachment, ...], dict[str, bytes]]:
    """The evidence, by hash; the declared type stands only where the first bytes do not tell. Raises Unreadable, TooLarge."""
    attachments: list[Attachment] = []
    files: dict[str, bytes] = {}
    for number, file in enumerate(pushed, 1):
        remote_id = one_line(file.remote_id)
        if bool(file.content) == bool(remote_id):
            raise Unreadable(f"File {number} needs either content (base 64) or remote_id, not both and not neither.")
        if len(file.content) > MAX_FILE:
            raise TooLarge(f"File {number} is larger than {MAX_FILE >> 20} MB. Send a smaller one, or its remote_id.")
        found = sniff(file.content)
        declared = "" if file.content else one_line(file.media_type).lower()
        media_type = found or declared or "application/octet-stream"
        name = safe_name(file.filename, found, f"evidence-{number}")
        if not file.content:
            attachments.append(Attachment(filename=name, media_type=media_type, remote_id=remote_id))
            continue
        sha256 = hashlib.sha256(file.content).hexdigest()
        files[sha256] = file.content
        attachments.append(Attachment(filename=name, media_type=media_type, size=len(file.content), sha256=sha256))
    return tuple(attachments), files


ADAPTER = WebhookAdapter()
