"""A Mail as plain data, in the form that `desk parse email` prints. Names here are a contract; nothing is computed."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from services.intake.mail.read import Mail
from shared.errors import DeskError


def describe(file: str, mail: Mail) -> dict[str, Any]:
    """One JSON object a mail: sizes in bytes, sent_at in ISO 8601 UTC or None, ids and addresses bare."""
    return {
        "file": file,
        "from": {"name": mail.sender.name, "address": mail.sender.address},
        "reply_to": mail.reply_to,
        "to": list(mail.to),
        "cc": list(mail.cc),
        "subject": mail.subject,
        "text": mail.text,
        "quoted": mail.quoted,
        "html": mail.html,
        "attachments": [
            {"filename": f.filename, "media_type": f.media_type, "size": f.size, "sha256": f.sha256, "inline": f.inline} for f in mail.files
        ],
        "message_id": mail.message_id,
        "in_reply_to": mail.in_reply_to,
        "references": list(mail.references),
        "sent_at": mail.sent_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if mail.sent_at else None,
        "auto_submitted": mail.auto_submitted,
        "bounce": {"recipients": list(mail.bounce.recipients), "permanent": mail.bounce.permanent} if mail.bounce else None,
    }


def describe_error(file: str, error: DeskError) -> dict[str, Any]:
    """The line for a file that is no mail, or too large."""
    return {"file": file, "error": {"code": error.code, "message": error.message}}
