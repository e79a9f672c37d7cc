"""The web form: JSON from scripts and integrators, multipart from browsers with evidence, urlencoded from pages without JavaScript.

Trusts nothing that was typed: no identity from a form is verified. Knows nothing of HTTP, captchas or rate limits; those are the door's.
A filled honeypot is noted, never refused, so that a real complaint caught by it can still be found in quarantine.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Annotated
from urllib.parse import parse_qsl

import msgspec
from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser  # pyright: ignore[reportMissingTypeStubs] - it has none

from services.intake.adapter import Adapter, Delivery, Parsed
from shared.complaint import Attachment, Channel, Customer, Identity, Submission
from shared.contacts import read_email, read_phone
from shared.errors import TooLarge, Unreadable
from shared.evidence import safe_name, sniff
from shared.reading import explain, one_line, read_json, tidy

Line = Annotated[str, msgspec.Meta(max_length=200)]
Paragraph = Annotated[str, msgspec.Meta(max_length=4_000)]
Story = Annotated[str, msgspec.Meta(max_length=50_000)]

MAX_FILES = 9
MAX_FILE = 10 << 20
MAX_PARTS = 64
MAX_OTHER_FIELDS = 20
BOUNDARY = re.compile(r';\s*boundary=(?:"([^"]{1,200})"|([^\s;"]{1,200}))', re.IGNORECASE)
#: fields the page needs for itself: never part of the complaint, and new at each attempt
MACHINERY = frozenset({"altcha", "ts"})


class WebForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the form asks (docs/domain.md section 2). Required: text, and email or phone.

    website: the honeypot, hidden from people. form_id: one per rendering of the page, so that a double click makes one complaint.
    """

    text: Story = ""
    name: Line = ""
    email: Annotated[str, msgspec.Meta(max_length=320)] = ""
    phone: Line = ""
    order_number: Line = ""
    purchased_at: Line = ""
    product: Line = ""
    model: Line = ""
    demand: Paragraph = ""
    wanted_by: Line = ""
    mood: Line = ""
    category_hint: Line = ""
    language: Line = ""
    consent: Line = ""
    website: Paragraph = ""
    form_id: Line = ""
    altcha: Paragraph = ""
    ts: Line = ""


class Upload(msgspec.Struct, frozen=True):
    """A file as the browser sent it: the name is only what somebody says it is called."""

    filename: str
    content: bytes


FORM = msgspec.json.Decoder(WebForm)
FIELDS = frozenset(field.name for field in msgspec.structs.fields(WebForm))
canonical = msgspec.json.Encoder(order="sorted").encode


class WebFormAdapter(Adapter):
    """Reads one submitted form. Its door (the HTTP layer) has the captcha, the limits and the receipt."""

    name = "web_form"
    channel = Channel.WEB_FORM
    max_bytes = 26_214_400

    def parse(self, delivery: Delivery) -> tuple[Parsed, ...]:
        kind, boundary = content_type(delivery)
        if kind == "application/json":
            form = read_json(FORM, delivery.raw)
            rendering = one_line(form.form_id)
            return (submission(form, delivery, external_id=f"{rendering}:{digest(form, ())}" if rendering else ""),)
        if kind == "multipart/form-data":
            pairs, uploads = read_multipart(delivery.raw, boundary)
        elif kind == "application/x-www-form-urlencoded":
            pairs, uploads = read_urlencoded(delivery.raw), []
        else:
            raise Unreadable("The content type must be application/json, multipart/form-data or application/x-www-form-urlencoded.")
        form, other = read_fields(pairs)
        attachments, files = keep(uploads)
        # the boundary is new at each attempt, so raw bytes would not show that two attempts are the same
        external_id = f"{one_line(form.form_id)}:{digest(form, (*files, *sorted(other.items())))}"
        return (submission(form, delivery, external_id=external_id, attachments=attachments, files=files, other=other),)


def content_type(delivery: Delivery) -> tuple[str, str]:
    """The declared type and boundary; where nothing is declared (a file on the command line), what the first bytes show."""
    declared = delivery.headers.get("content-type", "")
    if declared:
        found = BOUNDARY.search(declared)
        return declared.partition(";")[0].strip().lower(), (found.group(1) or found.group(2)) if found else ""
    if delivery.raw.startswith(b"--"):
        return "multipart/form-data", delivery.raw[2:200].split(b"\r\n", 1)[0].decode("latin-1")
    return "application/json", ""


def submission(
    form: WebForm,
    delivery: Delivery,
    *,
    external_id: str,
    attachments: tuple[Attachment, ...] = (),
    files: Mapping[str, bytes] | None = None,
    other: Mapping[str, str] | None = None,
) -> Parsed:
    """A checked form as a submission. Raises Unreadable where there is no story, or no way to answer."""
    text = tidy(form.text)
    if not text:
        raise Unreadable("The field 'text' is missing or empty. Say in your own words what happened.")
    extra = dict(other or {})
    identities, notes = contacts(form, extra)
    if form.website:
        notes = (*notes, "honeypot")
    filled = Submission(
        channel=Channel.WEB_FORM,
        source="web_form",
        account=delivery.account,
        text=text,
        external_id=external_id,
        customer=Customer(name=one_line(form.name), identities=identities),
        language=one_line(form.language),
        order_number=one_line(form.order_number),
        purchased_at=one_line(form.purchased_at),
        product=one_line(form.product),
        model=one_line(form.model),
        demand=tidy(form.demand),
        wanted_by=one_line(form.wanted_by),
        mood=one_line(form.mood),
        category_hint=one_line(form.category_hint),
        attachments=attachments,
        consent=one_line(form.consent),
        notes=notes,
        extra=extra,
    )
    return Parsed(submission=filled, files=files or {})


