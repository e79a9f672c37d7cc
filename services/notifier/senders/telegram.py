"""Sends letters as messages of a Telegram bot. Never retries a letter, never words one.

Settings (all strings):
    token       of the one bot; or
    accounts    JSON object for several: {"shop_bot": {"token": "..."}}, by the account that took the complaint
    base_url    https://api.telegram.org
    proxy       HTTP proxy, empty means none
    timeout     seconds, 10
Source: Telegram Bot API, sendMessage and "Making requests" (ResponseParameters). The token is part of the address: it is never shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, cast

import msgspec

from services.notifier.sender import Letter, Sender, Sent
from services.notifier.sender_settings import read_options
from services.notifier.senders.chat_http import PERHAPS_DONE, account_of, in_order, new_client, post, read_accounts, user_id
from services.notifier.splitting import split_text, utf16_units
from shared.errors import ConfigError, TemporaryFailure, Undeliverable

PLATFORM = "Telegram"
LONGEST = 4096  # characters after entities parsing, which Telegram counts in UTF-16 units


class TelegramAccount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    token: str


class TelegramOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    token: str = ""
    accounts: str = ""
    base_url: str = "https://api.telegram.org"
    proxy: str = ""
    timeout: Annotated[float, msgspec.Meta(gt=0, le=120)] = 10.0


class TelegramSender(Sender):
    name: ClassVar[str] = "telegram"
    sources: ClassVar[tuple[str, ...]] = ("social/telegram",)
    repeatable: ClassVar[bool] = False

    async def open(self, settings: Mapping[str, str]) -> None:
        options = read_options(self.name, settings, TelegramOptions)
        self.accounts = read_accounts(self.name, options.accounts, TelegramAccount)
        if options.token:
            self.accounts.setdefault("*", TelegramAccount(options.token))
        if not self.accounts:
            raise ConfigError("The sender 'telegram' needs 'token', or 'accounts'. Add it in DESK_SENDERS.")
        self.client = new_client(options.base_url, options.timeout, options.proxy)

    async def send(self, letter: Letter) -> Sent:
        account = account_of(self.name, letter.notice, self.accounts)
        chat = user_id(letter.notice)
        parts = split_text(letter.text, LONGEST, utf16_units)
        answers = await in_order(parts, lambda part: self.send_text(account.token, chat, part))
        return Sent(external_id=",".join(answers), said="ok")

    async def send_text(self, token: str, chat: str, text: str) -> str:
        """One message; gives its id. A chat that has moved is followed to its new id, once."""
        status, answer = await self.post_message(token, chat, text)
        parameters = cast(dict[str, Any], answer.get("parameters") or {})
        if moved := parameters.get("migrate_to_chat_id"):
            status, answer = await self.post_message(token, str(moved), text)
        if answer.get("ok") is True:
            return str(cast(dict[str, Any], answer.get("result") or {}).get("message_id", ""))
        raise failed(status, answer)

    async def post_message(self, token: str, chat: str, text: str) -> tuple[int, dict[str, Any]]:
        known = int(chat) if chat.isascii() and chat.removeprefix("-").isdecimal() else chat
        body = {"chat_id": known, "text": text, "link_preview_options": {"is_disabled": True}}
        return await post(self.client, PLATFORM, f"/bot{token}/sendMessage", body)

    async def close(self) -> None:
        await self.client.aclose()


def failed(status: int, answer: Mapping[str, Any]) -> TemporaryFailure | Undeliverable:
    """What a refusal means for the letter, by its HTTP status."""
    told = f"Telegram says {status} {str(answer.get('description', ''))[:120]}"
    if status == 429:
        wait = cast(dict[str, Any], answer.get("parameters") or {}).get("retry_after")
        return TemporaryFailure(f"{told}.", retry_after=float(wait) if isinstance(wait, int | float) else None)
    if status in (401, 404):
        return TemporaryFailure(f"{told}: the bot's token is wrong or was revoked. Mend it in DESK_SENDERS.")
    if status == 403:
        return Undeliverable(f"{told}: the customer has blocked the bot or never started it.")
    if status >= 500:
        return TemporaryFailure(f"{told}.", uncertain=status in PERHAPS_DONE)
    return Undeliverable(f"{told}.")


SENDER = TelegramSender()
