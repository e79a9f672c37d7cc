"""The fixture cases of the adapters that come with the desk, and how the signed ones were signed.

    python -m tests.adapters.write_fixtures        writes raw and meta files anew, and blesses: read the diff before you commit it

Cases that need no signature can be added by hand as files; this script leaves files alone that it does not know.
"""

from __future__ import annotations

import base64
import json
import struct
import sys
import zlib
from datetime import UTC, datetime
from urllib.parse import urlencode

from services.intake import registry
from services.intake.adapters import webhook, wechat
from services.intake.cases import Case, Meta, bless, fixtures_of, save

NOW = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
STAMP = "1700000000"
JSON = {"content-type": "application/json"}
BOUNDARY = "----DeskFormBoundary7MA4"
MULTIPART = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
URLENCODED = {"content-type": "application/x-www-form-urlencoded"}


def main() -> None:
    for name, cases in all_cases().items():
        adapter = registry.get(name)
        for case in cases:
            save(fixtures_of(adapter), case)
        changed = ", ".join(bless(adapter, fixtures_of(adapter))) or "none"
        sys.stdout.write(f"{name}: {len(cases)} cases; changed: {changed}\n")


def all_cases() -> dict[str, list[Case]]:
    return {
        "web_form": web_form_cases(),
        "phone": phone_cases(),
        "wechat": wechat_cases(),
        "telegram": telegram_cases(),
        "webhook": webhook_cases(),
    }


