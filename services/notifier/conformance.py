"""What every sender must keep to, as checks that third parties run against theirs too. Imports no test library.

A test gives `CHECKS` a maker of unopened senders and a `Platform`: whatever stands behind the sender on loopback, with its faults.

    for check in CHECKS:
        await check(MySender, my_platform)      # raises Nonconformity with what is wrong and what to do

Each check opens its own senders and closes them; the platform starts clean for each. A platform that cannot show a fault says so from
`fault`, and the check that needs it passes over.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Protocol, cast

import msgspec

from services.notifier.compose import DeskIdentity, compose
from services.notifier.sender import Letter, Sender, Sent
from shared.complaint import Channel, Locale, Notice, NoticeKind
from shared.errors import ConfigError, DeskError, TemporaryFailure, Undeliverable
from shared.notice_details import Progress, to_detail

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
DESK = DeskIdentity(mail_from="care@shop.example", public_url="https://desk.shop.example")
KEY = b"key of the conformance checks"
WORDS = "您的包裹已重新寄出，單號 SF1234567890，émile ✅"


class Nonconformity(AssertionError):
    """The sender breaks the contract of services/notifier/sender.py."""


class Fault(StrEnum):
    """What a platform can be made to do."""

    BUSY = "busy"
    """Asks the next letter to come back later."""
    UNKNOWN_RECIPIENT = "unknown_recipient"
    """Refuses the recipient for good."""
    CUT = "cut"
    """Takes the next letter and hangs up before it says so."""
    AWAY = "away"
    """Nobody listens any more."""
    WRONG_LOGIN = "wrong_login"
    """Refuses our credentials."""


class Taken(msgspec.Struct, frozen=True):
    """A message as the platform took it. key: what tells a repeated letter, where the platform keeps such a thing."""

    recipient: str
    text: str
    key: str = ""


class Platform(Protocol):
    """The outside world behind one sender. secrets: values of the settings that no error may show."""

    source: str
    recipient: str
    secrets: Sequence[str]

    @property
    def settings(self) -> Mapping[str, str]:
        """With which the sender reaches this platform."""
        ...

    def taken(self) -> Sequence[Taken]:
        """Everything taken since the last `clear`, in order."""
        ...

    async def clear(self) -> None:
        """Forget all messages and all faults."""
        ...

    async def fault(self, fault: Fault) -> bool:
        """Make it happen from now on (BUSY and CUT: once). False when this platform knows no such thing."""
        ...


Maker = Callable[[], Sender]
Check = Callable[[Maker, Platform], Awaitable[None]]


def demand(truth: object, otherwise: str) -> None:
    if not truth:
        raise Nonconformity(otherwise)


def letter_for(platform: Platform, number: int = 1, words: str = WORDS) -> Letter:
    """A progress letter with a number of its own."""
    notice = Notice(
        key=f"C261122-7K3QXP:progress:{number}",
        reference="C261122-7K3QXP",
        kind=NoticeKind.PROGRESS,
        channel=Channel.SOCIAL,
        source=platform.source,
        account="conformance",
        recipient=platform.recipient,
        created_at=NOW,
        locale=Locale.ZH_CN,
        detail=to_detail(Progress(message=words, next_by=NOW + timedelta(hours=6))),
    )
    return compose(notice, desk=DESK, secret=KEY)


@asynccontextmanager
async def opened(make: Maker, platform: Platform) -> AsyncGenerator[Sender]:
    await platform.clear()
    sender = make()
    await sender.open(platform.settings)
    try:
        yield sender
    finally:
        await sender.close()


async def failure_of(sender: Sender, letter: Letter, platform: Platform) -> DeskError:
    """The declared error that sending raises; any other, or none, breaks the contract."""
    try:
        await sender.send(letter)
    except (TemporaryFailure, Undeliverable) as failure:
        for secret in platform.secrets:
            demand(secret not in failure.message, "An error shows a password or token. Leave settings out of messages.")
        return failure
    except Exception as error:
        raise Nonconformity(f"send raised {type(error).__name__}. Raise TemporaryFailure or Undeliverable and nothing else.") from error
    raise Nonconformity("send said that a letter was taken which was not. Look at the platform's answer.")


async def declares_itself(make: Maker, platform: Platform) -> None:
    sender = make()
    demand(sender.name and sender.name.isidentifier(), "`name` must be a word such as smtp: it is the key in DESK_SENDERS.")
    demand(platform.source in sender.sources, f"`sources` must hold {platform.source}.")


async def refuses_unknown_settings(make: Maker, platform: Platform) -> None:
    try:
        await make().open({**platform.settings, "no_such_setting": "1"})
    except ConfigError as error:
        demand("no_such_setting" in error.message, "The ConfigError must name the setting that is wrong.")
        for secret in platform.secrets:
            demand(secret not in error.message, "The ConfigError shows a secret. Leave values out.")
        return
    raise Nonconformity("open took a setting it does not know. Raise ConfigError, so that a misspelt one is noticed.")


async def carries_a_letter(make: Maker, platform: Platform) -> None:
    async with opened(make, platform) as sender:
        letter = letter_for(platform)
        said = cast(object, await sender.send(letter))  # what a sender gives back is not yet known to be what it promises
        taken = platform.taken()
        demand(isinstance(said, Sent), "send must return a Sent.")
        demand(len(taken) == 1, f"One letter must arrive once; {len(taken)} messages arrived.")
        demand(taken[0].recipient == platform.recipient, "The letter must go to the notice's recipient and nobody else.")
        demand(taken[0].text.strip() == letter.text.strip(), "The words must arrive as they were written, in every script.")


async def carries_a_long_letter(make: Maker, platform: Platform) -> None:
    """Split or whole, every sentence arrives, in order and once."""
    sentences = [f"第{number}项已经核实，结果见下一条说明。" for number in range(200)]
    async with opened(make, platform) as sender:
        await sender.send(letter_for(platform, words="".join(sentences)[:3990]))
        whole = "".join(message.text for message in platform.taken())
        wanted = [sentence for sentence in sentences if sentence in "".join(sentences)[:3990]]
        places = [whole.find(sentence) for sentence in wanted]
        demand(-1 not in places and places == sorted(places), "A long letter must arrive whole and in order: split it, do not cut it.")
        demand(all(whole.count(sentence) == 1 for sentence in wanted), "A long letter must not repeat itself where it is split.")


async def carries_many_at_once(make: Maker, platform: Platform) -> None:
    async with opened(make, platform) as sender:
        await asyncio.gather(*(sender.send(letter_for(platform, number, f"第 {number} 封信。")) for number in range(20)))
        texts = sorted(message.text for message in platform.taken())
        demand(len(texts) == 20, f"Twenty letters sent at once must arrive as twenty; {len(texts)} arrived.")
        demand(len(set(texts)) == 20, "Letters sent at once were mixed up.")


async def gives_up_on_an_unknown_recipient(make: Maker, platform: Platform) -> None:
    async with opened(make, platform) as sender:
        if await platform.fault(Fault.UNKNOWN_RECIPIENT):
            failure = await failure_of(sender, letter_for(platform), platform)
            demand(isinstance(failure, Undeliverable), "A recipient refused for good is Undeliverable: no retry helps.")
            demand(not platform.taken(), "A refused letter must not arrive.")


async def comes_back_when_busy(make: Maker, platform: Platform) -> None:
    async with opened(make, platform) as sender:
        if await platform.fault(Fault.BUSY):
            failure = await failure_of(sender, letter_for(platform), platform)
            demand(isinstance(failure, TemporaryFailure), "A busy platform is a TemporaryFailure: the letter is not lost.")
            demand(not getattr(failure, "uncertain", False), "A platform that said it did not take the letter leaves nothing uncertain.")
            await sender.send(letter_for(platform))
            demand(len(platform.taken()) == 1, "After a busy answer the next try must get through, on the same sender.")


async def tells_an_unknown_outcome(make: Maker, platform: Platform) -> None:
    async with opened(make, platform) as sender:
        if not await platform.fault(Fault.CUT):
            return
        letter = letter_for(platform)
        failure = await failure_of(sender, letter, platform)
        demand(isinstance(failure, TemporaryFailure), "A cut line is a TemporaryFailure.")
        demand(
            getattr(failure, "uncertain", False),
            "A line cut after the letter went out leaves it open whether it arrived: say uncertain=True.",
        )
        demand(len(platform.taken()) == 1, "A sender never sends a letter again by itself.")
        if sender.repeatable:
            await sender.send(letter)
            keys = {message.key for message in platform.taken()}
            demand(
                len(keys) == 1 and "" not in keys,
                "`repeatable` means that a repeated letter carries the same id for the platform or client.",
            )


async def waits_while_the_platform_is_away(make: Maker, platform: Platform) -> None:
    async with opened(make, platform) as sender:
        if await platform.fault(Fault.AWAY):
            failure = await failure_of(sender, letter_for(platform), platform)
            demand(isinstance(failure, TemporaryFailure), "A platform that is away is a TemporaryFailure.")
            demand(not getattr(failure, "uncertain", False), "Where no connection came about, nothing is uncertain.")


async def waits_for_the_operator(make: Maker, platform: Platform) -> None:
    async with opened(make, platform) as sender:
        if await platform.fault(Fault.WRONG_LOGIN):
            failure = await failure_of(sender, letter_for(platform), platform)
            demand(
                isinstance(failure, TemporaryFailure),
                "Wrong credentials are the operator's to mend: TemporaryFailure, so that letters wait.",
            )
            demand("DESK_SENDERS" in failure.message, "The message must tell the operator where to mend the credentials.")


async def leaves_nothing_behind(make: Maker, platform: Platform) -> None:
    before = asyncio.all_tasks()
    async with opened(make, platform) as sender:
        await sender.send(letter_for(platform))
    leftover = [task.get_name() for task in asyncio.all_tasks() - before if not task.done()]
    demand(not leftover, f"close left tasks running: {', '.join(leftover)}. End them in close.")


CHECKS: tuple[Check, ...] = (
    declares_itself,
    refuses_unknown_settings,
    carries_a_letter,
    carries_a_long_letter,
    carries_many_at_once,
    gives_up_on_an_unknown_recipient,
    comes_back_when_busy,
    tells_an_unknown_outcome,
    waits_while_the_platform_is_away,
    waits_for_the_operator,
    leaves_nothing_behind,
)
