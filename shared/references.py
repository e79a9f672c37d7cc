"""Reference numbers, dedupe keys and reply tokens: the names by which a complaint is found again. Pure."""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from datetime import datetime
from zoneinfo import ZoneInfo

from shared.complaint import Submission

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
PAIRS = tuple(a + b for a in CROCKFORD for b in CROCKFORD)
REFERENCE = re.compile(r"C\d{6}-[0-9A-HJKMNP-TV-Z]{6}")
LOOSE_REFERENCE = re.compile(r"(?<![0-9A-Za-z])[Cc](\d{6})\s*[-－—]?\s*([0-9A-Za-z]{6})(?![0-9A-Za-z])")
CONFUSED = str.maketrans({"O": "0", "I": "1", "L": "1"})
BUSINESS_ZONE = ZoneInfo("Asia/Shanghai")


def new_reference(now: datetime) -> str:
    """A fresh reference such as C261121-7K3QXP: the business day and 30 random bits in Crockford base 32.

    Two may collide (one chance in a thousand million per pair and day); the ledger's primary key decides and the caller draws again.
    """
    bits = secrets.randbits(30)
    return f"{_day_part(now.replace(minute=0, second=0, microsecond=0))}{PAIRS[bits >> 20]}{PAIRS[bits >> 10 & 1023]}{PAIRS[bits & 1023]}"


@functools.lru_cache(maxsize=64)
def _day_part(hour: datetime) -> str:
    return f"C{hour.astimezone(BUSINESS_ZONE):%y%m%d}-"


def read_reference(text: str) -> str | None:
    """The first reference in a text as people write or read it aloud: lower case, O for 0, I and L for 1, a missing hyphen."""
    for day, tail in LOOSE_REFERENCE.findall(text):
        candidate = f"C{day}-{tail.upper().translate(CONFUSED)}"
        if REFERENCE.fullmatch(candidate):
            return candidate
    return None


def dedupe_key(submission: Submission, raw: bytes) -> str:
    """32 hex characters that are equal for two deliveries of the same thing and differ otherwise.

    Made from source, account and the platform's id; where the platform gives none, from the raw bytes. A mail's Message-ID is not
    unique in the wild (CHANNELS A2), so adapters whose ids are not to be trusted alone leave external_id empty or add a content hash to it.
    """
    identity = submission.external_id.encode() if submission.external_id else hashlib.sha256(raw).digest()
    parts = b"\x00".join((submission.source.encode(), submission.account.encode(), identity))
    return hashlib.blake2b(parts, digest_size=16).hexdigest()


def reply_token(reference: str, secret: bytes) -> str:
    """The keyed part of a reply address: 8 lower-case Crockford characters that nobody can guess from the reference."""
    digest = hmac.digest(secret, b"reply:" + reference.encode(), "sha256")
    number = int.from_bytes(digest[:5], "big")
    return "".join(CROCKFORD[(number >> shift) & 31] for shift in range(35, -1, -5)).lower()


def reply_address(mailbox: str, reference: str, secret: bytes) -> str:
    """Where the customer's answer should go: care+c261121-7k3qxp.k7f3q9ab@shop.example."""
    local, _, domain = mailbox.partition("@")
    return f"{local}+{reference.lower()}.{reply_token(reference, secret)}@{domain}"


def message_id(reference: str, notice_key: str, domain: str, secret: bytes) -> str:
    """The Message-ID of a notice, without angle brackets: the same for every attempt, and keyed so that it cannot be made up."""
    return f"{reference.lower()}.{reply_token(reference, secret)}.{_tail(notice_key, secret)}@{domain}"


KEYED = re.compile(r"[+.<]?(c\d{6}-[0-9a-hjkmnp-tv-z]{6})\.([0-9a-hjkmnp-tv-z]{8})(?=[.@])", re.IGNORECASE)


def read_reply_token(value: str, secret: bytes) -> str | None:
    """The reference inside a reply address or one of our Message-IDs, or None when the key does not fit (a guess, or not ours)."""
    for reference, token in KEYED.findall(value):
        if hmac.compare_digest(reply_token(reference.upper(), secret), token.lower()):
            return reference.upper()
    return None


def notice_named(message: str, keys: Iterable[str], secret: bytes) -> str:
    """Which of these notices a Message-ID of ours belongs to, "" where none of them."""
    tail = message.partition("@")[0].rpartition(".")[2]
    return next((key for key in keys if hmac.compare_digest(_tail(key, secret), tail.lower())), "") if tail.isascii() else ""


def _tail(notice_key: str, secret: bytes) -> str:
    return hashlib.blake2b(notice_key.encode(), key=secret[:64], digest_size=8).hexdigest()


def tracking_token(reference: str, secret: bytes) -> str:
    """The unguessable part of the link under which the customer sees the progress: 32 hex characters."""
    return hmac.digest(secret, b"track:" + reference.encode(), "sha256")[:16].hex()


def tracking_url(public_url: str, reference: str, secret: bytes) -> str:
    """The link under which the customer sees the progress, for receipts and letters alike."""
    return f"{public_url.rstrip('/')}/track/{reference}/{tracking_token(reference, secret)}"
