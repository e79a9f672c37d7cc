"""Mail servers that take no password: tokens from a loopback endpoint, used on a real Dovecot that asks it back, and on an SMTP relay."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from services.demo.smtp_peer import SmtpPeer
from services.intake.mail_sources import read_mailboxes, token_sources
from services.intake.mailbox import Mailbox
from services.notifier.senders.smtp import SmtpSender
from shared.errors import ConfigError, TemporaryFailure
from shared.oauth import GOOGLE, OAuth, Tokens, request, token_url
from tests.mail.dovecot import Dovecot, running
from tests.mail.memory import Desk, MemoryState, mail, wait_until
from tests.senders.test_smtp import letter


class Endpoint:
    """A token endpoint that also tells a mail server whose a token is. `refuse`: answered instead of a token."""

    def __init__(self, port: int) -> None:
        self.asked: list[dict[str, str]] = []
        self.refuse: dict[str, str] = {}
        self.good: set[str] = set()
        self.port = port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/token"

    def token(self, form: dict[str, str]) -> tuple[int, dict[str, object]]:
        self.asked.append(form)
        if self.refuse:
            return 400, dict(self.refuse)
        token = f"token{len(self.asked)}"
        self.good.add(token)
        return 200, {"access_token": token, "expires_in": 3600, "refresh_token": f"refresh{len(self.asked)}", "token_type": "Bearer"}

    def info(self, token: str) -> tuple[int, dict[str, object]]:
        return (200, {"email": "care", "active": True}) if token in self.good else (401, {"error": "invalid_token"})


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self, status: int, body: dict[str, object]) -> None:
            raw = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.answer(*made.token({name: values[0] for name, values in form.items()}))

        def do_GET(self) -> None:
            self.answer(*made.info(parse_qs(urlsplit(self.path).query).get("token", [""])[0]))

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Endpoint(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def fresh(endpoint: Endpoint) -> None:
    endpoint.asked.clear()
    endpoint.refuse.clear()
    endpoint.good.clear()


@pytest.fixture(scope="module")
def dovecot(endpoint: Endpoint) -> Iterator[Dovecot]:
    with running(tokens_at=f"http://127.0.0.1:{endpoint.port}/info?token=") as server:
        yield server


def options(endpoint: Endpoint, **more: str) -> OAuth:
    return OAuth(**{"client_id": "desk", "client_secret": "s3cret", "token_url": endpoint.url, **more})


def test_a_token_is_asked_for_once_and_again_when_it_ends_or_was_refused(endpoint: Endpoint) -> None:
    moment = [0.0]
    tokens = Tokens(options(endpoint), clock=lambda: moment[0])
    assert [tokens(), tokens()] == ["token1", "token1"]
    moment[0] = 3481.0
    assert tokens() == "token2"
    tokens.forget()
    assert tokens() == "token3"
    assert endpoint.asked[0] == {"client_id": "desk", "client_secret": "s3cret", "grant_type": "client_credentials"}


def test_a_granted_mailbox_goes_on_with_the_newest_refresh_token(endpoint: Endpoint) -> None:
    tokens = Tokens(options(endpoint, refresh_token="first"))
    tokens()
    tokens.forget()
    tokens()
    assert [form["refresh_token"] for form in endpoint.asked] == ["first", "refresh1"]
    assert {form["grant_type"] for form in endpoint.asked} == {"refresh_token"}


@pytest.mark.parametrize(
    ("error", "mend"), [("invalid_grant", "Grant access anew"), ("invalid_client", "Check client_id"), ("unauthorized_client", "scope")]
)
def test_a_refusal_says_what_to_mend(endpoint: Endpoint, error: str, mend: str) -> None:
    endpoint.refuse = {"error": error, "error_description": "AADSTS70008: expired.\r\nTrace ID: 1"}
    with pytest.raises(TemporaryFailure, match=mend) as caught:
        Tokens(options(endpoint))()
    assert "s3cret" not in caught.value.message
    assert "AADSTS70008" in caught.value.message


def test_an_endpoint_that_is_away_is_waited_for() -> None:
    with pytest.raises(TemporaryFailure, match="See that it can be reached"):
        Tokens(OAuth(client_id="desk", client_secret="s", token_url="http://127.0.0.1:9/token"))()


def test_the_providers_endpoints_and_what_they_want() -> None:
    google = OAuth(client_id="desk", provider="google", refresh_token="r")
    service = OAuth(client_id="desk", provider="microsoft", tenant="shop.example", client_secret="s")
    person = OAuth(client_id="desk", provider="microsoft", tenant="shop.example", refresh_token="r")
    assert token_url(google) == GOOGLE
    assert token_url(service) == "https://login.microsoftonline.com/shop.example/oauth2/v2.0/token"
    assert request(service, "")["scope"] == "https://outlook.office365.com/.default"
    assert "offline_access" in request(person, "r")["scope"]
    assert "scope" not in request(google, "r")


@pytest.mark.parametrize(
    ("wrong", "mend"),
    [
        (OAuth(client_id="desk", provider="google"), "refresh_token"),
        (OAuth(client_id="desk", provider="microsoft", client_secret="s"), "tenant"),
        (OAuth(client_id="desk", client_secret="s"), "token_url"),
    ],
)
def test_what_is_missing_is_named_before_anything_starts(wrong: OAuth, mend: str) -> None:
    with pytest.raises(ConfigError, match=mend):
        Tokens(wrong)


def boxes(endpoint: Endpoint, dovecot: Dovecot) -> str:
    oauth = {"client_id": "desk", "client_secret": "s3cret", "token_url": endpoint.url}
    box = {"host": dovecot.host, "port": dovecot.port, "user": "care", "ssl": False, "start": "all", "junk": "Junk", "oauth": oauth}
    return json.dumps([box])


async def test_a_mailbox_is_read_with_a_token_that_the_server_checks(endpoint: Endpoint, dovecot: Dovecot) -> None:
    inbox, junk = read_mailboxes(boxes(endpoint, dovecot))
    (tokens,) = token_sources([inbox, junk]).values()  # the folders of one login share its token
    state, desk = MemoryState(), Desk()
    dovecot.append("care", mail(1))
    mailbox = Mailbox(inbox, state, desk.take, desk.quarantine, token=tokens, backoff=(0.05, 0.1))
    task = asyncio.create_task(mailbox.run())
    await wait_until(lambda: desk.subjects == ["1"])
    endpoint.good.clear()  # withdrawn before its time
    dovecot.kill_sessions()
    await wait_until(lambda: len(endpoint.asked) >= 2 and mailbox.connected)
    await mailbox.stop()
    await asyncio.wait_for(task, 10)


async def test_letters_go_out_with_a_token(endpoint: Endpoint) -> None:
    async with SmtpPeer(login=("care@shop.example", "token1"), oauth=True) as relay:
        sender = SmtpSender()
        oauth = json.dumps({"client_id": "desk", "client_secret": "s3cret", "token_url": endpoint.url})
        await sender.open({"host": "127.0.0.1", "port": str(relay.port), "tls": "none", "user": "care@shop.example", "oauth": oauth})
        try:
            await sender.send(letter())
            assert relay.count == 1
            relay.login = ("care@shop.example", "token2")  # the old one is refused from now on
            relay.drop_connections()
            with pytest.raises(TemporaryFailure, match="refuses our login"):
                await sender.send(letter())
            await sender.send(letter())
            assert relay.count == 2
        finally:
            await sender.close()


async def test_a_sender_with_a_broken_grant_says_so(endpoint: Endpoint) -> None:
    with pytest.raises(ConfigError, match="client_id"):
        await SmtpSender().open({"user": "care@shop.example", "oauth": '{"provider": "google"}'})
    endpoint.refuse = {"error": "invalid_grant"}
    async with SmtpPeer(login=("care@shop.example", "token1"), oauth=True) as relay:
        sender = SmtpSender()
        oauth = json.dumps({"client_id": "desk", "refresh_token": "old", "token_url": endpoint.url})
        await sender.open({"host": "127.0.0.1", "port": str(relay.port), "tls": "none", "user": "care@shop.example", "oauth": oauth})
        with pytest.raises(TemporaryFailure, match="Grant access anew"):
            await sender.send(letter())
        await sender.close()
