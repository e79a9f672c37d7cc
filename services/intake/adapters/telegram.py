"""Telegram bots: what a person writes to the bot, edits included. Source: Telegram Bot API, "setWebhook" and "Update".

The platform proves itself by the secret token of setWebhook, which comes back in a header; it does not cover the body, so the token is
the whole lock. Files stay with Telegram under their file_id. Other bots, channel posts, button presses and membership changes carry no
complaint. A kind of content that is newer than this adapter is kept with a note.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Annotated

import msgspec

from services.intake.adapter import Adapter, Delivery, Parsed
from shared.complaint import Attachment, Channel, Customer, Identity, Submission
from shared.contacts import read_phone
from shared.errors import Unreadable, Untrusted
from shared.evidence import safe_name
from shared.reading import from_seconds, one_line, read_json, tidy

HEADER = "x-telegram-bot-api-secret-token"
#: beginnings of the names of service messages: the platform tells that something happened in the chat, nobody said anything
SERVICE = (
    "new_chat_",
    "left_chat_",
    "delete_chat_",
    "group_chat_",
    "supergroup_chat_",
    "channel_chat_",
    "chat_",
    "users_shared",
    "migrate_",
    "pinned_message",
    "message_auto_delete_",
    "forum_topic_",
    "general_forum_",
    "video_chat_",
    "giveaway",
    "boost_",
    "write_access_",
    "successful_payment",
    "refunded_payment",
    "connected_website",
    "passport_data",
    "proximity_alert_",
)
LANGUAGES = {"zh-hans": "zh-CN", "zh-cn": "zh-CN", "zh": "zh-CN", "zh-hant": "zh-TW", "zh-tw": "zh-TW", "zh-hk": "zh-TW"}


class User(msgspec.Struct):
    """Who wrote. Only `id` is sure; it may exceed 32 bits."""

    id: int
    is_bot: bool = False
    first_name: str = ""
    last_name: str = ""
    username: str = ""
    language_code: str = ""


class Chat(msgspec.Struct):
    """Where it was written: private, group, supergroup or channel."""

    id: int
    type: str = "private"


class File(msgspec.Struct):
    """Any of the platform's file objects; the fields they share."""

    file_id: Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,300}$")]
    file_unique_id: str = ""
    file_size: int = 0
    file_name: str = ""
    mime_type: str = ""
    emoji: str = ""


class Contact(msgspec.Struct):
    """A shared phone number; user_id tells whose account it belongs to."""

    phone_number: str
    user_id: int = 0


class Location(msgspec.Struct):
    """A point on the map, in degrees."""

    latitude: float
    longitude: float


class Message(msgspec.Struct, rename={"sender": "from"}):
    """What was written. A message has text, or media with a caption."""

    message_id: int
    chat: Chat
    date: int = 0
    sender: User | None = None
    text: str = ""
    caption: str = ""
    photo: list[File] = []
    document: File | None = None
    voice: File | None = None
    audio: File | None = None
    video: File | None = None
    video_note: File | None = None
    animation: File | None = None
    sticker: File | None = None
    contact: Contact | None = None
    location: Location | None = None
    media_group_id: str = ""


MEDIA = (
    ("document", "application/octet-stream", ""),
    ("voice", "audio/ogg", ".ogg"),
    ("audio", "audio/mpeg", ".mp3"),
    ("video", "video/mp4", ".mp4"),
    ("video_note", "video/mp4", ".mp4"),
    ("animation", "video/mp4", ".mp4"),
)
#: the update's field -> whether it is an edit of something said before
SAID = {"message": False, "edited_message": True, "business_message": False, "edited_business_message": True}
UPDATE = msgspec.json.Decoder(dict[str, msgspec.Raw])
NUMBER = msgspec.json.Decoder(int)
MESSAGE = msgspec.json.Decoder(Message)
KEYS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class TelegramAdapter(Adapter):
    """Reads one update of a bot; `account` is the bot's name in DESK_ACCOUNTS."""

    name = "telegram"
    channel = Channel.SOCIAL
    max_bytes = 1 << 20
    secrets = ("secret_token",)

    def verify(self, delivery: Delivery, secret: Mapping[str, str]) -> Delivery:
        token = secret.get("secret_token", "")
        if not token:
            raise Untrusted(f"No secret_token for the Telegram account {delivery.account}: add it to DESK_ACCOUNTS and to setWebhook.")
        given = delivery.headers.get(HEADER, "")
        if not hmac.compare_digest(token.encode(), given.encode("utf-8", "surrogatepass")):
            raise Untrusted(f"The header {HEADER} is missing or wrong. Give setWebhook the secret_token of account {delivery.account}.")
        return delivery

    def parse(self, delivery: Delivery) -> tuple[Parsed, ...]:
        update = read_json(UPDATE, delivery.raw)
        if "update_id" not in update:
            raise Unreadable("The body has no update_id, so it is not one of Telegram's updates.")
        update_id = read_json(NUMBER, bytes(update["update_id"]))
        for name, edited in SAID.items():
            if name in update:
                raw = bytes(update[name])
                message = read_json(MESSAGE, raw)
                service = any(key.startswith(SERVICE) for key in read_json(KEYS, raw))
                return () if service else said(message, update_id, delivery.account, ("edited",) if edited else ())
        return ()


