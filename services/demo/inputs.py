"""What the demo sends: raw bytes as each channel would deliver them. Every name, number and address is made up."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import struct
import zlib
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, formataddr

import msgspec
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

CARE = "care@shop.example"
WECHAT_ACCOUNT, WECHAT_TOKEN, WECHAT_APP = "gh_demo_shop", "demoToken", "wx_demo_app"
WECHAT_AES_KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
TELEGRAM_ACCOUNT, TELEGRAM_SECRET = "demo_bot", "demo-secret-token"


def photo(red: int, green: int, blue: int, side: int = 48) -> bytes:
    """A small PNG of one colour: evidence with real bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\x00" + bytes((red, green, blue)) * side for _ in range(side))
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def mail_gbk() -> bytes:
    """A mail as an older Chinese client writes it: GBK bytes under the label gb2312, which cannot say 镕."""
    subject = base64.b64encode("退款一直没有到账，订单 202611180012345678".encode("gbk")).decode()
    name = base64.b64encode("朱镕".encode("gbk")).decode()
    body = (
        "你好，\r\n\r\n我 11 月 10 日就把鞋子退回去了，你们 13 日签收，到今天退款还没有到账。\r\n"
        "订单号 202611180012345678，请尽快把 389 元退给我，不然我打 12315。\r\n\r\n朱镕\r\n13800001234\r\n"
    )
    head = (
        f"From: =?gb2312?B?{name}?= <zhurong@mail.example>\r\nTo: {CARE}\r\nSubject: =?gb2312?B?{subject}?=\r\n"
        f"Date: {format_datetime(datetime.now(UTC))}\r\nMessage-ID: <demo-1.{secrets.token_hex(4)}@mail.example>\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=gb2312\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    )
    return head.encode() + body.encode("gbk")


def mail(sender: tuple[str, str], subject: str, text: str, *, picture: bytes = b"", **headers: str) -> bytes:
    """An ordinary mail, with a photo where one is given; further headers with _ for -."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = formataddr(sender), headers.pop("To", CARE), subject
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = f"<demo.{secrets.token_hex(6)}@mail.example>"
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    message.set_content(text)
    if picture:
        message.add_attachment(picture, maintype="image", subtype="png", filename="照片.png")
    return message.as_bytes()


def form(fields: dict[str, str], picture: bytes) -> tuple[bytes, str]:
    """A browser's multipart form with a photo: (body, content type)."""
    boundary = "----desk" + secrets.token_hex(8)
    parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode() for k, v in fields.items()]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="evidence"; filename="少了一件.png"\r\nContent-Type: image/png\r\n\r\n'
    parts.append(head.encode() + picture + b"\r\n")
    return b"".join(parts) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def wechat(openid: str, text: str, message_id: int) -> tuple[str, bytes]:
    """A follower's message in secure mode: (query string, body)."""
    now = int(datetime.now(UTC).timestamp())
    xml = (
        f"<xml><ToUserName><![CDATA[{WECHAT_ACCOUNT}]]></ToUserName><FromUserName><![CDATA[{openid}]]></FromUserName>"
        f"<CreateTime>{now}</CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[{text}]]></Content><MsgId>{message_id}</MsgId></xml>"
    ).encode()
    key = base64.b64decode(WECHAT_AES_KEY + "=")
    plain = os.urandom(16) + struct.pack(">I", len(xml)) + xml + WECHAT_APP.encode()
    padder = padding.PKCS7(256).padder()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    encrypted = base64.b64encode(encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()).decode()
    nonce = secrets.token_hex(4)
    signature = hashlib.sha1("".join(sorted((WECHAT_TOKEN, str(now), nonce, encrypted))).encode()).hexdigest()  # noqa: S324 - the platform's own scheme
    query = f"timestamp={now}&nonce={nonce}&encrypt_type=aes&msg_signature={signature}&signature=unused"
    return query, f"<xml><ToUserName><![CDATA[{WECHAT_ACCOUNT}]]></ToUserName><Encrypt><![CDATA[{encrypted}]]></Encrypt></xml>".encode()


def telegram(chat: int, name: str, language: str, text: str, update: int) -> bytes:
    """A person's message to the bot."""
    who = {"id": chat, "is_bot": False, "first_name": name, "language_code": language}
    message = {
        "message_id": update,
        "date": int(datetime.now(UTC).timestamp()),
        "chat": {"id": chat, "type": "private"},
        "from": who,
        "text": text,
    }
    return msgspec.json.encode({"update_id": 880_000 + update, "message": message})


def call(**entry: str) -> bytes:
    """A phone-log entry as an agent's program posts it."""
    return msgspec.json.encode({"direction": "in", "agent": "客服 017", "started_at": datetime.now(UTC).isoformat(), **entry})
