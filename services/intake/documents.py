"""What the HTTP interface's description says of bodies, parameters and answers, with examples. Data only."""

from __future__ import annotations

from typing import Any

from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example, Parameter, Schema
from litestar.openapi.spec.enums import OpenAPIType

from services.http import Problem
from services.intake.adapters.phone import PhoneEntry
from services.intake.adapters.web_form import WebForm
from services.intake.answers import Answer, Held, Replayed
from services.intake.progress import Progress
from services.openapi import documented, inlined, json_body

TEXT = Schema(type=OpenAPIType.STRING)
COMPLAINT_ZH: dict[str, Any] = {
    "name": "王芳",
    "phone": "13800138000",
    "email": "wangfang@example.com",
    "order_number": "DD20261120008812",
    "product": "电热水壶 1.7L",
    "text": "收到的水壶底座有裂缝，一通电就跳闸，不敢再用。",
    "demand": "换货，或者退款",
    "language": "zh-CN",
}
COMPLAINT_EN: dict[str, Any] = {
    "email": "j.doe@example.com",
    "order_number": "DD20261120009977",
    "text": "The parcel says delivered on Monday, but nothing ever came.",
}
FORM_EXAMPLE = "text=%E5%8C%85%E8%A3%B9%E4%B8%89%E5%A4%A9%E6%B2%A1%E5%8A%A8&phone=13800138000"
MULTIPART: dict[str, Any] = {
    "schema": {
        "type": "object",
        "required": ["text"],
        "properties": {**inlined(WebForm)["properties"], "evidence": {"type": "array", "items": {"type": "string", "format": "binary"}}},
    }
}
KEY = Parameter(
    name="Idempotency-Key",
    param_in="header",
    description="One per complaint, made by you, 1 to 255 characters; repeating the request with it gives the first answer for a day.",
    schema=TEXT,
    example='"8e03978e-40d5-43e8-bc93-6894a57f9324"',
)
TOKEN = Parameter(name="token", param_in="query", description="The last part of the tracking link.", schema=TEXT)

COMPLAINT = documented(
    body={
        **json_body(WebForm, Chinese=COMPLAINT_ZH, English=COMPLAINT_EN),
        "multipart/form-data": MULTIPART,
        "application/x-www-form-urlencoded": {"schema": inlined(WebForm), "examples": {"short": {"value": FORM_EXAMPLE}}},
    },
    parameters=(KEY,),
)
PROGRESS = documented()
CALL: dict[str, Any] = {
    "caller": "13900139000",
    "caller_name": "李雷",
    "started_at": "2026-11-21T10:02:11+08:00",
    "agent": "坐席 8001",
    "order_number": "DD20261120008812",
    "verbatim": "客户说快递显示已签收，但他没有收到，要求今天给答复。",
    "call_id": "20261121-100211-8001",
}
PHONE = documented(
    body={"application/json": {**json_body(PhoneEntry | list[PhoneEntry])["application/json"], "examples": {"one call": {"value": CALL}}}}
)
CHANNEL = documented()

ANSWER: dict[str, Any] = {
    "reference": "C261121-7K3QXP",
    "outcome": "accepted",
    "tracking_url": "https://care.example/track/C261121-7K3QXP/5f0c6b1f3a7d4a0f9a4be0a51c8c1a77",
    "locale": "zh-CN",
}


def failed(what: str, **example: Any) -> ResponseSpec:
    """A problem details answer."""
    shown = {"title": what, "detail": what, **example}
    return ResponseSpec(
        Problem, description=what, media_type="application/problem+json", generate_examples=False, examples=[Example(value=shown)]
    )


REFUSED = {
    413: failed("Larger than this desk takes.", status=413, code="too_large"),
    422: failed("It cannot be read, or the Idempotency-Key was used with another body.", status=422, code="unreadable"),
    503: failed("The ledger is away; nothing was stored. Try again after Retry-After seconds.", status=503, code="temporary_failure"),
}


