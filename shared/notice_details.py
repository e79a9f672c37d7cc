"""What the wording of each kind of notice needs: the shape of `Notice.detail`, one struct a kind.

Whoever makes a notice builds its detail with these structs and `to_detail`; the notifier reads it back with `read_detail`. So a missing
fact is found where it is missing, not in front of the customer. Unknown keys are ignored, so that an older notifier still writes what a
newer service asks for. Pure; the words themselves live in the notifier's templates.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec

from shared.complaint import NoticeKind
from shared.errors import IncompleteNotice

Instant = Annotated[datetime, msgspec.Meta(tz=True)]
Words = Annotated[str, msgspec.Meta(pattern=r"\S", max_length=4000)]
Line = Annotated[str, msgspec.Meta(pattern=r"\S", max_length=300)]
Link = Annotated[str, msgspec.Meta(pattern=r"^(https?://\S+)?$", max_length=1000)]


class MissingFact(StrEnum):
    """A key fact the customer is asked for; the notifier has words for each in every language."""

    ORDER_NUMBER = "order_number"
    PURCHASED_AT = "purchased_at"
    PRODUCT = "product"
    MODEL = "model"
    WHAT_HAPPENED = "what_happened"
    DEMAND = "demand"
    WANTED_BY = "wanted_by"
    EVIDENCE = "evidence"
    CONTACT = "contact"
    PHONE = "phone"
    ADDRESS = "address"
    TRACKING_NUMBER = "tracking_number"
    INVOICE_TITLE = "invoice_title"


class NoticeDetail(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What every kind may carry. customer_name: how the customer signs, for the greeting."""

    customer_name: Annotated[str, msgspec.Meta(max_length=300)] = ""


class Acknowledgement(NoticeDetail, frozen=True, kw_only=True):
    """next_by: when the customer hears from a person at the latest. opens_at: when people are back, where it came out of hours.

    follow_up: the submission was added to a complaint that exists already.
    """

    next_by: Instant
    out_of_hours: bool = False
    opens_at: Instant | None = None
    follow_up: bool = False


class InfoRequest(NoticeDetail, frozen=True, kw_only=True):
    """What we ask for, all of it in one message (docs/domain.md section 2): known facts, the department's own questions, or both."""

    missing: Annotated[tuple[MissingFact, ...], msgspec.Meta(max_length=20)] = ()
    questions: Annotated[tuple[Words, ...], msgspec.Meta(max_length=20)] = ()
    answer_by: Instant | None = None

    def __post_init__(self) -> None:
        if not self.missing and not self.questions:
            raise ValueError("nothing is asked: give `missing`, `questions` or both")


class Progress(NoticeDetail, frozen=True, kw_only=True):
    """message: the department's words to the customer. next_by: when the customer hears again."""

    message: Words
    next_by: Instant


class Delay(NoticeDetail, frozen=True, kw_only=True):
    """next_by: the new time. promised_by: the time that was missed."""

    next_by: Instant
    promised_by: Instant | None = None
    reason: Annotated[str, msgspec.Meta(max_length=4000)] = ""


class Escalated(NoticeDetail, frozen=True, kw_only=True):
    """level 1: the team leader has it now; level 2: the manager."""

    next_by: Instant
    level: Literal[1, 2] = 1


class Option(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One way to put it right: what (title), by when, and how."""

    title: Line
    by: Instant
    detail: Annotated[str, msgspec.Meta(max_length=2000)] = ""


class Solution(NoticeDetail, frozen=True, kw_only=True):
    """The options, each with its date (docs/domain.md section 6). cause: what was found. answer_by: until when the offer stands."""

    options: Annotated[tuple[Option, ...], msgspec.Meta(min_length=1, max_length=10)]
    cause: Annotated[str, msgspec.Meta(max_length=4000)] = ""
    answer_by: Instant | None = None


class Result(NoticeDetail, frozen=True, kw_only=True):
    """Cause, measure and improvement, not just "resolved" (docs/domain.md section 5)."""

    cause: Words
    measure: Words
    improvement: Annotated[str, msgspec.Meta(max_length=4000)] = ""


class Survey(NoticeDetail, frozen=True, kw_only=True):
    """link: where to answer; empty means the complaint's own progress page."""

    link: Link = ""
    answer_by: Instant | None = None


DETAILS: dict[NoticeKind, type[NoticeDetail]] = {
    NoticeKind.ACKNOWLEDGEMENT: Acknowledgement,
    NoticeKind.INFO_REQUEST: InfoRequest,
    NoticeKind.PROGRESS: Progress,
    NoticeKind.DELAY: Delay,
    NoticeKind.ESCALATED: Escalated,
    NoticeKind.SOLUTION: Solution,
    NoticeKind.RESULT: Result,
    NoticeKind.SURVEY: Survey,
}


def to_detail(detail: NoticeDetail) -> dict[str, Any]:
    """The plain JSON values that go into `Notice.detail`."""
    return msgspec.to_builtins(detail)


def read_detail(kind: NoticeKind, detail: dict[str, Any]) -> NoticeDetail:
    """The detail of a notice of that kind. Raises IncompleteNotice that names what is missing or wrong."""
    wanted = DETAILS[kind]
    try:
        return msgspec.convert(detail, wanted)
    except msgspec.ValidationError as error:
        fields = ", ".join(wanted.__struct_fields__)
        raise IncompleteNotice(f"The detail of a notice of kind {kind.value} cannot be used: {error}. It may hold: {fields}.") from None
