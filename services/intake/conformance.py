"""What every channel adapter promises, checked: ours and those of third parties. Importable without a test framework.

`check(adapter)` runs the adapter's own fixture cases (services/intake/cases.py) and everything that can be made from them, and reports
each promise with what is wrong and how to mend it. It stores nothing and talks to nobody. `desk adapters check NAME` prints the report.
"""

from __future__ import annotations

import hashlib
import re
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, timedelta
from pathlib import Path
from types import FrameType

import msgspec

from services.intake import hostile, registry
from services.intake.adapter import Adapter, Delivery, Parsed
from services.intake.cases import Case, Outcome, fixtures_of, load, run
from services.intake.cases import bless as bless_cases
from services.intake.report import Check, Report, render
from services.intake.watch import watched
from shared.complaint import Submission, decode_submission, encode
from shared.errors import SubmissionRejected, TooLarge, Unreadable, Untrusted
from shared.references import dedupe_key

__all__ = ["Accept", "Check", "Report", "check", "check_accept", "check_installed", "render"]

#: stores what was parsed from one delivery and gives back one reference a submission, as intake's spine does
Accept = Callable[[Delivery, tuple[Parsed, ...]], Awaitable[Sequence[str]]]
NOISE = {
    "user-agent": "retry/2",
    "x-forwarded-for": "192.0.2.7",
    "x-request-id": "7f3a",
    "accept-encoding": "gzip",
    "traceparent": "00-1-1-01",
}
CHATTER = ("logged", "printed", "warned")
SEED = 20260301


class _TooSlow(BaseException):
    """Not an Exception, so that an adapter's own `except Exception` does not swallow it."""


def check(adapter: Adapter, cases: Path | Sequence[Case] | None = None, *, limit: float = 1.0) -> Report:
    """Run every check. cases: a folder or a list; None means fixtures/NAME beside the adapter's module. limit: CPU seconds for one body.

    Raises ConfigError where the cases cannot be read. In the main thread a body that takes longer is cut off, elsewhere only measured.
    """
    known = gather(adapter, cases)
    pure, silent = trespasses(adapter, known)
    return Report(
        adapter.name,
        len(known),
        (
            Check(
                "cases",
                "the cases show what is taken, what is refused and, where there are secrets, what is forged",
                enough(adapter, known),
            ),
            Check("expected", "each case gives its expected submissions, handshake or refusal", expected(adapter, known)),
            Check("repeatable", "parsing twice gives equal submissions", repeatable(adapter, known)),
            Check("lossless", "submissions survive storage, and every attachment has its bytes or a remote id", lossless(adapter, known)),
            Check("dedupe", "the dedupe key ignores transport noise and differs for different content", dedupe(adapter, known)),
            Check("bounded", "bad bodies raise only Unreadable or TooLarge, in bounded time", bounded(adapter, known, limit)),
            Check("forgery", "what is not signed with the account's secrets is refused before it is parsed", forgery(adapter, known)),
            Check("pure", "no file, socket, process, clock, chance or environment is touched", pure),
            Check("silent", "nothing is logged or printed, so no personal data can leak", silent),
        ),
    )


def check_installed(name: str, fixtures: Path | None = None, *, bless: bool = False) -> Report:
    """`check` for an installed adapter by name, or for one that is not installed yet by the path of its module.

    bless: first write the expected files anew from what the adapter does now. Raises ConfigError that names the mend.
    """
    adapter = registry.load_file(Path(name)) if name.endswith(".py") else registry.get(name)
    folder = fixtures or fixtures_of(adapter)
    written = bless_cases(adapter, folder) if bless else []
    return msgspec.structs.replace(check(adapter, folder), blessed=tuple(written))


def gather(adapter: Adapter, cases: Path | Sequence[Case] | None) -> list[Case]:
    """The cases of a folder, of the adapter's own folder, or as given."""
    if cases is None or isinstance(cases, Path):
        return load(cases or fixtures_of(adapter))
    return list(cases)


def enough(adapter: Adapter, cases: Sequence[Case]) -> tuple[str, ...]:
    """The sorts of case that are missing."""
    sorts = {
        ("taken" if "submissions" in case.expected else str(case.expected.get("error", "handshake"))) for case in cases if case.expected
    }
    wanted = {"taken": "a good delivery", "unreadable": "a body that cannot be read (empty, cut short)"}
    if adapter.secrets:
        wanted["untrusted"] = "a forged delivery (a flipped byte in the signature)"
    return tuple(f"There is no case of {what}. Add one to the fixtures and bless it." for sort, what in wanted.items() if sort not in sorts)


