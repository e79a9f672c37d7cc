"""Files from strangers: what they really are, by their first bytes, and a name that is safe to show and to store. Pure.

The declared type and the given name are never believed: a browser or a mail client may say anything.
"""

from __future__ import annotations

import re
import unicodedata

#: media type -> the endings a name of that type may have; the first is added where none of them is there
ENDINGS: dict[str, tuple[str, ...]] = {
    "image/png": (".png",),
    "image/jpeg": (".jpg", ".jpeg", ".jfif"),
    "image/gif": (".gif",),
    "image/webp": (".webp",),
    "image/heic": (".heic", ".heif"),
    "application/pdf": (".pdf",),
    "video/mp4": (".mp4", ".m4v"),
    "video/quicktime": (".mov",),
}
HEIC_BRANDS = frozenset({b"heic", b"heix", b"mif1", b"msf1", b"hevc"})
MP4_BRANDS = frozenset(
    {b"isom", b"iso2", b"iso4", b"iso5", b"iso6", b"mp41", b"mp42", b"avc1", b"M4V ", b"M4VP", b"3gp4", b"3gp5", b"dash"}
)
#: controls, and the characters that turn the direction of writing so that gpj.exe shows as exe.jpg
HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]")
UNSAFE = re.compile(r'[<>:"|?*]')
MAX_NAME = 120


def sniff(content: bytes) -> str:
    """The media type by magic bytes: PNG, JPEG, GIF, WebP, HEIC, PDF, MP4, QuickTime; empty for anything else."""
    head = content[:16]
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if content[:1024].lstrip(b"\xef\xbb\xbf\r\n\t \x00").startswith(b"%PDF-"):
        return "application/pdf"
    return boxed(head[8:12]) if head[4:8] == b"ftyp" else ""


def boxed(brand: bytes) -> str:
    """The media type of an ISO base media file by its major brand (ISO/IEC 14496-12)."""
    if brand in HEIC_BRANDS:
        return "image/heic"
    if brand == b"qt  ":
        return "video/quicktime"
    return "video/mp4" if brand in MP4_BRANDS else ""


def safe_name(given: str, media_type: str, fallback: str = "evidence") -> str:
    """A file name without path, control, direction or reserved characters, in NFC, at most 120 characters, its ending true to the type."""
    last = unicodedata.normalize("NFC", HIDDEN.sub("", given)).replace("\\", "/").rsplit("/", 1)[-1]
    name = UNSAFE.sub("_", " ".join(last.split())).strip(". ") or fallback
    endings = ENDINGS.get(media_type, ())
    ending = "" if not endings or name.lower().endswith(endings) else endings[0]
    stem, dot, tail = name.rpartition(".")
    if len(name) + len(ending) > MAX_NAME and dot and len(tail) < 12 and not ending:
        return stem[: MAX_NAME - len(tail) - 1] + dot + tail
    return name[: MAX_NAME - len(ending)] + ending
