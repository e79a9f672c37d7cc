"""Telephone numbers and mail addresses as people type them, brought to the one form under which a customer is found again. Pure.

Never refuses: what cannot be normalised comes back empty, and the caller keeps the words as they were typed.
"""

from __future__ import annotations

import re
import unicodedata

import phonenumbers

HOME_REGION = "CN"
PLAIN_MOBILE = re.compile(r"1[3-9][0-9]{9}").fullmatch
EXTENSION = re.compile(r"\s*(?:转|轉|分机号?|分機|内线|內線|[Ee]xt\.?|[Xx]|#)\s*[:：]?\s*([0-9]{1,8})\s*$")
PUNCTUATION = str.maketrans("", "", " -\u00a0\u3000")
NO_NUMBER = frozenset(
    {"", "-", "0", "anonymous", "unknown", "private", "withheld", "restricted", "unavailable", "匿名", "未知", "无", "無", "隐藏", "隱藏"}
)
ADDRESS = re.compile(r"[^\s@<>()\[\],;:\\\"]{1,64}@(?:[^\s@<>()\[\],;:\\\".]{1,63}\.)+[^\s@<>()\[\],;:\\\".]{2,63}").fullmatch


def read_phone(typed: str) -> tuple[str, str]:
    """The number in E.164 and its extension, both empty where there is none. A number without country code is taken as Chinese.

    Plain mainland mobiles take a short way; everything else goes through phonenumbers, which also reads full-width digits.
    """
    if PLAIN_MOBILE(typed):
        return "+86" + typed, ""
    number, extension = split_extension(typed)
    bare = number.translate(PUNCTUATION)
    if PLAIN_MOBILE(bare):
        return "+86" + bare, extension
    try:
        parsed = phonenumbers.parse(number, HOME_REGION)
    except phonenumbers.NumberParseException:
        return "", extension
    if not phonenumbers.is_valid_number(parsed):
        return "", extension
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164), extension or parsed.extension or ""


def split_extension(typed: str) -> tuple[str, str]:
    """A number as dialled and what follows 转, ext. and the like."""
    found = EXTENSION.search(typed[:80])
    return (typed[: found.start()], found.group(1)) if found else (typed, "")


def is_withheld(typed: str) -> bool:
    """Whether a caller number says that there is none (anonymous, unknown, 匿名, a dash)."""
    return typed.strip().lower() in NO_NUMBER


def read_email(typed: str) -> str:
    """The address in lower case, or empty where nobody could write to it. Full-width letters and a leading mailto: are forgiven."""
    address = typed if typed.isascii() else unicodedata.normalize("NFKC", typed)
    address = address.strip().strip("<>").removeprefix("mailto:").lower()
    return address if len(address) <= 254 and ADDRESS(address) else ""
