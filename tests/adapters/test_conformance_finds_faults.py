"""Each promise of the conformance suite can fail: a broken adapter for every one, made from a sound one."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import random
import re
import socket
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import msgspec
import pytest
import structlog

from services.intake.adapter import Adapter, Delivery, Parsed
from services.intake.cases import Case, Meta
from services.intake.conformance import Check, Report, check, check_accept, render
from shared.complaint import Attachment, Channel, Submission
from shared.errors import Unreadable, Untrusted

SECRET = {"secret": "k3y"}


def signature(raw: bytes) -> str:
    return hmac.digest(b"k3y", raw, hashlib.sha256).hex()


class Sound(Adapter):
    """Keeps every promise; the broken ones change one thing."""

    name = "sound"
    channel = Channel.CHAT
    max_bytes = 1 << 16
    secrets = ("secret",)

    def verify(self, delivery: Delivery, secret: Mapping[str, str]) -> Delivery:
        key = secret.get("secret", "")
        wanted = hmac.digest(key.encode() or b"-", delivery.raw, hashlib.sha256).hex()
        if not key or not hmac.compare_digest(wanted, delivery.headers.get("x-signature", "")):
            raise Untrusted
        return delivery

    def parse(self, delivery: Delivery) -> tuple[Parsed, ...]:
        return (self.finish(self.read(delivery), delivery),)

    def read(self, delivery: Delivery) -> str:
        try:
            text = json.loads(delivery.raw)["text"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise Unreadable from None
        if not isinstance(text, str) or not text.isprintable() or not text:
            raise Unreadable
        return text

    def finish(self, text: str, delivery: Delivery) -> Parsed:
        return Parsed(submission=Submission(channel=Channel.CHAT, source="chat/sound", account=delivery.account, text=text))


def case(name: str, raw: bytes, expected: dict[str, object], signed: str = "", same_as: str = "") -> Case:
    meta = Meta(headers={"x-signature": signed or signature(raw)}, secret=SECRET, same_as=same_as)
    return Case(name=name, raw=raw, meta=meta, expected=expected)


def taken(text: str) -> dict[str, object]:
    return {"submissions": [{"channel": "chat", "source": "chat/sound", "account": "demo", "text": text}]}


GOOD = b'{"text":"late"}'
CASES = [
    case("good", GOOD, taken("late")),
    case("other", b'{"text":"lost"}', taken("lost")),
    case("again", GOOD, taken("late"), same_as="good"),
    case("empty", b"", {"error": "unreadable"}),
    case("forged", GOOD, {"error": "untrusted"}, "0" * 64),
]


def failed(report: Report) -> dict[str, str]:
    return {one.name: " | ".join(one.problems) for one in report.checks if not one.passed}


def broken(parse: Callable[[Sound, Delivery], tuple[Parsed, ...]]) -> Adapter:
    return type("Broken", (Sound,), {"parse": parse})()


def doing(what: Callable[[], object]) -> Adapter:
    """The sound adapter, which also does something it must not."""

    def parse(self: Sound, delivery: Delivery) -> tuple[Parsed, ...]:
        what()
        return Sound.parse(self, delivery)

    return broken(parse)


def changed(**fields: object) -> Adapter:
    """The sound adapter with other fields in its submission."""

    def parse(self: Sound, delivery: Delivery) -> tuple[Parsed, ...]:
        (one,) = Sound.parse(self, delivery)
        return (msgspec.structs.replace(one, submission=msgspec.structs.replace(one.submission, **fields)),)

    return broken(parse)


def test_the_sound_adapter_passes() -> None:
    report = check(Sound(), CASES)
    assert report.passed, render(report)
    assert "all promises are kept" in render(report)


@pytest.mark.parametrize(("left", "missing"), [(CASES[3:], "good delivery"), (CASES[:3], "cut short"), (CASES[:4], "forged")])
def test_cases_that_show_too_little(left: list[Case], missing: str) -> None:
    assert missing in failed(check(Sound(), left))["cases"]


def test_a_case_that_gives_something_else() -> None:
    wrong = [case("good", GOOD, taken("lat")), *CASES[1:2], *CASES[3:]]
    said = failed(check(Sound(), wrong))["expected"]
    assert said.startswith("good: submissions differ: expected")
    assert "late" in said


def test_a_refusal_where_a_submission_was_expected_and_a_wrong_message() -> None:
    wrong = [*CASES, case("nothing", b"{}", taken("x")), case("words", b"[]", {"error": "unreadable", "message": "other words"})]
    said = failed(check(Sound(), wrong))["expected"]
    assert "nothing: expected submissions, got error" in said
    assert "words: message" in said or "words: error" in said


def test_a_case_without_expected_file() -> None:
    assert "Bless the case" in failed(check(Sound(), [*CASES, Case(name="new", raw=GOOD, meta=CASES[0].meta)]))["expected"]


def test_an_exception_that_is_not_declared() -> None:
    def parse(self: Sound, delivery: Delivery) -> tuple[Parsed, ...]:
        json.loads(delivery.raw)
        return Sound.parse(self, delivery)

    found = failed(check(broken(parse), CASES))
    assert "JSONDecodeError" in found["expected"]
    assert "JSONDecodeError" in found["bounded"]
    assert "RecursionError" in found["bounded"]


def test_a_parse_with_a_memory() -> None:
    count = iter(range(1_000_000))
    said = failed(check(broken(lambda self, delivery: (self.finish(f"late {next(count)}", delivery),)), CASES))
    assert "second parse differs" in said["repeatable"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"notes": ["a list"]}, "tuples for lists"),
        ({"subject": "a\x00b"}, "NUL"),
        ({"subject": "\ud800"}, "lone surrogates"),
        ({"sent_at": datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=8)))}, "not in UTC"),
        ({"sent_at": datetime(2026, 1, 1)}, "not in UTC"),  # noqa: DTZ001 - the fault to be found
        ({"account": "somebody"}, "delivery.account"),
        ({"source": "line"}, "does not begin with the channel"),
        ({"attachments": (Attachment(filename="a", media_type="b"),)}, "neither sha256 nor remote_id"),
        ({"attachments": (Attachment(filename="a", media_type="b", sha256="00"),)}, "does not fit its bytes"),
    ],
)
def test_a_submission_that_storage_would_change(fields: dict[str, object], words: str) -> None:
    assert words in failed(check(changed(**fields), CASES))["lossless"]


def test_evidence_that_no_attachment_names() -> None:
    adapter = broken(lambda self, delivery: tuple(msgspec.structs.replace(one, files={"00": b"x"}) for one in Sound.parse(self, delivery)))
    assert "no attachment names" in failed(check(adapter, CASES))["lossless"]


def test_one_dedupe_key_for_two_submissions() -> None:
    said = failed(check(changed(external_id="always the same"), CASES))["dedupe"]
    assert "other: shares its dedupe key with another submission (good)" in said


def test_two_submissions_of_one_delivery_under_one_key() -> None:
    adapter = broken(lambda self, delivery: (*Sound.parse(self, delivery), self.finish("second", delivery)))
    assert "shares its dedupe key" in failed(check(adapter, CASES))["dedupe"]


@pytest.mark.parametrize("noise", [lambda delivery: str(len(delivery.headers)), lambda delivery: str(delivery.received_at)])
def test_a_dedupe_key_that_moves_with_headers_or_with_time(noise: Callable[[Delivery], str]) -> None:
    adapter = broken(lambda self, delivery: (stamped(self, delivery, noise(delivery)),))
    assert "good: the dedupe key changes with unrelated headers or the time of arrival" in failed(check(adapter, CASES))["dedupe"]


def stamped(adapter: Sound, delivery: Delivery, stamp: str) -> Parsed:
    one = adapter.finish(adapter.read(delivery), delivery)
    return msgspec.structs.replace(one, submission=msgspec.structs.replace(one.submission, external_id=adapter.read(delivery) + stamp))


def test_a_retry_that_gets_another_key() -> None:
    retry = case("again", b'{"text": "late"}', taken("late"), same_as="good")
    assert "would become a second complaint" in failed(check(Sound(), [*CASES[:2], retry, *CASES[3:]]))["dedupe"]


def test_a_parse_that_never_ends() -> None:
    def parse(self: Sound, delivery: Delivery) -> tuple[Parsed, ...]:
        if len(delivery.raw) > 1000:
            try:
                while True:
                    pass
            except Exception:
                pass
        return Sound.parse(self, delivery)

    assert "still busy after 0.05 s" in failed(check(broken(parse), CASES, limit=0.05))["bounded"]


def test_a_pattern_that_backtracks_without_end() -> None:
    trap = re.compile(r"^(a|a?)+$")

    def parse(self: Sound, delivery: Delivery) -> tuple[Parsed, ...]:
        text = self.read(delivery)
        trap.match(text.replace("x", "a")[:60] + "!")
        return (self.finish(text, delivery),)

    assert "still busy" in failed(check(broken(parse), CASES, limit=0.05))["bounded"]


def test_slowness_is_measured_in_other_threads_too() -> None:
    def parse(self: Sound, delivery: Delivery) -> tuple[Parsed, ...]:
        if len(delivery.raw) > 60_000:
            end = time.process_time() + 0.03
            while time.process_time() < end:
                pass
        return Sound.parse(self, delivery)

    reports: list[Report] = []
    thread = threading.Thread(target=lambda: reports.append(check(broken(parse), CASES, limit=0.01)))
    thread.start()
    thread.join()
    assert "took more than 0.01 s" in failed(reports[0])["bounded"]


class Trusting(Sound):
    def verify(self, delivery: Delivery, secret: Mapping[str, str]) -> Delivery:
        return delivery


class TrustingTheEmpty(Sound):
    """Takes anything that is signed with the empty key, which everybody has."""

    def verify(self, delivery: Delivery, secret: Mapping[str, str]) -> Delivery:
        return delivery if not secret.get("secret") else super().verify(delivery, secret)


class PeekingFirst(Sound):
    """Reads the body before it looks at the signature."""

    def verify(self, delivery: Delivery, secret: Mapping[str, str]) -> Delivery:
        self.read(delivery)
        return super().verify(delivery, secret)


class ReadingUnsigned(Sound):
    """Takes something into the submission that nothing signs."""

    def parse(self, delivery: Delivery) -> tuple[Parsed, ...]:
        return (stamped(self, delivery, delivery.headers.get("x-id", "")),)


class Crashing(Sound):
    def verify(self, delivery: Delivery, secret: Mapping[str, str]) -> Delivery:
        bytes.fromhex(delivery.headers["x-signature"].removeprefix("a"))
        return super().verify(delivery, secret)


@pytest.mark.parametrize(
    ("adapter", "words"),
    [
        (Trusting(), "with other secrets: it was taken"),
        (Trusting(), "no change to any header or query value was noticed"),
        (TrustingTheEmpty(), "with empty secrets: it was taken"),
        (PeekingFirst(), "rubbish: unreadable"),
        (Crashing(), "raised KeyError"),
    ],
)
def test_a_forgery_that_gets_through(adapter: Adapter, words: str) -> None:
    assert words in failed(check(adapter, CASES))["forgery"]


def test_a_value_that_nothing_signs() -> None:
    cases = [
        msgspec.structs.replace(one, meta=msgspec.structs.replace(one.meta, headers={**one.meta.headers, "x-id": "7"})) for one in CASES
    ]
    assert "with x-id changed it was taken as another submission" in failed(check(ReadingUnsigned(), cases))["forgery"]


def test_an_adapter_without_secrets_has_nothing_to_forge() -> None:
    open_door = type("Open", (Trusting,), {"secrets": ()})()
    assert "forgery" not in failed(check(open_door, CASES[:4]))


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (lambda: Path(__file__).with_name("some.txt").exists() or Path("/etc/hostname").read_bytes(), "opened a file (/etc/hostname)"),
        (lambda: socket.socket().close(), "went outside (socket.__new__)"),
        (lambda: os.system("true"), "went outside (os.system)"),
        (time.time, "read a clock (time.time)"),
        (time.monotonic, "read a clock (time.monotonic)"),
        (lambda: datetime.now(UTC), "read a clock (datetime.now)"),
        (lambda: os.environ.get("HOME"), "read the environment"),
        (lambda: os.getenv("HOME"), "read the environment"),
        (random.random, "drew lots (random)"),
        (lambda: os.urandom(4), "drew lots (urandom)"),
    ],
)
def test_a_parse_that_touches_the_world(what: Callable[[], object], words: str) -> None:
    found = failed(check(doing(what), CASES))
    assert words in found["pure"]
    assert "silent" not in found


def warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.warn("13800138000", stacklevel=2)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (lambda: logging.getLogger("desk.broken").info("text of %s", "a customer"), "logged (desk.broken)"),
        (lambda: structlog.get_logger().info("text", text="late"), "logged (structlog)"),
        (lambda: print(end=""), "printed"),  # noqa: T201 - the fault to be found
        (warn, "warned"),
    ],
)
def test_a_parse_that_talks(what: Callable[[], object], words: str) -> None:
    assert words in failed(check(doing(what), CASES))["silent"]  # the clock that logging reads is found as well


def test_what_the_watch_leaves_alone() -> None:
    """Pure uses of the same modules, and debug logging that nobody asked for."""

    def harmless() -> None:
        datetime.fromtimestamp(0, UTC)
        time.gmtime(0)
        random.Random  # noqa: B018 - a name, not a call
        logging.getLogger("charset").debug("guess")
        import colorsys

        colorsys.rgb_to_hsv(0, 0, 0)

    assert check(doing(harmless), CASES).passed


async def test_a_delivery_that_becomes_two_complaints() -> None:
    count = iter(range(1000))

    async def accept(delivery: Delivery, parsed: tuple[Parsed, ...]) -> list[str]:
        return [f"C{next(count)}" for _ in parsed]

    async def forgetful(delivery: Delivery, parsed: tuple[Parsed, ...]) -> list[str]:
        return []

    doubled, lost = await check_accept(Sound(), accept, CASES), await check_accept(Sound(), forgetful, CASES)
    assert any("second complaint" in problem for problem in doubled.problems)
    assert any("1 submissions gave 0 references" in problem for problem in lost.problems)


def test_the_report_is_for_people() -> None:
    report = check(Trusting(), CASES)
    text = render(report.plus(Check("accepted", "one complaint", tuple(f"problem {n}" for n in range(9)))))
    assert "FAIL forgery" in text
    assert "and 3 more" in text
    assert "promises are broken" in text