def answered(status: int, kind: Any, what: str, *examples: Example) -> dict[int, ResponseSpec]:
    """The good answer of a route."""
    return {status: ResponseSpec(kind, description=what, generate_examples=False, examples=list(examples))}


RECEIPT = {
    **answered(202, Answer, "Safely stored. Location is the customer's tracking link.", Example(value=ANSWER)),
    400: failed("The Idempotency-Key cannot be used, or the connection ended early.", status=400, code="bad_idempotency_key"),
    408: failed("The body came too slowly.", status=408, code="too_slow"),
    409: failed("The first request with this Idempotency-Key is still being worked on.", status=409, code="idempotency_in_progress"),
    **REFUSED,
}
UNKEYED = {
    401: failed("No API key, or one that is unknown or revoked.", status=401, code="not_authorised"),
    403: failed("The key's scope does not allow this.", status=403, code="not_allowed"),
}
PHONE_RECEIPT = {**answered(202, Answer | list[Answer], "Safely stored; a list for a list.", Example(value=ANSWER)), **UNKEYED, **REFUSED}
STANDS = {
    **answered(
        200,
        Progress,
        "How it stands.",
        Example(
            value={
                "reference": "C261121-7K3QXP",
                "state": "investigating",
                "stages": [
                    {"name": "received", "reached": True, "at": "2026-11-21T02:02:12Z"},
                    {"name": "assigned", "reached": True, "at": "2026-11-21T02:02:13Z"},
                    {"name": "investigating", "reached": True, "at": "2026-11-21T03:40:00Z"},
                    {"name": "solution", "reached": False, "at": None},
                    {"name": "done", "reached": False, "at": None},
                ],
                "received_at": "2026-11-21T02:02:12Z",
                "updated_at": "2026-11-21T03:40:00Z",
                "locale": "zh-CN",
                "promised_by": "2026-11-21T10:00:00Z",
                "late": False,
                "needs_you": False,
                "history": [{"at": "2026-11-21T02:02:12Z", "kind": "received"}],
            }
        ),
    ),
    404: failed("No complaint under this link: the same for a wrong token and an unknown reference.", status=404, code="unknown_reference"),
}
DELIVERED = {
    **answered(200, None, "What the platform wants to hear."),
    401: failed("The signature is missing or wrong, or the account is not set up.", status=401, code="untrusted"),
    404: failed("There is no such channel.", status=404, code="unknown_channel"),
    **REFUSED,
}
HELD_EXAMPLE: dict[str, Any] = {
    "id": "0f3a9c5d1b7e2486",
    "adapter": "email",
    "account": "care@shop.example",
    "code": "unreadable",
    "message": "This has no header line, so it is no mail.",
    "size": 20480,
    "count": 1,
    "first_at": "2026-11-21T02:02:12Z",
    "last_at": "2026-11-21T02:02:12Z",
    "state": "held",
}
UNKNOWN_HELD = {404: failed("Nothing of that id lies in quarantine.", status=404, code="not_in_quarantine")}
LISTED = {**answered(200, list[Held], "Newest first.", Example(value=[HELD_EXAMPLE])), **UNKEYED}
RAW = {**answered(200, bytes, "The bytes as they came, as a download."), **UNKEYED, **UNKNOWN_HELD}
REPLAYED = {
    **answered(200, Replayed, "It was taken.", Example(value={"id": "0f3a9c5d1b7e2486", "state": "replayed", "receipts": [ANSWER]})),
    **UNKEYED,
    **UNKNOWN_HELD,
    409: failed("It was replayed or discarded before, or it still belongs to no complaint.", status=409, code="rule_violation"),
    422: failed("It is refused still; the reason is in detail.", status=422, code="unreadable"),
}
DISCARDED = {
    **answered(200, Held, "It stays for the record, out of the list.", Example(value={**HELD_EXAMPLE, "state": "discarded"})),
    **UNKEYED,
    **UNKNOWN_HELD,
}
