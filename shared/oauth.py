"""Access tokens for mail servers that take no password (Gmail, Microsoft): two grants of RFC 6749, for IMAP and SMTP alike.

Why not a vendor's library: both providers speak the same two plain requests, and one small way through serves them and any other.
Blocking: call it in a thread. Keeps tokens in memory only.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Literal

import httpx
import msgspec

from shared.errors import ConfigError, TemporaryFailure

EARLY = 120.0
"""Seconds before its end at which a token is no longer used."""
GOOGLE = "https://oauth2.googleapis.com/token"
MICROSOFT = "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token"
#: Microsoft's names: what a service of its own may do, and what a person granted
MICROSOFT_SERVICE = "https://outlook.office365.com/.default"
MICROSOFT_PERSON = "https://outlook.office.com/IMAP.AccessAsUser.All https://outlook.office.com/SMTP.Send offline_access"


class OAuth(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How tokens are had. refresh_token: what a person granted once (section 6); without it the service's own secret counts (section 4.4).

    tenant: Microsoft's directory, an id or a domain. token_url and scope: only for another provider or against the defaults.
    """

    client_id: str
    provider: Literal["google", "microsoft", ""] = ""
    tenant: str = ""
    client_secret: str = ""
    refresh_token: str = ""
    token_url: str = ""
    scope: str = ""


class Answer(msgspec.Struct, frozen=True):
    """What a token endpoint says (RFC 6749 sections 5.1 and 5.2). expires_in: seconds."""

    access_token: str = ""
    expires_in: float = 300.0
    refresh_token: str = ""
    error: str = ""
    error_description: str = ""


class Tokens:
    """Gives a token that still works for a while; asks for a new one when it must. Safe to call from several threads."""

    def __init__(self, options: OAuth, clock: Callable[[], float] = time.monotonic) -> None:
        self._options = options
        self._url = token_url(options)
        self._clock = clock
        self._lock = threading.Lock()
        self._refresh_token = options.refresh_token
        self._token = ""
        self._good_until = 0.0

    def __call__(self) -> str:
        """An access token. Raises TemporaryFailure that names the mend: a token endpoint's refusal may be lifted, the mail waits."""
        with self._lock:
            if not self._token or self._clock() >= self._good_until:
                answer = self._ask()
                self._token = answer.access_token
                self._good_until = self._clock() + max(0.0, answer.expires_in - EARLY)
                self._refresh_token = answer.refresh_token or self._refresh_token  # Microsoft gives a new one each time
            return self._token

    def forget(self) -> None:
        """The server refused the token: ask for a new one next time."""
        with self._lock:
            self._token = ""

    def _ask(self) -> Answer:
        try:
            response = httpx.post(self._url, data=request(self._options, self._refresh_token), timeout=20)
            answer = msgspec.json.decode(response.content, type=Answer)
        except (httpx.HTTPError, msgspec.DecodeError) as error:
            message = f"The token endpoint {self._url} does not answer as it should ({type(error).__name__}). See that it can be reached."
            raise TemporaryFailure(message) from error
        if answer.access_token:
            return answer
        said = f"{answer.error or response.status_code} {answer.error_description}".split("\n")[0][:200].strip()
        if answer.error == "invalid_grant":
            raise TemporaryFailure(f"The mail account's grant has ended: {said}. Grant access anew and put the new refresh_token in.")
        raise TemporaryFailure(f"The token endpoint refuses us: {said}. Check client_id, client_secret, tenant and scope.")


def token_url(options: OAuth) -> str:
    """Where tokens are asked for. Raises ConfigError where the options do not say it, or lack what their grant needs."""
    if not options.refresh_token and not options.client_secret:
        raise ConfigError("'oauth' needs a refresh_token (granted by a person) or a client_secret (a service of its own). Add one.")
    if options.token_url:
        return options.token_url
    if options.provider == "google":
        return GOOGLE
    if options.provider == "microsoft":
        if not options.tenant:
            raise ConfigError("'oauth' of provider microsoft needs the 'tenant': your directory's id or domain. Add it.")
        return MICROSOFT.format(tenant=options.tenant)
    raise ConfigError("'oauth' needs a provider (google or microsoft) or a token_url. Add one.")


def request(options: OAuth, refresh_token: str) -> dict[str, str]:
    """The form of the token request."""
    form = {"client_id": options.client_id, "client_secret": options.client_secret}
    if refresh_token:
        form |= {"grant_type": "refresh_token", "refresh_token": refresh_token}
        scope = options.scope or (MICROSOFT_PERSON if options.provider == "microsoft" else "")
    else:
        form |= {"grant_type": "client_credentials"}
        scope = options.scope or (MICROSOFT_SERVICE if options.provider == "microsoft" else "")
    return {name: value for name, value in {**form, "scope": scope}.items() if value}