def expected(adapter: Adapter, cases: Sequence[Case]) -> tuple[str, ...]:
    """The cases that give something else than is written down."""
    problems: list[str] = []
    for case in cases:
        if case.expected is None:
            problems.append(f"{case.name}: there is no {case.name}.expected.json. Bless the case and read what it says.")
            continue
        try:
            got = plain(run(adapter, case.delivery, case.meta.secret).as_data())
        except Exception as error:  # whatever an adapter raises is a finding, not our failure
            problems.append(f"{case.name}: raised {named(error)}. Raise Unreadable, TooLarge or Untrusted with a sentence instead.")
            continue
        if "message" not in case.expected:
            got.pop("message", None)
        if got != case.expected:
            problems.append(f"{case.name}: {difference(case.expected, got)}. Mend the adapter, or bless the case if this is intended.")
    return tuple(problems)


def repeatable(adapter: Adapter, cases: Sequence[Case]) -> tuple[str, ...]:
    """The cases whose second parse differs from the first."""
    said = "the second parse differs from the first. Take state, chance and clocks out of parse."
    return tuple(f"{case.name}: {said}" for case, first in taken(adapter, cases) if outcome(adapter, case).parsed != first.parsed)


def lossless(adapter: Adapter, cases: Sequence[Case]) -> tuple[str, ...]:
    """The submissions that would not come back from storage as they were, and the evidence that would be lost."""
    return tuple(
        f"{case.name}: {problem}"
        for case, got in taken(adapter, cases)
        for parsed in got.parsed
        for problem in flaws(parsed, case.meta.account)
    )


def flaws(parsed: Parsed, account: str) -> Iterator[str]:
    """What is wrong with one parsed submission."""
    submission = parsed.submission
    try:
        if decode_submission(encode(submission)) != submission:
            yield "the submission changes on its way through JSON. Use the types of the schema, tuples for lists."
        if b"\\u0000" in encode(submission).replace(b"\\\\", b""):
            yield "a text holds a NUL character, which PostgreSQL refuses. Read texts through shared.reading.tidy."
    except (msgspec.MsgspecError, UnicodeError, TypeError) as error:
        yield f"the submission cannot be stored ({named(error)}). Use the types of the schema and no lone surrogates."
    if submission.sent_at is not None and submission.sent_at.utcoffset() != timedelta(0):
        yield "sent_at is not in UTC. Use shared.reading.instant."
    elif submission.sent_at is not None and submission.sent_at.tzinfo is not UTC:
        yield "sent_at has a zone of its own. Use shared.reading.instant."
    if submission.account != account:
        yield "account is not the delivery's. Copy delivery.account."
    if submission.source.partition("/")[0] != submission.channel.value:
        yield f"source '{submission.source}' does not begin with the channel. Use '{submission.channel.value}/SORT'."
    named_hashes = {one.sha256 for one in submission.attachments if one.sha256}
    for one in submission.attachments:
        if not one.sha256 and not one.remote_id:
            yield "an attachment has neither sha256 nor remote_id, so the evidence is lost. Give its bytes in files, or the platform's id."
        content = parsed.files.get(one.sha256)
        if one.sha256 and (content is None or hashlib.sha256(content).hexdigest() != one.sha256 or len(content) != one.size):
            yield "an attachment's sha256 or size does not fit its bytes in files. Compute both from the bytes."
    if parsed.files.keys() - named_hashes:
        yield "files holds bytes that no attachment names, so they are lost. Add an Attachment for each."


def dedupe(adapter: Adapter, cases: Sequence[Case]) -> tuple[str, ...]:
    """Keys that move with the transport, and keys that two different submissions share."""
    problems: list[str] = []
    owners: dict[str, tuple[str, Submission]] = {}
    keys: dict[str, list[str]] = {}
    for case, got in taken(adapter, cases):
        keys[case.name] = keys_of(got)
        if keys[case.name] != keys_of(outcome(adapter, case, noisy(case.delivery))):
            problems.append(
                f"{case.name}: the dedupe key changes with unrelated headers or the time of arrival. Make external_id from content."
            )
        for key, one in zip(keys[case.name], got.parsed, strict=True):
            name, earlier = owners.setdefault(key, (case.name, one.submission))
            if earlier != one.submission and case.meta.same_as != name:
                problems.append(
                    f"{case.name}: shares its dedupe key with another submission ({name}), so one of them would be lost. "
                    "Put the platform's id or a hash of the content into external_id."
                )
    problems.extend(
        f"{case.name}: does not get the dedupe key of {case.meta.same_as}, so a retry would become a second complaint."
        for case in cases
        if case.meta.same_as and keys.get(case.name) != keys.get(case.meta.same_as)
    )
    return tuple(problems)


