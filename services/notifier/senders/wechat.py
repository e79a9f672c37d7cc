"""Sends letters as customer service messages of a WeChat official account (微信公众号). Never retries a letter, never words one.

A customer may be written to for 48 hours after their last message, five times at most; after that WeChat refuses, and the letter is
Undeliverable here so that the next channel gets it.

Settings (all strings):
    app_id, secret  of the one official account; or
    accounts        JSON object for several: {"gh_1234": {"app_id": "...", "secret": "..."}}, by the account that took the complaint
    base_url        https://api.weixin.qq.com
    proxy           HTTP proxy with the fixed address that WeChat's IP list wants; empty means none
    max_bytes       longest text in one message, 2048 bytes of UTF-8; longer ones are split
    timeout         seconds, 10
Source: WeChat official account documents "Get stable access token" and "Send customer service message", global return codes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import httpx
import msgspec

from services.notifier.sender import Letter, Sender, Sent
from services.notifier.sender_settings import read_options
from services.notifier.senders.chat_http import account_of, in_order, new_client, post, read_accounts, user_id
from services.notifier.splitting import split_text, utf8_bytes
from shared.errors import ConfigError, TemporaryFailure, Undeliverable

PLATFORM = "WeChat"
TOKEN_WRONG = frozenset({40001, 40014, 42001})
#: a token is asked for anew this long before its end, in seconds
RENEW_BEFORE = 300.0

#: errcode -> what the staff reads; nothing of ours mends these, another channel does
GIVE_UP = {
    40003: "the customer does not follow the account (any more)",
    43004: "the customer does not follow the account",
    50005: "the customer does not follow the account (any more)",
    43019: "the customer is on the account's black list",
    48002: "the customer refuses messages from the account",
    45015: "the customer last wrote more than 48 hours ago",
    45047: "all messages that may be sent before the customer writes again are used up",
    45002: "the text is too long; lower 'max_bytes' of the sender wechat",
}
#: errcode -> seconds to wait
COME_BACK: dict[int, float | None] = {-1: None, 45009: 3600.0, 45011: 60.0}
#: errcode -> what the operator mends
OPERATOR = {
    40013: "the app_id is wrong",
    40125: "the secret is wrong",
    40164: "this machine's address is not on the account's IP list",
    48001: "the account has no permission for customer service messages",
    48004: "the interface is banned for the account",
    48008: "the account may not send this type of message",
    50002: "the account is restricted",
}


class WeChatAccount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    app_id: str
    secret: str


class WeChatOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    app_id: str = ""
    secret: str = ""
    accounts: str = ""
    base_url: str = "https://api.weixin.qq.com"
    proxy: str = ""
    max_bytes: Annotated[int, msgspec.Meta(ge=100, le=2048)] = 2048
    timeout: Annotated[float, msgspec.Meta(gt=0, le=120)] = 10.0


class TokenKeeper:
    """The access token of one account: one refresh at a time, everybody else waits for it and reads."""

    def __init__(self, client: httpx.AsyncClient, account: WeChatAccount) -> None:
        self.client = client
        self.account = account
        self.lock = asyncio.Lock()
        self.token = ""
        self.good_until = 0.0

    async def current(self, refused: str = "") -> str:
        """A token that is not `refused`, the one WeChat just called invalid. Raises TemporaryFailure."""
        async with self.lock:
            if self.token and self.token != refused and asyncio.get_running_loop().time() < self.good_until:
                return self.token
            await self.renew(force=False)
            if self.token == refused:  # WeChat gives the same token while it holds it for valid, which here it cannot be
                await self.renew(force=True)
            return self.token

    async def renew(self, *, force: bool) -> None:
        asked = {"grant_type": "client_credential", "appid": self.account.app_id, "secret": self.account.secret, "force_refresh": force}
        try:
            _, answer = await post(self.client, PLATFORM, "/cgi-bin/stable_token", asked)
        except TemporaryFailure as failure:  # no message has gone out yet, so nothing is uncertain
            raise TemporaryFailure(failure.message.replace("; it may have the message", " to our request for a token")) from failure
        token = answer.get("access_token")
        if not isinstance(token, str) or not token:
            raise failed(answer)
        self.token = token
        self.good_until = asyncio.get_running_loop().time() + max(0.0, float(answer.get("expires_in", 7200)) - RENEW_BEFORE)


class WeChatSender(Sender):
    name: ClassVar[str] = "wechat"
    sources: ClassVar[tuple[str, ...]] = ("social/wechat",)
    repeatable: ClassVar[bool] = False

    async def open(self, settings: Mapping[str, str]) -> None:
        self.options = read_options(self.name, settings, WeChatOptions)
        accounts = read_accounts(self.name, self.options.accounts, WeChatAccount)
        if self.options.app_id and self.options.secret:
            accounts.setdefault("*", WeChatAccount(self.options.app_id, self.options.secret))
        if not accounts:
            raise ConfigError("The sender 'wechat' needs 'app_id' and 'secret', or 'accounts'. Add them in DESK_SENDERS.")
        self.client = new_client(self.options.base_url, self.options.timeout, self.options.proxy)
        self.keepers = {name: TokenKeeper(self.client, account) for name, account in accounts.items()}
        self.accounts = accounts

    async def send(self, letter: Letter) -> Sent:
        account_of(self.name, letter.notice, self.accounts)
        keeper = self.keepers.get(letter.notice.account) or self.keepers["*"]
        openid = user_id(letter.notice)
        parts = split_text(letter.text, self.options.max_bytes, utf8_bytes)
        answers = await in_order(parts, lambda part: self.send_text(keeper, openid, part))
        return Sent(said="; ".join(answers))

    async def send_text(self, keeper: TokenKeeper, openid: str, text: str) -> str:
        """One message; a token that WeChat no longer accepts is renewed once. Gives what WeChat said."""
        body = {"touser": openid, "msgtype": "text", "text": {"content": text}}
        token = await keeper.current()
        answer = await self.post_message(token, body)
        if answer.get("errcode") in TOKEN_WRONG:
            answer = await self.post_message(await keeper.current(refused=token), body)
        if answer.get("errcode") == 0:
            return str(answer.get("errmsg", "ok"))
        raise failed(answer)

    async def post_message(self, token: str, body: Mapping[str, Any]) -> dict[str, Any]:
        _, answer = await post(self.client, PLATFORM, "/cgi-bin/message/custom/send", body, {"access_token": token})
        return answer

    async def close(self) -> None:
        await self.client.aclose()


def failed(answer: Mapping[str, Any]) -> TemporaryFailure | Undeliverable:
    """What an errcode means for the letter."""
    code = answer.get("errcode")
    told = f"WeChat says {code} {str(answer.get('errmsg', ''))[:120]}"
    if isinstance(code, int):
        if code in GIVE_UP:
            return Undeliverable(f"{told}: {GIVE_UP[code]}.")
        if code in COME_BACK:
            return TemporaryFailure(f"{told}.", retry_after=COME_BACK[code])
        if code in OPERATOR:
            return TemporaryFailure(f"{told}: {OPERATOR[code]}. Mend it at mp.weixin.qq.com or in DESK_SENDERS.")
    return TemporaryFailure(f"{told}. If it stays, look the code up in WeChat's list of return codes.")


SENDER = WeChatSender()