def dumps(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


# --- web form ---------------------------------------------------------------------------------------------------------------------


def png(red: int) -> bytes:
    """A picture of one point."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes((0, red, 0, 0)))) + chunk(b"IEND", b"")


def multipart(fields: dict[str, str], files: list[tuple[str, bytes, str]], boundary: str = BOUNDARY) -> bytes:
    parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode() for k, v in fields.items()]
    for filename, content, declared in files:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="evidence"; filename="{filename}"\r\nContent-Type: {declared}\r\n\r\n'
        parts.append(head.encode() + content + b"\r\n")
    return b"".join(parts) + f"--{boundary}--\r\n".encode()


FULL_FORM = {
    "text": "11月1日下单的电饭煲到现在还没发货，客服每次都说“再等等”。\r\n我要求今天给出准确的发货时间，否则退款。",
    "name": "王小明",
    "email": "Wang.XM@Example.com",
    "phone": "138 0013 8000",
    "order_number": "DD20231101-88321",
    "purchased_at": "2023-11-01",
    "product": "电饭煲",
    "model": "RC-40",
    "demand": "今天发货，否则退款",
    "wanted_by": "11月15日前",
    "mood": "angry",
    "category_hint": "logistics_delay",
    "language": "zh-CN",
    "consent": "2023-10",
}
SHORT_FORM = {"text": "收到的杯子是碎的。", "phone": "13800138000"}
ENGLISH_FORM = {"text": "The parcel says delivered, but nothing arrived.", "email": "ann@example.org", "order_number": "DD20231102-10077"}


def web_form_cases() -> list[Case]:
    def case(name: str, raw: bytes, headers: dict[str, str] = JSON, same_as: str = "") -> Case:
        return Case(name=name, raw=raw, meta=Meta(account="shop", received_at=NOW, headers=headers, same_as=same_as))

    photo, second = ("碎杯子.png", png(200), "image/png"), ("../..\\etc/evil\u202egnp.exe", png(90), "application/x-msdownload")
    evidence = multipart(SHORT_FORM, [photo])
    other = {"content-type": "multipart/form-data; boundary=----OtherBoundary0000001"}
    again = evidence.replace(b"DeskFormBoundary7MA4", b"OtherBoundary0000001")
    return [
        case("json_full", dumps(FULL_FORM)),
        case("json_short", dumps(SHORT_FORM)),
        case("json_english", dumps(ENGLISH_FORM)),
        case("json_traditional", dumps({"text": "發票抬頭開錯了，請重開電子發票。", "email": "lin@example.com.tw", "language": "zh-TW"})),
        case("json_form_id", dumps({**SHORT_FORM, "form_id": "5b0d", "altcha": "first"})),
        case("json_form_id_again", dumps({**SHORT_FORM, "form_id": "5b0d", "altcha": "second"}), same_as="json_form_id"),
        case("json_honeypot", dumps({**ENGLISH_FORM, "website": "http://spam.example"})),
        case("json_phone_unusable", dumps({"text": "没人回电话！", "phone": "打我座机"})),
        case("json_landline", dumps({"text": "维修师傅没来。", "phone": "（021）6234-5678 转 8001"})),
        case("json_full_width", dumps({"text": "退款还没到账。", "phone": "１３８００１３８００１", "email": "ｌｉ＠example.com"})),
        case("json_controls", dumps({"text": "坏\x00了\x07。\r\n\r\n请换货。", "name": "李\x00四", "phone": "13800138002"})),
        case("json_no_text", dumps({"phone": "13800138000"})),
        case("json_blank_text", dumps({"text": " \n ", "phone": "13800138000"})),
        case("json_no_contact", dumps({"text": "没有留下联系方式。"})),
        case("json_email_unusable", dumps({"text": "没有收到货。", "email": "li@"})),
        case("json_unknown_field", dumps({**SHORT_FORM, "order_no": "1"})),
        case("json_wrong_type", dumps({**SHORT_FORM, "phone": 13800138000})),
        case("json_too_long", dumps({**SHORT_FORM, "order_number": "9" * 201})),
        case("json_truncated", dumps(FULL_FORM)[:200]),
        case("json_gbk", '{"text":"没收到货","phone":"13800138000"}'.encode("gbk")),
        case("empty", b""),
        case("other_type", b"text=hello", {"content-type": "text/plain"}),
        case("multipart_photo", evidence, MULTIPART),
        case("multipart_again", again, other, same_as="multipart_photo"),
        case("multipart_two_files", multipart({**SHORT_FORM, "_csrf_token": "a1", "store": "南京路店"}, [photo, second]), MULTIPART),
        case("multipart_no_file_chosen", multipart(ENGLISH_FORM, [("", b"", "application/octet-stream")]), MULTIPART),
        case("multipart_program", multipart(SHORT_FORM, [("photo.png", b"MZ\x90\x00 not a picture", "image/png")]), MULTIPART),
        case("multipart_ten_files", multipart(SHORT_FORM, [(f"{n}.png", png(n), "image/png") for n in range(10)]), MULTIPART),
        case("multipart_truncated", evidence[:-40], MULTIPART),
        case("multipart_no_boundary", evidence, {"content-type": "multipart/form-data"}),
        case("multipart_undeclared", multipart(FULL_FORM, []), {}),
        case("urlencoded", urlencode({**SHORT_FORM, "consent": "on"}).encode(), URLENCODED),
        case("urlencoded_gbk", urlencode({"text": "少发了一件", "phone": "13900139000"}, encoding="gbk").encode(), URLENCODED),
        case("urlencoded_twice", urlencode([*SHORT_FORM.items(), ("phone", "13900139000")]).encode(), URLENCODED),
    ]


# --- phone ------------------------------------------------------------------------------------------------------------------------

CALL = {
    "direction": "in",
    "caller": "010-62345678转8001",
    "callee": "400-820-0000",
    "started_at": "2023-11-14T18:00:00+08:00",
    "answered_at": "2023-11-14T18:00:12+08:00",
    "ended_at": "2023-11-14T18:06:41+08:00",
    "agent": "坐席 0137",
    "verbatim": "客户说空调装好三天就不制冷，报修两次都没人上门，要求退货。",
    "caller_name": "赵女士",
    "order_number": "DD20231020-00419",
    "product": "空调",
    "demand": "退货退款",
    "mood": "furious",
    "callback": "13700137000",
    "consent": "recording",
    "call_id": "1699956000.4711",
    "language": "zh-CN",
}


def phone_cases() -> list[Case]:
    def case(name: str, value: object, same_as: str = "") -> Case:
        raw = value if isinstance(value, bytes) else dumps(value)
        return Case(name=name, raw=raw, meta=Meta(account="hotline", received_at=NOW, headers=JSON, same_as=same_as))

    out = {**CALL, "direction": "out", "caller": "400-820-0000", "callee": "13600136000", "callback": "", "call_id": "2"}
    return [
        case("inbound", CALL),
        case("inbound_reformatted", json.dumps(CALL, indent=2, sort_keys=True).encode(), same_as="inbound"),
        case("same_call_second_trouble", {**CALL, "verbatim": "同一通电话里还投诉：安装师傅态度恶劣。"}),
        case("outbound", out),
        case(
            "several",
            [
                CALL | {"call_id": "3"},
                {"verbatim": "少发了一袋猫粮。", "caller": "13500135000"},
                {"verbatim": "不肯留名，投诉快递员骂人。"},
            ],
        ),
        case("anonymous", {"verbatim": "匿名来电：门店价签和收银价不一致。", "caller": "anonymous", "started_at": "2023-11-14T10:00:00"}),
        case("number_unusable", {"verbatim": "号码显示不全。", "caller": "0x?77"}),
        case("no_offset", {"verbatim": "没收到发票。", "caller": "13800138000", "started_at": "2023-11-14 18:00:00"}),
        case("english", {"verbatim": "Caller has waited nine days for a refund.", "caller": "+44 20 7946 0958", "language": "en"}),
        case("empty_list", []),
        case("no_verbatim", {**CALL, "verbatim": "  "}),
        case("times_reversed", {**CALL, "ended_at": "2023-11-14T17:00:00+08:00"}),
        case("year_9999", {**CALL, "started_at": "9999-12-31T23:59:59-08:00"}),
        case("bad_time", {**CALL, "started_at": "2023/11/14 18:00"}),
        case("one_of_several_bad", [CALL, {"caller": "13500135000"}]),
        case("unknown_field", {**CALL, "oder_number": "1"}),
        case("unknown_direction", {**CALL, "direction": "sideways"}),
        case("truncated", dumps(CALL)[:150]),
        case("empty", b""),
    ]


# --- wechat -----------------------------------------------------------------------------------------------------------------------

TOKEN, APP_ID = "demoToken", "wxdemo0123456789ab"
AES_KEY, OLD_AES_KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG", "GFEDCBA9876543210zyxwvutsrqponmlkjihgfedcbA"
PLAIN_SECRET = {"token": TOKEN, "app_id": APP_ID}
AES_SECRET = {**PLAIN_SECRET, "encoding_aes_key": AES_KEY}
SALT = b"0123456789abcdef"


def message(kind: str, message_id: str = "24000000000000001", sender: str = "oDemoOpenId", **fields: str) -> bytes:
    inner = "".join(f"<{name}><![CDATA[{value}]]></{name}>" for name, value in fields.items())
    number = f"<MsgId>{message_id}</MsgId>" if message_id else ""
    return (
        f"<xml><ToUserName><![CDATA[gh_demo]]></ToUserName><FromUserName><![CDATA[{sender}]]></FromUserName>"
        f"<CreateTime>{STAMP}</CreateTime><MsgType><![CDATA[{kind}]]></MsgType>{inner}{number}</xml>"
    ).encode()


def wechat_query(stamp: str = STAMP, nonce: str = "nonce01") -> dict[str, str]:
    return {"signature": wechat.signature(TOKEN, stamp, nonce), "timestamp": stamp, "nonce": nonce}


def sealed(xml: bytes, key: str = AES_KEY, app_id: str = APP_ID) -> tuple[bytes, dict[str, str]]:
    """Body and query of a message in secure mode."""
    secret = wechat.seal(xml, key, app_id, SALT)
    query = {**wechat_query(), "encrypt_type": "aes", "msg_signature": wechat.signature(TOKEN, STAMP, "nonce01", secret)}
    return f"<xml><ToUserName><![CDATA[gh_demo]]></ToUserName><Encrypt><![CDATA[{secret}]]></Encrypt></xml>".encode(), query


def wechat_cases() -> list[Case]:
    def case(name: str, raw: bytes, query: dict[str, str] | None = None, secret: dict[str, str] = PLAIN_SECRET, same_as: str = "") -> Case:
        headers = {"content-type": "text/xml"}
        query = wechat_query() if query is None else query
        return Case(
            name=name, raw=raw, meta=Meta(account="gh_demo", received_at=NOW, headers=headers, query=query, secret=secret, same_as=same_as)
        )

    text = message("text", Content="没收到货")
    body, query = sealed(text)
    old_body, old_query = sealed(message("text", "24000000000000002", Content="換貨三週了還沒下文，到底什麼時候處理？"), OLD_AES_KEY)
    other_body, other_query = sealed(text, app_id="wxsomebodyelse00000")
    flip = {**query, "msg_signature": "8" + query["msg_signature"][1:]}
    hello = {**wechat_query(), "echostr": "7231956839283"}
    return [
        case("text", text),
        case("text_repeated", text, wechat_query("1700000004", "nonce02"), same_as="text"),
        case("text_second", message("text", "24000000000000003", Content="订单 DD20231101-88321，请尽快处理\n谢谢")),
        case("menu_message", message("text", "24000000000000004", Content="人工客服", bizmsgmenuid="101")),
        case("aes_text", body, query, AES_SECRET, same_as="text"),
        case("aes_previous_key", old_body, old_query, {**AES_SECRET, "previous_encoding_aes_key": OLD_AES_KEY}),
        case("image", message("image", "24000000000000005", PicUrl="http://mmbiz.qpic.cn/demo", MediaId="media-image-1")),
        case("voice", message("voice", "24000000000000006", MediaId="media-voice-1", Format="amr", Recognition="你们送来的牛奶过期了")),
        case("voice_unrecognised", message("voice", "24000000000000007", MediaId="media-voice-2", Format="speex")),
        case("video", message("video", "24000000000000008", MediaId="media-video-1", ThumbMediaId="thumb-1")),
        case("shortvideo", message("shortvideo", "24000000000000009", MediaId="media-video-2", ThumbMediaId="thumb-2")),
        case("location", message("location", "24000000000000010", Location_X="31.23", Location_Y="121.47", Label="上海市黄浦区")),
        case("link", message("link", "24000000000000011", Title="商品页", Description="写着包邮", Url="https://shop.example/p/1")),
        case("miniprogram", message("miniprogrampage", "24000000000000012", AppId="wx1", Title="我的订单", PagePath="pages/order?id=1")),
        case("no_message_id", message("text", "", Content="快递员把包裹扔在雨里")),
        case("unknown_type", message("hologram", "24000000000000013", Content="新式消息", Depth="3")),
        case("subscribe", message("event", "", Event="subscribe", EventKey="")),
        case("menu_click", message("event", "", Event="CLICK", EventKey="complaint")),
        case("own_echo", message("text", "24000000000000014", sender="gh_demo", Content="您好，已收到")),
        case("handshake", b"", hello),
        case("handshake_forged", b"", {**hello, "signature": "0" * 40}),
        case("handshake_stale", b"", {**wechat_query("1699999000"), "echostr": "7231956839283"}),
        case("flipped_signature", text, {**wechat_query(), "signature": "a" + wechat_query()["signature"][1:]}),
        case("aes_flipped_signature", body, flip, AES_SECRET),
        case("aes_flipped_byte", body.replace(b"CDATA[Q3st", b"CDATA[Q3su"), query, AES_SECRET),
        case("aes_other_app", other_body, other_query, AES_SECRET),
        case("aes_no_key_fits", old_body, old_query, AES_SECRET),
        case("aes_account_plain_message", text, None, AES_SECRET),
        case("aes_key_misspelt", body, query, {**AES_SECRET, "encoding_aes_key": "short"}),
        case("encrypted_but_no_key", body, query, PLAIN_SECRET),
        case("missing_query", text, {}),
        case("old_timestamp", text, wechat_query("1699999000")),
        case("odd_timestamp", text, {**wechat_query(), "timestamp": "１７００００００００"}),
        case("no_secrets", text, None, {}),
        case("truncated", text[:-9]),
        case("empty", b""),
        case("entities", b'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/hostname">]><xml><Content>&f;</Content></xml>'),
        case("other_xml", b"<rss><channel/></rss>"),
        case("no_sender", b"<xml><MsgType>text</MsgType><Content>x</Content></xml>"),
    ]


# --- telegram ---------------------------------------------------------------------------------------------------------------------

BOT_SECRET = {"secret_token": "s3cret_Token-01"}
BOT_HEADERS = {"content-type": "application/json", "x-telegram-bot-api-secret-token": "s3cret_Token-01"}
PERSON = {"id": 777, "is_bot": False, "first_name": "Li", "last_name": "Na", "username": "lina", "language_code": "zh-hans"}
GROUP = {"id": -1001234567890, "type": "supergroup", "title": "buyers"}


def update(number: int, field: str = "message", **content: object) -> bytes:
    base = {"message_id": number - 9946, "date": 1700000000, "chat": {"id": 777, "type": "private"}, "from": PERSON}
    return dumps({"update_id": number, field: base | content})


def telegram_cases() -> list[Case]:
    def case(name: str, raw: bytes, headers: dict[str, str] = BOT_HEADERS, secret: dict[str, str] = BOT_SECRET, same_as: str = "") -> Case:
        return Case(name=name, raw=raw, meta=Meta(account="desk_bot", received_at=NOW, headers=headers, secret=secret, same_as=same_as))

    text = update(10001, text="坏了，要求换货")
    photo = [{"file_id": "f1", "file_unique_id": "u1", "file_size": 900}, {"file_id": "f2", "file_unique_id": "u2", "file_size": 9000}]
    document = {"file_id": "d1", "file_name": "发票\u202e.pdf", "mime_type": "application/pdf", "file_size": 4096}
    voice = {"file_id": "v1", "file_unique_id": "w1", "duration": 9, "mime_type": "audio/ogg", "file_size": 30000}
    wide = {"id": 5_000_000_000, "is_bot": False, "first_name": "Ann"}
    bot = {"id": 99, "is_bot": True, "first_name": "Desk"}
    return [
        case("text", text),
        case("text_repeated", text, same_as="text"),
        case("edited", update(10002, "edited_message", message_id=55, text="坏了，要求退货", edit_date=1700000060)),
        case("photo_caption", update(10003, photo=photo, caption="屏幕有裂痕", media_group_id="g1")),
        case(
            "document",
            update(10004, document=document),
        ),
        case(
            "voice",
            update(10005, voice=voice),
        ),
        case("video", update(10006, video={"file_id": "v2", "file_unique_id": "w2", "mime_type": "video/mp4"}, caption="开箱视频")),
        case(
            "animation",
            update(10007, animation={"file_id": "a1"}, document={"file_id": "a1", "file_name": "a.mp4"}),
        ),
        case("own_number", update(10008, contact={"phone_number": "8613800138000", "first_name": "Li", "user_id": 777})),
        case("other_number", update(10009, contact={"phone_number": "+8613900139000", "first_name": "Wu", "user_id": 778})),
        case("location", update(10010, location={"latitude": 31.23, "longitude": 121.47})),
        case("sticker", update(10011, sticker={"file_id": "s1", "emoji": "😡"})),
        case("large_ids", update(10012, **{"from": wide}, chat={"id": 5_000_000_000, "type": "private"}, text="Where is my refund?")),
        case("group", update(10013, chat=GROUP, text="@desk_bot 发货太慢")),
        case("unknown_type", update(10014, hologram={"file_id": "h1"})),
        case("traditional", update(10015, **{"from": PERSON | {"language_code": "zh-hant"}}, text="客服態度很差，請主管回電")),
        case("business", update(10016, "business_message", business_connection_id="b1", text="少发一件")),
        case("business_own_echo", update(10017, "business_message", **{"from": PERSON | {"id": 12}}, text="您好，马上处理")),
        case("start", update(10018, text="/start")),
        case("service", update(10019, pinned_message={"message_id": 1})),
        case("own_echo", update(10020, **{"from": bot}, text="已收到")),
        case("channel_post", update(10021, "channel_post", text="公告")),
        case("button", dumps({"update_id": 10022, "callback_query": {"id": "1", "from": PERSON, "data": "yes"}})),
        case("blocked", dumps({"update_id": 10023, "my_chat_member": {"chat": {"id": 777}, "date": 1700000000}})),
        case("flipped_byte", text, {**BOT_HEADERS, "x-telegram-bot-api-secret-token": "s3cret_Token-02"}),
        case("missing_header", text, JSON),
        case("no_secrets", text, secret={}),
        case("empty_secret", text, {**BOT_HEADERS, "x-telegram-bot-api-secret-token": ""}, {"secret_token": ""}),
        case("truncated", text[:60]),
        case("empty", b""),
        case("no_update_id", dumps({"message": {}})),
        case("no_chat", dumps({"update_id": 1, "message": {"message_id": 1}})),
    ]


# --- webhook ----------------------------------------------------------------------------------------------------------------------

HOOK_SECRET = {"secret": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"}
OLD_HOOK_SECRET = "whsec_" + base64.b64encode(b"an older key of thirty-two bytes").decode()
PUSHED = {
    "channel": "chat",
    "source": "taobao",
    "external_id": "tb-100001",
    "conversation": "tb-c-77",
    "customer": {"name": "陈先生", "phone": "13811112222", "identities": [{"kind": "taobao", "value": "tb_chen77"}], "tier": "vip"},
    "text": "少发了两瓶洗发水，只收到一瓶。",
    "subject": "少发",
    "sent_at": "2023-11-15T06:13:00+08:00",
    "order_number": "TB2023111400077",
    "product": "洗发水 500ml",
    "demand": "补发",
    "extra": {"store": "旗舰店"},
}


def signed(body: bytes, stamp: str = STAMP, message_id: str = "msg_1", keys: tuple[str, ...] = (HOOK_SECRET["secret"],)) -> dict[str, str]:
    words = [webhook.sign(webhook.read_key(key, ""), message_id, stamp, body) for key in keys]
    return {**JSON, "webhook-id": message_id, "webhook-timestamp": stamp, "webhook-signature": " ".join(words)}


def webhook_cases() -> list[Case]:
    def case(
        name: str, value: object, headers: dict[str, str] | None = None, secret: dict[str, str] = HOOK_SECRET, same_as: str = ""
    ) -> Case:
        raw = value if isinstance(value, bytes) else dumps(value)
        headers = signed(raw) if headers is None else headers
        return Case(name=name, raw=raw, meta=Meta(account="erp", received_at=NOW, headers=headers, secret=secret, same_as=same_as))

    body = dumps(PUSHED)
    small = {"channel": "social", "source": "weibo", "external_id": "wb-1", "text": "@客服 三天了没人理"}
    picture = {"filename": "a.png", "content": base64.b64encode(png(9)).decode()}
    claim = dumps({**PUSHED, "external_id": "tb-100003"})
    there = {"remote_id": "oss://bucket/1.jpg", "media_type": "image/jpeg"}
    good = signed(body)
    flip = {**good, "webhook-signature": "v1,A" + good["webhook-signature"][4:]}
    rotating = {"secret": f"{HOOK_SECRET['secret']} {OLD_HOOK_SECRET}"}
    return [
        case("chat", body),
        case("chat_repeated", body, signed(body, "1700000030"), same_as="chat"),
        case("smallest", small),
        case("trusted", {**PUSHED, "external_id": "tb-100002"}, secret={**HOOK_SECRET, "trusted": "yes"}),
        case("claims_trust", claim, {**signed(claim), "desk: trusted": "yes"}),
        case("with_file", {**small, "external_id": "wb-2", "attachments": [picture]}),
        case(
            "file_kept_there",
            {**small, "external_id": "wb-3", "text": "", "attachments": [there]},
        ),
        case("unusable_contacts", {**small, "external_id": "wb-4", "customer": {"email": "nobody", "phone": "—"}}),
        case("two_signatures", body, signed(body, keys=(OLD_HOOK_SECRET, HOOK_SECRET["secret"])), same_as="chat"),
        case("old_key_while_rotating", body, signed(body, keys=(OLD_HOOK_SECRET,)), rotating, same_as="chat"),
        case("flipped_byte", body.replace("两瓶".encode(), "三瓶".encode()), good),
        case("flipped_signature", body, flip),
        case("serialised_anew", json.dumps(PUSHED).encode(), good),
        case("missing_header", body, {name: value for name, value in good.items() if name != "webhook-id"}),
        case("old_timestamp", body, signed(body, "1699999000")),
        case("future_timestamp", body, signed(body, "1700001000")),
        case("odd_timestamp", body, signed(body, "soon")),
        case("unknown_version", body, {**good, "webhook-signature": good["webhook-signature"].replace("v1,", "v9,")}),
        case("no_secrets", body, secret={}),
        case("short_secret", body, secret={"secret": "whsec_YWJj"}),
        case("unknown_channel", {**small, "channel": "pigeon"}),
        case("unknown_field", {**small, "colour": "red"}),
        case("no_external_id", {name: value for name, value in small.items() if name != "external_id"}),
        case("no_text", {**small, "text": " "}),
        case("bad_source", {**small, "source": "Wei Bo/1"}),
        case("phone_as_identity", {**small, "customer": {"identities": [{"kind": "phone", "value": "13800138000"}]}}),
        case("file_without_bytes", {**small, "attachments": [{"filename": "a.png"}]}),
        case("truncated", body[:99]),
        case("empty", b""),
    ]


if __name__ == "__main__":
    main()