def keys_of(got: Outcome) -> list[str]:
    """The dedupe keys of what was parsed, made as intake's spine makes them: from the bytes that `verify` gave back."""
    return [dedupe_key(one.submission, got.verified.raw if got.verified else b"") for one in got.parsed]


def bounded(adapter: Adapter, cases: Sequence[Case], limit: float) -> tuple[str, ...]:
    """The bad bodies that crash the adapter or keep it busy."""
    problems: dict[str, str] = {}
    for number, (case, got) in enumerate(taken(adapter, cases)):
        verified = got.verified or case.delivery
        largest = adapter.max_bytes if number < 3 else min(adapter.max_bytes, 1 << 16)
        for label, body in (*hostile.ALWAYS, *hostile.bodies(verified.raw, largest, SEED + number)):
            said = slip(adapter, msgspec.structs.replace(verified, raw=body), case.meta.account, limit)
            if said:
                problems.setdefault(said, f"{case.name}, {label}: {said}")
    return tuple(problems.values())


def slip(adapter: Adapter, delivery: Delivery, account: str, limit: float) -> str:
    """What is wrong with how one bad body is parsed; empty where it is refused or read as it should be."""
    started = time.process_time()
    try:
        with cut_off(limit):
            parsed = adapter.parse(delivery)
    except (Unreadable, TooLarge):
        parsed = ()
    except _TooSlow:
        return f"parse was still busy after {limit:g} s. Bound the work by the size of the body."
    except Exception as error:  # whatever an adapter raises is a finding, not our failure
        return f"parse raised {named(error)}. Raise Unreadable with a sentence that names the mend instead."
    if time.process_time() - started > limit:
        return f"parse took more than {limit:g} s. Bound the work by the size of the body."
    return next((flaw for one in parsed for flaw in flaws(one, account)), "")


@contextmanager
def cut_off(limit: float) -> Generator[None]:
    """Raise _TooSlow in the block after so many seconds of CPU, where signals can reach it (main thread, POSIX)."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "ITIMER_VIRTUAL"):
        yield
        return

    def late(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise _TooSlow

    before = signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def forgery(adapter: Adapter, cases: Sequence[Case]) -> tuple[str, ...]:
    """The forged deliveries that get through. An adapter without secrets has a door with its own lock, and nothing to check here."""
    if not adapter.secrets:
        return ()
    problems: list[str] = []
    for case, got in accepted(adapter, cases):
        delivery, secret = case.delivery, case.meta.secret
        bare = msgspec.structs.replace(delivery, headers={}, query={})
        for what, forged, known in (
            ("without the account's secrets", delivery, {}),
            ("with empty secrets", delivery, dict.fromkeys(secret, "")),
            ("with other secrets", delivery, {name: flipped(value, 0) for name, value in secret.items()}),
            ("without headers and query", bare, secret),
            ("without headers and query and with a body of rubbish", msgspec.structs.replace(bare, raw=b"\x00rubbish"), secret),
        ):
            said = verdict(adapter, forged, known)
            if said != "untrusted":
                problems.append(f"{case.name} {what}: {said}. verify must raise Untrusted before anything is parsed.")
        problems.extend(f"{case.name}: {said}" for said in loose(adapter, case, got))
    return tuple(problems)


def loose(adapter: Adapter, case: Case, got: Outcome) -> Iterator[str]:
    """Changed headers and query values that get through although they change something, and a signature that nothing depends on."""
    refused = 0
    for part in ("headers", "query"):
        values: Mapping[str, str] = getattr(case.delivery, part)
        for name, value in values.items():
            for at in {0, len(value) // 2, len(value) - 1} if value else ():
                forged = msgspec.structs.replace(case.delivery, **{part: {**values, name: flipped(value, at)}})
                try:
                    changed = run(adapter, forged, case.meta.secret)
                except Exception as error:  # whatever an adapter raises is a finding, not our failure
                    yield f"with {name} changed it raised {named(error)}. Raise Untrusted instead."
                    continue
                refused += isinstance(changed.refusal, Untrusted)
                if changed.refusal is None and changed.parsed != got.parsed:
                    yield f"with {name} changed it was taken as another submission. Sign that value, or do not read it."
    if not refused:
        yield "no change to any header or query value was noticed. verify must compare the signature, in constant time."


def trespasses(adapter: Adapter, cases: Sequence[Case]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What the adapter touches besides its arguments, and what it says: (outside, chatter)."""
    outside: dict[str, None] = {}
    chatter: dict[str, None] = {}
    for case, body in watchable(adapter, cases):
        delivery = msgspec.structs.replace(case.delivery, raw=body)
        attempt(adapter, delivery, case.meta.secret)  # once unwatched: what it imports lazily, it may read
        with watched() as watch:
            attempt(adapter, delivery, case.meta.secret)
        for what in watch.trespasses:
            if what.startswith(CHATTER):
                chatter[f"{case.name}: the adapter {what}. Raise an error or write a note on the submission instead."] = None
            else:
                outside[f"{case.name}: the adapter {what}. Use only what the delivery brings (received_at is the clock)."] = None
    return tuple(outside), tuple(chatter)


