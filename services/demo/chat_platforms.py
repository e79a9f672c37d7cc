"""Stand-ins for WeChat and Telegram on loopback: they take what our senders send, keep it, and answer as the platforms do, errors too.

Handlers for `HttpPeer`. Never part of a running desk. The answers follow the platforms' own documents: for WeChat "Get stable access
token" and "Send customer service message", for Telegram the Bot API's sendMessage.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

from services.demo.http_peer import Answer, Request


class ChatMessage(NamedTuple):
    account: str
    recipient: str
    text: str


class ChatPlatform:
    """What both have in common: the messages taken and what goes wrong next.

    busy: answers that many messages with "come back later". cut_after_send: takes that many and hangs up before it says so.
    unknown: recipients that do not exist (or do not follow). closed: recipients who may not be written to now (window, block).
    """

    def __init__(self, keep: int = 10_000) -> None:
        self.messages: deque[ChatMessage] = deque(maxlen=keep)
        self.count = 0
        self.busy = 0
        self.cut_after_send = 0
        self.unknown: set[str] = set()
        self.closed: set[str] = set()

    def due(self, counter: str) -> bool:
        left = int(getattr(self, counter))
        if left > 0:
            setattr(self, counter, left - 1)
        return left > 0

    def take(self, message: ChatMessage, answer: Any) -> Answer:
        self.messages.append(message)
        self.count += 1
        return Answer(answer, cut=self.due("cut_after_send"))

    def clear(self) -> None:
        self.messages.clear()
        self.count = 0


class WeChatPlatform(ChatPlatform):
    """An official account's side of WeChat. `refuse_code` answers every message with that errcode; `tokens_issued` counts real renewals."""

    def __init__(self, accounts: dict[str, str] | None = None, keep: int = 10_000) -> None:
        super().__init__(keep)
        self.accounts = accounts or {"wx_demo_app": "demo-app-secret"}
        self.tokens: dict[str, str] = {}
        self.tokens_issued = 0
        self.token_requests = 0
        self.lifetime = 7200
        self.left: dict[str, int] = {}
        self.refuse_code = 0
        self.forced = 0

    def expire_tokens(self) -> None:
        """As if every token had run out or somebody else had renewed it."""
        self.tokens.clear()

    def __call__(self, request: Request) -> Answer | None:
        if request.path == "/cgi-bin/stable_token":
            return self.token(request.json())
        if request.path == "/cgi-bin/message/custom/send":
            return self.send(request.query.get("access_token", ""), request.json())
        return None

    def token(self, asked: dict[str, Any]) -> Answer:
        self.token_requests += 1
        appid = str(asked.get("appid", ""))
        if asked.get("grant_type") != "client_credential":
            return refused(40002, "invalid grant_type")
        if appid not in self.accounts:
            return refused(40013, "invalid appid")
        if asked.get("secret") != self.accounts[appid]:
            return refused(40125, "invalid appsecret")
        if asked.get("force_refresh"):
            self.forced += 1
            self.tokens.pop(appid, None)
        if appid not in self.tokens:
            self.tokens_issued += 1
            self.tokens[appid] = f"token-{appid}-{self.tokens_issued}-" + "x" * 100
        return Answer({"access_token": self.tokens[appid], "expires_in": self.lifetime})

    def send(self, token: str, asked: dict[str, Any]) -> Answer:
        appid = next((known for known, current in self.tokens.items() if current == token), "")
        recipient = str(asked.get("touser", ""))
        content = str(dict(asked.get("text") or {}).get("content", ""))
        checks = (
            (not appid, 40001, "invalid credential, access_token is invalid or not latest"),
            (bool(self.refuse_code), self.refuse_code, "refused"),
            (self.due("busy"), -1, "system error"),
            (asked.get("msgtype") != "text", 40008, "invalid message type"),
            (not recipient or recipient in self.unknown, 40003, "invalid openid"),
            (recipient in self.closed, 45015, "response out of time limit or subscription is canceled"),
            (not content, 44004, "empty content"),
            (len(content.encode()) > 2048, 45002, "content size out of limit"),
            (self.left.get(recipient, 1) < 1, 45047, "out of response count limit"),
        )
        for wrong, code, words in checks:
            if wrong:
                return refused(code, words)
        if recipient in self.left:
            self.left[recipient] -= 1
        return self.take(ChatMessage(appid, recipient, content), {"errcode": 0, "errmsg": "ok"})


class TelegramPlatform(ChatPlatform):
    """The Bot API. moved: chat id -> its new id (a group that became a supergroup). retry_after: what a 429 asks for, in seconds."""

    def __init__(self, bots: dict[str, str] | None = None, keep: int = 10_000) -> None:
        super().__init__(keep)
        self.bots = bots or {"777000:demo-bot-token": "demo_bot"}
        self.moved: dict[str, int] = {}
        self.retry_after = 7
        self.failing = 0
        self.calls = 0

    def __call__(self, request: Request) -> Answer | None:
        if not request.path.startswith("/bot"):
            return None
        token, _, method = request.path.removeprefix("/bot").partition("/")
        if token not in self.bots:
            return sorry(401, "Unauthorized")
        if method == "getMe":
            return Answer({"ok": True, "result": {"id": 777000, "is_bot": True, "username": self.bots[token]}})
        if method != "sendMessage":
            return sorry(404, "Not Found")
        return self.send(token, request.json())

    def send(self, token: str, asked: dict[str, Any]) -> Answer:
        self.calls += 1
        chat = str(asked.get("chat_id", ""))
        text = str(asked.get("text", ""))
        if self.due("failing"):
            return sorry(500, "Internal Server Error")
        if self.due("busy"):
            return sorry(429, f"Too Many Requests: retry after {self.retry_after}", {"retry_after": self.retry_after})
        if not chat or chat in self.unknown:
            return sorry(400, "Bad Request: chat not found")
        if chat in self.moved:
            return sorry(400, "Bad Request: group chat was upgraded to a supergroup chat", {"migrate_to_chat_id": self.moved[chat]})
        if chat in self.closed:
            return sorry(403, "Forbidden: bot was blocked by the user")
        if not text.strip():
            return sorry(400, "Bad Request: message text is empty")
        if len(text.encode("utf-16-le")) // 2 > 4096:
            return sorry(400, "Bad Request: message is too long")
        result = {"message_id": self.count + 1, "chat": {"id": asked.get("chat_id"), "type": "private"}, "date": 1_700_000_000, "text": text}
        return self.take(ChatMessage(self.bots[token], chat, text), {"ok": True, "result": result})


def refused(code: int, words: str) -> Answer:
    """WeChat's way: HTTP 200 and an errcode."""
    return Answer({"errcode": code, "errmsg": words})


def sorry(code: int, words: str, parameters: dict[str, int] | None = None) -> Answer:
    """Telegram's way: the HTTP status and the same code in the body."""
    body: dict[str, Any] = {"ok": False, "error_code": code, "description": words}
    return Answer(body | ({"parameters": parameters} if parameters else {}), code)