def said(message: Message, update_id: int, account: str, notes: tuple[str, ...]) -> tuple[Parsed, ...]:
    """The message as a submission, or nothing where no customer said anything. Content newer than this adapter is kept with a note."""
    sender, chat = message.sender, message.chat
    text = tidy(message.text or message.caption or (message.sticker.emoji if message.sticker else ""))
    attachments = evidence(message)
    if sender is None or sender.is_bot or chat.type == "channel" or text == "/start" or text.startswith("/start "):
        return ()
    if not (text or attachments or message.contact or message.location):
        notes = (*notes, "unknown_type")
    private = chat.type == "private"
    if private and sender.id != chat.id:
        return ()  # a business account's own words come back this way
    extra = {"username": one_line(sender.username), "album": one_line(message.media_group_id)}
    if message.location:
        extra |= {"latitude": str(message.location.latitude), "longitude": str(message.location.longitude)}
    submission = Submission(
        channel=Channel.SOCIAL,
        source="social/telegram",
        account=account,
        text=text,
        external_id=f"{update_id}:{message.message_id}",
        conversation=str(chat.id),
        sent_at=from_seconds(message.date),
        customer=Customer(name=one_line(f"{sender.first_name} {sender.last_name}"), identities=identities(message, account, sender.id)),
        language=LANGUAGES.get(sender.language_code.lower(), one_line(sender.language_code)[:35]),
        attachments=attachments,
        notes=notes if private else (*notes, "group"),
        extra={name: value for name, value in extra.items() if value},
    )
    return (Parsed(submission=submission),)


def identities(message: Message, account: str, user: int) -> tuple[Identity, ...]:
    """The platform's own id, and a phone number the person shared: proven where Telegram says that it is the sender's."""
    known = [Identity("telegram", f"{account}:{user}", verified=True)]
    if message.contact:
        typed = message.contact.phone_number
        number, _ = read_phone(typed if typed.startswith("+") else f"+{typed}")
        if number:
            own = message.sender is not None and message.contact.user_id == message.sender.id
            known.append(Identity("phone", number, verified=own))
    return tuple(known)


def evidence(message: Message) -> tuple[Attachment, ...]:
    """The largest size of a photo, and every other file, left with Telegram."""
    found: list[Attachment] = []
    if message.photo:
        largest = max(message.photo, key=lambda size: size.file_size)
        found.append(attachment(largest, "image/jpeg", f"photo-{largest.file_unique_id}.jpg"))
    for name, media_type, ending in MEDIA:
        file: File | None = getattr(message, name)
        # an animation comes as a document too, under the same id
        if file and all(file.file_id != earlier.remote_id for earlier in found):
            declared = one_line(file.mime_type).lower()
            found.append(attachment(file, declared or media_type, file.file_name or f"{name}-{file.file_unique_id}{ending}"))
    return tuple(found)


def attachment(file: File, media_type: str, filename: str) -> Attachment:
    """One file; its type is what Telegram says, to be checked when the bytes are fetched."""
    return Attachment(filename=safe_name(filename, ""), media_type=media_type[:100], size=max(0, file.file_size), remote_id=file.file_id)


ADAPTER = TelegramAdapter()
