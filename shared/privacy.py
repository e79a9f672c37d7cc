"""Personal data as it may be shown where anybody might look: in logs, on pages that a link opens. Pure."""

from __future__ import annotations

import re

EMAIL = re.compile(r"[^\s@<>,;:，；：]+@[^\s@<>,;:，；：]+\.[^\s@<>,;:，；：]+")
PHONE = re.compile(r"(?<![0-9A-Za-z-])(?:\+|00)?\d(?:[ -]?\d){6,15}(?![0-9A-Za-z-])")


def mask_phone(number: str) -> str:
    """A telephone number of which its owner knows the rest: 138****8000; the country code is left out for mainland numbers."""
    digits = re.sub(r"\D", "", number)
    if number.startswith("+86") and len(digits) == 13:
        digits = digits[2:]
    if len(digits) < 7:
        return "****"
    return f"{digits[:3]}****{digits[-4:]}" if len(digits) >= 10 else f"{digits[:1]}****{digits[-2:]}"


def mask_email(address: str) -> str:
    """A mail address of which its owner knows the rest: z***@qq.com."""
    local, at, domain = address.rpartition("@")
    return f"{local[:1]}***{at}{domain}" if at else "***"


def mask(kind: str, value: str) -> str:
    """An identity of any kind, masked."""
    if kind == "email":
        return mask_email(value)
    return mask_phone(value) if kind == "phone" else "***"


def mask_text(text: str) -> str:
    """A text with the mail addresses and telephone numbers in it masked; order numbers of that length are masked with them."""
    return PHONE.sub(lambda found: mask_phone(found.group()), EMAIL.sub(lambda found: mask_email(found.group()), text))
