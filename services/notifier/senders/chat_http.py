"""What the chat senders share: one kept HTTP client, accounts, recipients, and parts sent in order. No platform's rules live here.

How a failed request is told: nothing sent yet (no connection) is certain, everything after that is not, since the platform may have
taken the message and only its answer was lost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar, cast

import httpx
import msgspec

from shared.complaint import Notice
from shared.errors import ConfigError, TemporaryFailure

Account = TypeVar("Account", bound=msgspec.Struct)
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
PERHAPS_DONE = frozenset({502, 504})


def new_client(base_url: str, timeout: float, proxy: str = "") -> httpx.AsyncClient:
    """Raises ConfigError for an address that is none."""
    try:
        return httpx.AsyncClient(base_url=base_url, timeout=timeout, proxy=proxy or None, trust_env=False)
    except (httpx.InvalidURL, ValueError):
        raise ConfigError("A sender's 'base_url' or 'proxy' is no address like https://host:port. Mend it in DESK_SENDERS.") from None


def read_accounts(sender: str, accounts: str, account: type[Account]) -> dict[str, Account]:
    """The accounts setting, a JSON object of one object an account. Raises ConfigError that shows no secret."""
    try:
        return msgspec.json.decode(accounts.encode() or b"{}", type=dict[str, account])
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        fields = ", ".join(account.__struct_fields__)
        shape = f"a JSON object of account: {{{fields}}}"
        raise ConfigError(
            f"The setting 'accounts' of the sender '{sender}' cannot be read: {error}. Write {shape} in DESK_SENDERS."
        ) from None


def account_of(sender: str, notice: Notice, accounts: Mapping[str, Account]) -> Account:
    """The account that took the complaint answers it; `*` stands for every account not named. The operator mends what is missing."""
    found = accounts.get(notice.account) or accounts.get("*")
    if found is None:
        raise TemporaryFailure(f"The sender '{sender}' has no account '{notice.account}'. Add it to its 'accounts' in DESK_SENDERS.")
    return found


def user_id(notice: Notice) -> str:
    """The platform's own id of the customer: recipients come bare or as `account:id`, the form in which identities are kept."""
    return notice.recipient.removeprefix(f"{notice.account}:").strip()


async def post(
    client: httpx.AsyncClient, platform: str, path: str, body: Mapping[str, Any], query: Mapping[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    """Status and decoded answer. Raises TemporaryFailure when there is no answer, or none that can be read; never shows path or query."""
    try:
        answer = await client.post(path, content=msgspec.json.encode(body), params=query, headers={"content-type": "application/json"})
    except NEVER_SENT as error:
        raise TemporaryFailure(f"{platform} cannot be reached ({type(error).__name__}). See that this machine may connect to it.") from None
    except httpx.HTTPError as error:
        raise TemporaryFailure(f"{platform} gave no answer ({type(error).__name__}); it may have the message.", uncertain=True) from None
    try:
        decoded = msgspec.json.decode(answer.content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        decoded = None
    if not isinstance(decoded, dict):
        uncertain = answer.status_code in PERHAPS_DONE or answer.is_success
        raise TemporaryFailure(f"{platform} answered {answer.status_code} with something unreadable.", uncertain=uncertain)
    return answer.status_code, cast(dict[str, Any], decoded)


async def in_order(parts: list[str], send: Callable[[str], Awaitable[str]]) -> list[str]:
    """Sends the parts one after the other and gives what each answered.

    When a later part fails for now, the outcome as a whole is uncertain: sending again would repeat the parts that went out.
    """
    answers: list[str] = []
    for number, part in enumerate(parts, 1):
        try:
            answers.append(await send(part))
        except TemporaryFailure as failure:
            if number == 1:
                raise
            told = f"Part {number} of {len(parts)} did not go out, the ones before it did. {failure.message}"
            raise TemporaryFailure(told, retry_after=failure.retry_after, uncertain=True) from failure
    return answers