def watchable(adapter: Adapter, cases: Sequence[Case]) -> Iterator[tuple[Case, bytes]]:
    """The cases as they are, and the first good one with bad bodies."""
    yield from ((case, case.raw) for case in cases)
    for case, _ in taken(adapter, cases)[:1]:
        bad = [*hostile.ALWAYS, *hostile.bodies(case.raw, min(adapter.max_bytes, 1 << 16), SEED)]
        yield from ((case, body) for _, body in bad[:120])


async def check_accept(adapter: Adapter, accept: Accept, cases: Path | Sequence[Case] | None = None) -> Check:
    """Put every good case through `accept` twice: the second time must give the first references, one a submission."""
    problems: list[str] = []
    known = gather(adapter, cases)
    for case, got in taken(adapter, known):
        first = list(await accept(case.delivery, got.parsed))
        second = list(await accept(case.delivery, outcome(adapter, case).parsed))
        if len(first) != len(got.parsed):
            problems.append(f"{case.name}: {len(got.parsed)} submissions gave {len(first)} references. Each must get one.")
        if first != second:
            problems.append(f"{case.name}: taken twice, it became a second complaint. Make external_id the same for the same content.")
    return Check("accepted", "through accept twice, a delivery is one complaint", tuple(problems))


def taken(adapter: Adapter, cases: Sequence[Case]) -> list[tuple[Case, Outcome]]:
    """The cases that give submissions, with what they give."""
    return [(case, got) for case, got in accepted(adapter, cases) if got.parsed]


def accepted(adapter: Adapter, cases: Sequence[Case]) -> list[tuple[Case, Outcome]]:
    """The cases that give submissions or a handshake."""
    return [(case, got) for case in cases if (got := outcome(adapter, case)).parsed or got.reply]


def outcome(adapter: Adapter, case: Case, delivery: Delivery | None = None) -> Outcome:
    """What comes of a case; nothing where the adapter fails, which the check `expected` reports."""
    return attempt(adapter, delivery or case.delivery, case.meta.secret) or Outcome()


def attempt(adapter: Adapter, delivery: Delivery, secret: dict[str, str]) -> Outcome | None:
    """An outcome, or None where the adapter raises what it must not."""
    try:
        return run(adapter, delivery, secret)
    except Exception:  # other checks report it
        return None


def verdict(adapter: Adapter, delivery: Delivery, secret: dict[str, str]) -> str:
    """How a delivery ends: the code of its refusal, or what happened instead."""
    try:
        got = run(adapter, delivery, secret)
    except Exception as error:  # whatever an adapter raises is a finding, not our failure
        return f"raised {named(error)}"
    return got.refusal.code if isinstance(got.refusal, SubmissionRejected) else "it was taken"


def noisy(delivery: Delivery) -> Delivery:
    """The same delivery by another way: more headers, in another order, three seconds later."""
    headers = dict(reversed([*delivery.headers.items(), *NOISE.items()]))
    return msgspec.structs.replace(delivery, headers=headers, received_at=delivery.received_at + timedelta(seconds=3))


def flipped(value: str, at: int) -> str:
    """A value with one character changed to another of the same sort."""
    old = value[at : at + 1]
    new = "1" if old == "0" else "0" if old.isdigit() else "b" if old == "a" else "a"
    return value[:at] + new + value[at + 1 :]


def plain(value: dict[str, object]) -> dict[str, object]:
    """A value as it comes back from JSON."""
    return msgspec.json.decode(msgspec.json.encode(value), type=dict[str, object])


def difference(wanted: Mapping[str, object], got: Mapping[str, object]) -> str:
    """Where two outcomes first differ, in a few words."""
    sort = next(iter(wanted), "")
    if sort not in got:
        return f"expected {sort}, got {next(iter(got))} {str(got.get('message', ''))[:120]}".rstrip()
    before, after = re.findall(r"\S+", str(wanted[sort])), re.findall(r"\S+", str(got[sort]))
    at = next(
        (number for number, (one, other) in enumerate(zip(before, after, strict=False)) if one != other), min(len(before), len(after))
    )
    return f"{sort} differ: expected … {' '.join(before[at : at + 5])} …, got … {' '.join(after[at : at + 5])} …"


def named(error: BaseException) -> str:
    """An unexpected exception in a few words."""
    return f"{type(error).__name__} ({str(error)[:100]})"
