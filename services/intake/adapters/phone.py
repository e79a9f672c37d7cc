"""The phone log: what an agent or a call centre's software writes down about a call, as JSON, one entry or a list of them.

The door is the desk's own HTTP API with a key per agent, so there is no signature to verify here. A caller's number is what the network
said, which proves nothing: no identity is verified. A list is taken whole or refused whole, and the error names the entry.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Annotated, Literal

import msgspec

from services.intake.adapter import Adapter, Delivery, Parsed
from shared.complaint import Call, Channel, Customer, Identity, Submission
from shared.contacts import is_withheld, read_phone
from shared.errors import TooLarge, Unreadable
from shared.reading import instant, one_line, read_json, tidy

Line = Annotated[str, msgspec.Meta(max_length=200)]
Number = Annotated[str, msgspec.Meta(max_length=80)]
MAX_ENTRIES = 500


class PhoneEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One call. Required: verbatim, the customer's complaint in the customer's words.

    Times are RFC 3339; one without an offset is business time (Asia/Shanghai). direction: who dialled, `in` the customer, `out` we.
    caller, callee: as dialled, extensions such as 转8001 included; anonymous callers are welcome. callback: where to call the customer.
    call_id: the exchange's own id. recording: where the recording lies, never the recording itself.
    """

    verbatim: Annotated[str, msgspec.Meta(max_length=50_000)] = ""
    direction: Literal["in", "out"] = "in"
    caller: Number = ""
    callee: Number = ""
    started_at: datetime | None = None
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    agent: Line = ""
    caller_name: Line = ""
    order_number: Line = ""
    purchased_at: Line = ""
    product: Line = ""
    model: Line = ""
    demand: Annotated[str, msgspec.Meta(max_length=4_000)] = ""
    wanted_by: Line = ""
    mood: Line = ""
    category_hint: Line = ""
    callback: Line = ""
    consent: Line = ""
    call_id: Line = ""
    language: Line = ""
    recording: Annotated[str, msgspec.Meta(max_length=1_000)] = ""


ENTRY = msgspec.json.Decoder(PhoneEntry)
ENTRIES = msgspec.json.Decoder(list[PhoneEntry])
canonical = msgspec.json.Encoder(order="sorted").encode


class PhoneAdapter(Adapter):
    """Reads a phone log; `account` is the line or the call centre it came from."""

    name = "phone"
    channel = Channel.PHONE
    max_bytes = 4 << 20

    def parse(self, delivery: Delivery) -> tuple[Parsed, ...]:
        if delivery.raw.lstrip()[:1] != b"[":
            return (Parsed(submission=submission(read_json(ENTRY, delivery.raw), delivery.account)),)
        entries = read_json(ENTRIES, delivery.raw)
        if len(entries) > MAX_ENTRIES:
            raise TooLarge(f"The list has {len(entries)} calls; at most {MAX_ENTRIES} are taken at once. Send it in parts.")
        parsed: list[Parsed] = []
        for number, entry in enumerate(entries, 1):
            try:
                parsed.append(Parsed(submission=submission(entry, delivery.account)))
            except Unreadable as error:
                raise Unreadable(f"Call {number} of {len(entries)}: {error.message} None of the list was taken.") from None
        return tuple(parsed)


def submission(entry: PhoneEntry, account: str) -> Submission:
    """One call as a submission. Raises Unreadable where the complaint is empty or the times contradict each other."""
    text = tidy(entry.verbatim)
    if not text:
        raise Unreadable("The field 'verbatim' is missing or empty. Write down what the customer complained about.")
    started, answered, ended = in_order(entry)
    extra = {"direction": entry.direction}
    identities, notes = contacts(entry, extra)
    if ended:
        extra["ended_at"] = ended.isoformat()
    call = Call(
        call_id=one_line(entry.call_id),
        agent=one_line(entry.agent),
        rang=(answered - started).total_seconds() if started and answered else None,
        talked=(ended - answered).total_seconds() if answered and ended else None,
        callback=one_line(entry.callback),
        recording=one_line(entry.recording),
    )
    return Submission(
        channel=Channel.PHONE,
        source="phone",
        account=account,
        text=text,
        external_id=key(entry),
        sent_at=started,
        customer=Customer(name=one_line(entry.caller_name), identities=identities),
        language=one_line(entry.language),
        order_number=one_line(entry.order_number),
        purchased_at=one_line(entry.purchased_at),
        product=one_line(entry.product),
        model=one_line(entry.model),
        demand=tidy(entry.demand),
        wanted_by=one_line(entry.wanted_by),
        mood=one_line(entry.mood),
        category_hint=one_line(entry.category_hint),
        call=call,
        consent=one_line(entry.consent),
        notes=notes,
        extra=extra,
    )


def key(entry: PhoneEntry) -> str:
    """The call's id with a hash of the entry: a second complaint told in the same call is another submission, not a repeated one."""
    return f"{one_line(entry.call_id)}:{hashlib.blake2b(canonical(entry), digest_size=16).hexdigest()}"


def in_order(entry: PhoneEntry) -> tuple[datetime | None, datetime | None, datetime | None]:
    """Started, answered and ended in UTC. Raises Unreadable where the call ends before it begins."""
    started = instant(entry.started_at, "started_at")
    answered = instant(entry.answered_at, "answered_at")
    ended = instant(entry.ended_at, "ended_at")
    told = [moment for moment in (started, answered, ended) if moment]
    if told != sorted(told):
        raise Unreadable(
            "The times must follow each other: started_at, answered_at, ended_at. Mend them; without an offset they are Chinese time."
        )
    return started, answered, ended


def contacts(entry: PhoneEntry, extra: dict[str, str]) -> tuple[tuple[Identity, ...], tuple[str, ...]]:
    """The customer's number, and the number to call back. What cannot be dialled is kept as written, with a note."""
    theirs, ours = (entry.caller, entry.callee) if entry.direction == "in" else (entry.callee, entry.caller)
    if one_line(ours):
        extra["line"] = one_line(ours)
    numbers: list[str] = []
    notes: list[str] = []
    if is_withheld(theirs):
        notes.append("anonymous")
    else:
        number, extension = read_phone(theirs)
        extra["number_as_dialled"] = one_line(theirs)
        if number:
            numbers.append(number)
        else:
            notes.append("phone_unusable")
        if extension:
            extra["phone_extension"] = extension
    callback = "" if is_withheld(entry.callback) else read_phone(entry.callback)[0]
    if callback and callback not in numbers:
        numbers.append(callback)
    return tuple(Identity("phone", number) for number in numbers), tuple(notes)


ADAPTER = PhoneAdapter()