def contacts(form: WebForm, extra: dict[str, str]) -> tuple[tuple[Identity, ...], tuple[str, ...]]:
    """How to reach the customer. What cannot be dialled is kept as typed, with a note; a form with no way to answer is refused."""
    phone_typed, email_typed = one_line(form.phone), one_line(form.email)
    if not phone_typed and not email_typed:
        raise Unreadable("Give a mail address in the field 'email' or a telephone number in the field 'phone', so that we can answer.")
    identities: list[Identity] = []
    notes: list[str] = []
    if email_typed:
        address = read_email(email_typed)
        if address:
            identities.append(Identity("email", address))
        elif phone_typed:
            extra["email"] = email_typed
            notes.append("email_unusable")
        else:
            raise Unreadable("The field 'email' is not a whole mail address such as name@example.com. Mend it, or give a phone number.")
    if phone_typed:
        number, extension = read_phone(phone_typed)
        if number:
            identities.append(Identity("phone", number))
        else:
            extra["phone"] = phone_typed
            notes.append("phone_unusable")
        if extension:
            extra["phone_extension"] = extension
    return tuple(identities), tuple(notes)


def digest(form: WebForm, more: Iterable[object]) -> str:
    """32 hex characters of what the form says, without what the page needs for itself."""
    return hashlib.blake2b(canonical((msgspec.structs.replace(form, altcha="", ts=""), list(more))), digest_size=16).hexdigest()


def read_fields(pairs: list[tuple[str, str]]) -> tuple[WebForm, dict[str, str]]:
    """The form's own fields, strictly, and what else a company's page asked, for `extra`. Names with a leading _ are the page's own."""
    known: dict[str, str] = {}
    other: dict[str, str] = {}
    for name, value in pairs:
        if name in FIELDS:
            # a hidden default before a checkbox is common, so the last value stands for these; elsewhere two values are a mistake
            if known.get(name, value) not in {"", value} and name not in MACHINERY | {"consent"}:
                raise Unreadable(f"The field '{name}' is there twice with different values. Send it once.")
            known[name] = value
        elif name and not name.startswith("_") and value.strip():
            other[one_line(name)[:60]] = tidy(value)[:2_000]
    if len(other) > MAX_OTHER_FIELDS:
        raise Unreadable(f"The form has {len(other)} fields of its own; at most {MAX_OTHER_FIELDS} are taken.")
    try:
        return msgspec.convert(known, WebForm), other
    except msgspec.ValidationError as error:
        raise Unreadable(explain(error, WebForm)) from None


def read_urlencoded(raw: bytes) -> list[tuple[str, str]]:
    """Names and values of a urlencoded body (WHATWG URL, 5.1), in UTF-8, or GB18030 where it is not UTF-8."""
    try:
        return parse_qsl(readable(raw), keep_blank_values=True, max_num_fields=MAX_PARTS, errors="strict")
    except UnicodeDecodeError:
        return parse_qsl(readable(raw), keep_blank_values=True, max_num_fields=MAX_PARTS, encoding="gb18030", errors="replace")
    except ValueError:
        raise TooLarge(f"The form has more than {MAX_PARTS} fields. Send fewer.") from None


def read_multipart(raw: bytes, boundary: str) -> tuple[list[tuple[str, str]], list[Upload]]:
    """Fields and files of a multipart body (RFC 7578), within the limits above. Raises Unreadable or TooLarge."""
    pairs: list[tuple[str, str]] = []
    uploads: list[Upload] = []
    part: MultipartSegment | None = None
    chunks: list[bytes] = []
    try:
        with PushMultipartParser(boundary, max_segment_count=MAX_PARTS, max_segment_size=MAX_FILE) as parser:
            for event in parser.parse(raw):
                if isinstance(event, MultipartSegment):
                    part, chunks = event, []
                elif event:
                    chunks.append(bytes(event))
                elif part is not None and part.filename is not None:
                    uploads.append(Upload(part.filename, b"".join(chunks)))
                elif part is not None:
                    pairs.append((part.name or "", readable(b"".join(chunks))))
    except ParserLimitReached:
        raise TooLarge(f"The form is too large: at most {MAX_PARTS} parts of {MAX_FILE >> 20} MB. Send fewer or smaller files.") from None
    except (MultipartError, ValueError) as error:
        raise Unreadable(f"The form was cut short or is not multipart/form-data ({str(error)[:100]}). Send it again.") from None
    return pairs, uploads


def readable(raw: bytes) -> str:
    """Text in UTF-8, or in GB18030 as old Chinese pages send it."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("gb18030", errors="replace")


def keep(uploads: list[Upload]) -> tuple[tuple[Attachment, ...], dict[str, bytes]]:
    """The evidence, each file by its hash. A file input left empty by the customer is nothing. Raises Unreadable, TooLarge."""
    given = [upload for upload in uploads if upload.filename or upload.content]
    if len(given) > MAX_FILES:
        raise TooLarge(f"There are {len(given)} files; at most {MAX_FILES} are taken. Send the most telling ones.")
    attachments: list[Attachment] = []
    files: dict[str, bytes] = {}
    for number, upload in enumerate(given, 1):
        media_type = sniff(upload.content)
        if not media_type:
            raise Unreadable(f"File {number} is none of PNG, JPEG, GIF, WebP, HEIC, PDF, MP4 and MOV. Convert it or leave it out.")
        sha256 = hashlib.sha256(upload.content).hexdigest()
        name = safe_name(upload.filename, media_type, f"evidence-{number}")
        attachments.append(Attachment(filename=name, media_type=media_type, size=len(upload.content), sha256=sha256))
        files[sha256] = upload.content
    return tuple(attachments), files


ADAPTER = WebFormAdapter()
