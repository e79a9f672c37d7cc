"""WeChat official accounts (微信公众号): messages a follower sends, in plain and in secure (AES) mode.

Sources: WeChat Official Accounts developer documentation, "Access Overview", "Receiving standard messages", "Message encryption".
Plain mode signs only the address, not the message, so an account that has an AES key takes secure mode alone. Media stay with WeChat
under their MediaId (about three days); fetching them is not an adapter's work. Events (subscribe, menu clicks) carry no complaint.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from xml.etree.ElementTree import ParseError

import msgspec
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from services.intake.adapter import Adapter, Delivery, Parsed, Reply
from shared.complaint import Attachment, Channel, Customer, Identity, Submission
from shared.errors import Unreadable, Untrusted
from shared.reading import from_seconds, one_line, tidy

TOLERANCE = 600  # seconds; the platform repeats within seconds, so anything older is a replay
BLOCK = 256  # bits: the platform pads to 32 bytes, not to the cipher's 16
MEDIA = {
    "image": ("image/jpeg", ".jpg"),
    "voice": ("audio/amr", ".amr"),
    "video": ("video/mp4", ".mp4"),
    "shortvideo": ("video/mp4", ".mp4"),
}
#: message type -> the fields that are the customer's words, in reading order
WORDS = {
    "text": ("Content",),
    "voice": ("Recognition",),
    "location": ("Label",),
    "link": ("Title", "Description", "Url"),
    "miniprogrampage": ("Title",),
}
#: fields that are not worth keeping beside what is read from them
ROUTINE = frozenset({"ToUserName", "FromUserName", "CreateTime", "MsgType", "MsgId", "MsgDataId", "Idx", "MediaId", "ThumbMediaId"})


class WeChatAdapter(Adapter):
    """Reads one message of an official account; `account` is the account's original id (gh_...)."""

    name = "wechat"
    channel = Channel.SOCIAL
    max_bytes = 256 << 10
    secrets = ("token", "app_id", "encoding_aes_key", "previous_encoding_aes_key")

    def verify(self, delivery: Delivery, secret: Mapping[str, str]) -> Delivery:
        token = needed(secret, "token", delivery.account)
        check_age(delivery)
        if not secret.get("encoding_aes_key"):
            check_signature(delivery, "signature", token)
            return delivery
        if "msg_signature" not in delivery.query:
            raise Untrusted(
                f"Account {delivery.account} has an encoding_aes_key, but this message came in plain mode, which anybody can forge. "
                "Choose secure mode (安全模式) in WeChat's console, or take encoding_aes_key out of DESK_ACCOUNTS."
            )
        try:
            sealed = read_fields(delivery.raw).get("Encrypt", "")
        except Unreadable:
            sealed = ""
        check_signature(delivery, "msg_signature", token, sealed)
        return msgspec.structs.replace(delivery, raw=unseal(sealed, secret, delivery.account))

    def parse(self, delivery: Delivery) -> tuple[Parsed, ...]:
        fields = read_fields(delivery.raw)
        sender, kind = fields.get("FromUserName", ""), fields.get("MsgType", "")
        if not kind and "Encrypt" in fields:
            raise Unreadable("The message is encrypted. Verify it first: add encoding_aes_key and app_id of the account to DESK_ACCOUNTS.")
        if not sender or not kind:
            raise Unreadable("The message has no FromUserName or no MsgType, so it is not one of WeChat's.")
        if kind == "event" or sender in {delivery.account, fields.get("ToUserName", "")}:
            return ()
        return (Parsed(submission=submission(fields, delivery.account)),)

    def handshake(self, delivery: Delivery, secret: Mapping[str, str]) -> Reply | None:
        """WeChat's check of the address: the signed echostr goes back as it came."""
        echo = delivery.query.get("echostr")
        if echo is None or delivery.raw:
            return None
        check_age(delivery)
        check_signature(delivery, "signature", needed(secret, "token", delivery.account))
        return Reply(body=echo.encode())

    def reply(self, delivery: Delivery) -> Reply:
        """An empty body: WeChat then neither repeats the message nor tells the follower of a fault. The answer follows as a message."""
        del delivery
        return Reply()


def needed(secret: Mapping[str, str], name: str, account: str) -> str:
    """A secret of the account. Raises Untrusted where there is none: without it everybody could sign."""
    value = secret.get(name, "")
    if not value:
        raise Untrusted(f"No {name} for the WeChat account {account}: add it to DESK_ACCOUNTS.")
    return value


def check_age(delivery: Delivery) -> None:
    """Refuse an address that was signed more than ten minutes from now. Raises Untrusted."""
    stamp = delivery.query.get("timestamp", "")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
        raise Untrusted("The query has no timestamp in seconds. Send the address's query as WeChat made it.")
    if abs(delivery.received_at.timestamp() - int(stamp)) > TOLERANCE:
        raise Untrusted("The timestamp is more than ten minutes away from now: a replay, or a wrong clock. Check the server's clock.")


