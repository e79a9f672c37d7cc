"""What somebody typed into one of the pages' forms, and what is wrong with it, field by field. Pure.

The web form's adapter refuses the same things for every client; here they become words beside the field, with what was typed kept.
"""

from __future__ import annotations

import hashlib

import msgspec

from services.intake.adapter import Delivery, Parsed
from services.intake.adapters.web_form import MAX_FILE, MAX_FILES, Upload, content_type, keep, read_multipart, read_urlencoded
from shared.complaint import Channel, Customer, Identity, Submission, Thread
from shared.contacts import read_email, read_phone
from shared.errors import Unreadable
from shared.evidence import sniff
from shared.reading import one_line, tidy

LINE, PARAGRAPH, STORY = 200, 4_000, 50_000
LIMITS = {"text": STORY, "demand": PARAGRAPH, "website": PARAGRAPH, "email": 254}
FIELDS = ("text", "demand", "wanted_by", "order_number", "product", "name", "phone", "email", "website", "form_id", "language")


class Typed(msgspec.Struct, frozen=True):
    """The fields as they were typed, and the files. A name sent twice counts with its first value."""

    fields: dict[str, str]
    uploads: list[Upload] = []

    def get(self, name: str) -> str:
        return self.fields.get(name, "")


class Fault(msgspec.Struct, frozen=True):
    """What is wrong with a field: the key of its words, and the limit they speak of."""

    words: str
    limit: int = 0


def read_typed(delivery: Delivery) -> Typed:
    """A posted form, urlencoded or multipart. Raises Unreadable or TooLarge where it is neither, or cut short."""
    kind, boundary = content_type(delivery)
    uploads: list[Upload] = []
    if kind == "multipart/form-data":
        pairs, uploads = read_multipart(delivery.raw, boundary)
    elif kind == "application/x-www-form-urlencoded":
        pairs = read_urlencoded(delivery.raw)
    else:
        raise Unreadable("A page's form comes as multipart/form-data or application/x-www-form-urlencoded.")
    fields: dict[str, str] = {}
    for name, value in pairs:
        fields.setdefault(name, value)
    return Typed(fields, [upload for upload in uploads if upload.filename or upload.content])


def faults(typed: Typed) -> dict[str, Fault]:
    """What keeps a complaint from being taken, by field; empty where it is fine."""
    found = _too_long(typed) | _files(typed)
    if not tidy(typed.get("text")):
        found["text"] = Fault("e_text")
    phone, email = one_line(typed.get("phone")), one_line(typed.get("email"))
    if not phone and not email:
        found["contact"] = Fault("e_contact")
    if phone and not read_phone(phone)[0]:
        found["phone"] = Fault("e_phone")
    if email and not read_email(email):
        found["email"] = Fault("e_email")
    return found


def note_faults(typed: Typed) -> dict[str, Fault]:
    """What keeps an addition to a complaint from being taken: words or a file are enough."""
    found = _too_long(typed) | _files(typed)
    if not tidy(typed.get("text")) and not typed.uploads:
        found["text"] = Fault("e_add")
    return found


def read_note(typed: Typed, *, account: str, identities: tuple[Identity, ...], address: str) -> Parsed:
    """An addition written on the progress page, as a submission that its keyed reply address joins to the complaint.

    identities: the customer's, since the page's secret link proves who writes. Raises Unreadable, TooLarge.
    """
    attachments, files = keep(typed.uploads)
    submission = Submission(
        channel=Channel.WEB_FORM,
        source="web_form",
        account=account,
        text=tidy(typed.get("text")),
        external_id="" if not typed.get("form_id") else f"note:{one_line(typed.get('form_id'))[:64]}:{_digest(typed)}",
        customer=Customer(identities=identities),
        language=one_line(typed.get("language"))[:35],
        attachments=attachments,
        thread=Thread(recipients=(address,)),
    )
    return Parsed(submission=submission, files=files)


def _digest(typed: Typed) -> str:
    """32 hex characters of what was said: a second click is the same, other words are not."""
    digest = hashlib.blake2b(tidy(typed.get("text")).encode(), digest_size=16)
    for upload in typed.uploads:
        digest.update(hashlib.sha256(upload.content).digest())
    return digest.hexdigest()


def _too_long(typed: Typed) -> dict[str, Fault]:
    over = {name: LIMITS.get(name, LINE) for name in FIELDS if len(typed.get(name)) > LIMITS.get(name, LINE)}
    return {name: Fault("e_long", limit) for name, limit in over.items()}


def _files(typed: Typed) -> dict[str, Fault]:
    if len(typed.uploads) > MAX_FILES:
        return {"evidence": Fault("e_files")}
    if any(len(upload.content) > MAX_FILE for upload in typed.uploads):
        return {"evidence": Fault("e_file_size")}
    if any(not sniff(upload.content) for upload in typed.uploads):
        return {"evidence": Fault("e_file_kind")}
    return {}