def signature(*parts: str) -> str:
    """The platform's signature: SHA-1 (hex) of the parts sorted as strings and joined."""
    return hashlib.sha1("".join(sorted(parts)).encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


def check_signature(delivery: Delivery, name: str, token: str, *more: str) -> None:
    """Compare the query's signature in constant time. Raises Untrusted."""
    query = delivery.query
    wanted = signature(token, query.get("timestamp", ""), query.get("nonce", ""), *more)
    if not hmac.compare_digest(wanted.encode(), query.get(name, "").encode("utf-8", "surrogatepass")):
        raise Untrusted(f"The {name} does not fit. Compare the token of account {delivery.account} in DESK_ACCOUNTS with WeChat's console.")


def aes_key(encoded: str, account: str) -> bytes:
    """The 32 bytes of an EncodingAESKey (43 characters of base 64 without its '='). Raises Untrusted."""
    try:
        key = base64.b64decode(encoded + "=", validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 32:
        raise Untrusted(f"An encoding_aes_key of account {account} in DESK_ACCOUNTS is not the 43 characters of WeChat's console.")
    return key


def unseal(sealed: str, secret: Mapping[str, str], account: str) -> bytes:
    """The message inside Encrypt, tried with the current key and then the previous one. Raises Untrusted."""
    app_id = needed(secret, "app_id", account).encode()
    keys = [secret[name] for name in ("encoding_aes_key", "previous_encoding_aes_key") if secret.get(name)]
    for encoded in keys:
        message = decrypt(sealed, aes_key(encoded, account), app_id)
        if message is not None:
            return message
    raise Untrusted(f"The message cannot be decrypted. Compare app_id and encoding_aes_key of account {account} with WeChat's console.")


def decrypt(sealed: str, key: bytes, app_id: bytes) -> bytes | None:
    """The message, or None where key or app id do not fit. Layout: 16 random bytes, length (4, big-endian), message, app id, padding."""
    try:
        data = base64.b64decode(sealed, validate=True)
        decryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).decryptor()
        unpadder = padding.PKCS7(BLOCK).unpadder()
        plain = unpadder.update(decryptor.update(data) + decryptor.finalize()) + unpadder.finalize()
    except ValueError:
        return None
    end = 20 + int.from_bytes(plain[16:20], "big")
    if len(plain) < 20 or end > len(plain) or not hmac.compare_digest(plain[end:], app_id):
        return None
    return plain[20:end]


def seal(message: bytes, encoding_aes_key: str, app_id: str, salt: bytes) -> str:
    """The Encrypt field for a message: what the platform does, for answers in secure mode and for the demo. salt: 16 random bytes."""
    key = aes_key(encoding_aes_key, app_id)
    padder = padding.PKCS7(BLOCK).padder()
    plain = padder.update(salt[:16] + len(message).to_bytes(4, "big") + message + app_id.encode()) + padder.finalize()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    return base64.b64encode(encryptor.update(plain) + encryptor.finalize()).decode()


def read_fields(raw: bytes) -> dict[str, str]:
    """The top-level fields of a message, by tag. Entities, DTDs and other roots are refused. Raises Unreadable."""
    try:
        root = fromstring(raw, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise Unreadable(f"The body is not the XML that WeChat sends ({type(error).__name__}). Send it as WeChat made it.") from None
    if root.tag != "xml":
        raise Unreadable("The body's root element is not <xml>, so it is not one of WeChat's messages.")
    return {child.tag: child.text or "" for child in root}


def submission(fields: Mapping[str, str], account: str) -> Submission:
    """One message as a submission. A kind that is newer than this adapter is kept with all its fields and a note."""
    kind, openid = fields["MsgType"], fields["FromUserName"]
    message_id = fields.get("MsgId", "")
    known = kind in WORDS or kind in MEDIA
    words = WORDS.get(kind, ())
    attachments: tuple[Attachment, ...] = ()
    if media_id := fields.get("MediaId", ""):
        media_type, ending = MEDIA.get(kind, ("application/octet-stream", ""))
        if kind == "voice" and fields.get("Format"):
            media_type, ending = f"audio/{one_line(fields['Format']).lower()}", f".{one_line(fields['Format']).lower()}"
        attachments = (Attachment(filename=f"wechat-{kind}{ending}", media_type=media_type, remote_id=media_id),)
    besides = [(name, tidy(value)) for name, value in list(fields.items())[:40] if name not in ROUTINE and name not in words]
    extra = {one_line(name)[:60]: value[:2_000] for name, value in besides if value}
    stamp = fields.get("CreateTime", "").strip()
    return Submission(
        channel=Channel.SOCIAL,
        source="social/wechat",
        account=account,
        text="\n".join(filter(None, (tidy(fields.get(name, "")) for name in words))),
        external_id=message_id or f"{openid}:{stamp}:{signature(*(f'{name}={value}' for name, value in fields.items()))}",
        conversation=openid,
        sent_at=from_seconds(int(stamp)) if stamp.isascii() and stamp.isdigit() and len(stamp) <= 12 else None,
        customer=Customer(identities=(Identity("wechat", f"{account}:{openid}", verified=True),)),
        attachments=attachments,
        notes=() if known else ("unknown_type",),
        extra=extra if kind == "text" else {**extra, "message_type": one_line(kind)[:60]},
    )


ADAPTER = WeChatAdapter()
