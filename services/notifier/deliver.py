"""The spine of the notifier: a notice whose turn it is becomes a letter and goes out once; what happened is written down.

`claim` takes notices in the ledger, `send` carries each out, `settle` records them all in one transaction. A notice key goes out at most
once: where a crash leaves the outcome unknown, only a sender whose letters may be repeated (the peer or the customer's client recognises
the id) tries again; any other notice becomes `uncertain` and is shown to the staff.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy.exc import IntegrityError

from services.notifier.caps import answers_mail, over_the_caps
from services.notifier.sender import Letter, Sender
from services.notifier.undelivered import tell_another_way
from shared.complaint import Notice, NoticeKind
from shared.errors import DeskError, Raced, TemporaryFailure, Undeliverable
from shared.ledger import Ledger, deadlines, notices
from shared.ledger.notices import Claimed, Settled
from shared.ledger.outbox import Entry
from shared.policy import Notices as Limits
from shared.telemetry import SENT, TELLING

LEASE = timedelta(seconds=90)
"""How long an attempt may take before it counts as crashed; longer than any sender's own time-out."""
AT_RISK = 4
"""Letters of one batch that must not be repeated and are in hand at once; all of those become uncertain when the process dies."""
SEND_WITHIN = 60.0
PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 12.0)
"""Seconds between the tries to write down what happened; with SEND_WITHIN they stay below LEASE."""
DELAYS = (10, 60, 300, 900, 3600)
"""Seconds before the next attempts; after the last of them hourly."""
GIVE_UP_AFTER = timedelta(hours=48)
TRIES = 8
"""Attempts to write down a batch while others change the same complaints."""

log = structlog.get_logger()


class Deliver:
    """Sends batches of notices. `compose` puts a notice into words; `senders` are looked up by the notice's source.

    later: told (key, when) for each notice that must be tried again, so that something wakes us; the ledger's sweep stands behind it.
    holder: this notifier's name, unique among the live ones and kept over restarts.
    limits: how many a recipient may get; None means no caps. forward: given the outbox entries of what is told another way.
    """

    def __init__(
        self,
        ledger: Ledger,
        senders: Mapping[str, Sender],
        compose: Callable[[Notice], Letter],
        later: Callable[[str, datetime], None],
        *,
        holder: str = "",
        limits: Limits | None = None,
        forward: Callable[[Sequence[Entry]], None] = lambda _: None,
    ) -> None:
        self._ledger = ledger
        self._senders = senders
        self._compose = compose
        self._later = later
        self._holder = holder
        self._limits = limits
        self._unusable_for = timedelta(days=limits.unusable_days if limits else 60)
        self._forward = forward

    async def resume(self) -> int:
        """Before the first batch: what was in hand when this notifier died is free again, without waiting for its LEASE to run out."""
        if not self._holder:
            return 0
        async with self._ledger.write() as tx:
            return await notices.let_go(tx, self._holder, datetime.now(UTC))

    async def batch(self, keys: Sequence[str]) -> list[Settled]:
        """Send those of the notices that are due and nobody else has in hand; how each attempt ended."""
        ended: list[Settled] = []
        while keys:
            claimed, capped, keys = await self._claim(keys)
            if claimed:
                failed: list[tuple[Notice, Undeliverable]] = []
                outcomes = await asyncio.gather(*(self._attempt(c, capped.get(c.notice.key, ""), failed) for c in claimed))
                await self._settle(claimed, outcomes, failed)
                ended += outcomes
        return ended

    async def _claim(self, keys: Sequence[str]) -> tuple[list[Claimed], dict[str, str], list[str]]:
        """Those that are ours to send now, of these the ones over a cap with the reason, and the keys that a next round takes: few letters
        that must not be repeated are at risk at once."""
        now = datetime.now(UTC)
        async with self._ledger.write() as tx:
            claimed = await notices.claim(tx, list(dict.fromkeys(keys)), now, now + LEASE, self._holder)
            later = [c.notice.key for c in claimed if not c.crashed and not self._repeatable(c.notice)][AT_RISK:]
            if later:
                await notices.put_back(tx, later, now)
                claimed = [c for c in claimed if c.notice.key not in later]
            counted = [c.notice for c in claimed if answers_mail(c.notice)] if self._limits else []
            if self._limits is None or not counted:
                return claimed, {}, later
            return claimed, over_the_caps(counted, await notices.sent_lately(tx, counted, now), self._limits), later

    def _repeatable(self, notice: Notice) -> bool:
        sender = self._senders.get(notice.source)
        return sender is None or sender.repeatable

    async def _attempt(self, claimed: Claimed, capped: str, failed: list[tuple[Notice, Undeliverable]]) -> Settled:
        """How one attempt ended; what no other attempt can mend is added to `failed`."""
        notice = claimed.notice
        if capped:
            return _ended(notice, "dead", capped)
        try:
            return await self._send(claimed)
        except TemporaryFailure as error:
            return again(claimed, error, datetime.now(UTC))
        except Undeliverable as error:
            failed.append((notice, error))
            return _ended(notice, "dead", error.message)
        except DeskError as error:
            return _ended(notice, "dead", f"{error.code}: {error.message}")
        except Exception as error:
            log.exception("notice.failed", key=notice.key, error=type(error).__name__)
            return again(claimed, TemporaryFailure(f"{type(error).__name__}: our fault, see the log"), datetime.now(UTC))

    async def _send(self, claimed: Claimed) -> Settled:
        notice = claimed.notice
        sender = self._senders.get(notice.source)
        if sender is None:
            raise TemporaryFailure(
                f"No sender for '{notice.source}' is set up. Add one to DESK_SENDERS and restart the notifier.", retry_after=300
            )
        if claimed.crashed and not sender.repeatable:
            return _ended(notice, "uncertain", "An attempt was cut off; the customer may have it. Ask, then requeue or leave it.")
        letter = self._compose(notice)
        try:
            async with asyncio.timeout(SEND_WITHIN):
                sent = await sender.send(letter)
        except TimeoutError:
            if sender.repeatable:
                raise TemporaryFailure(f"{sender.name} did not answer within {SEND_WITHIN:.0f} s.") from None
            return _ended(notice, "uncertain", f"{sender.name} did not answer; the customer may have it. Ask, then requeue or leave it.")
        except TemporaryFailure as error:
            if error.uncertain and not sender.repeatable:
                return _ended(notice, "uncertain", f"{error.message} The customer may have it. Ask, then requeue or leave it.")
            raise
        now = datetime.now(UTC)
        TELLING.observe((now - notice.created_at).total_seconds())
        return Settled(key=notice.key, state="sent", at=now, external_id=sent.external_id[:255], reason=sent.said[:500])

    async def _settle(
        self, claimed: Sequence[Claimed], outcomes: Sequence[Settled], failed: Sequence[tuple[Notice, Undeliverable]]
    ) -> None:
        first = [
            c.notice.reference
            for c, o in zip(claimed, outcomes, strict=True)
            if o.state == "sent" and c.notice.kind is NoticeKind.ACKNOWLEDGEMENT
        ]
        self._forward(await self._write_down(outcomes, first, failed))
        for c, outcome in zip(claimed, outcomes, strict=True):
            SENT.labels(c.notice.source, outcome.state).inc()
            if outcome.state == "pending" and outcome.next_at:
                self._later(outcome.key, outcome.next_at)
            elif outcome.state != "sent":
                log.warning("notice.not_sent", key=outcome.key, state=outcome.state, source=c.notice.source)

    async def _write_down(
        self, outcomes: Sequence[Settled], first: Sequence[str], failed: Sequence[tuple[Notice, Undeliverable]]
    ) -> list[Entry]:
        """All of a batch in one transaction; what must be handed on after it.

        What happened to a letter must not be forgotten over a ledger that is away for a moment: tried until our claim runs out.
        """
        for pause in (*PAUSES, None):
            try:
                return await self._write_once(outcomes, first, failed)
            except TemporaryFailure:
                if pause is None:
                    raise
                log.warning("settle.waits", notices=len(outcomes), again_in=pause)
                await asyncio.sleep(pause)
        raise AssertionError("the last try returns or raises")

    async def _write_once(
        self, outcomes: Sequence[Settled], first: Sequence[str], failed: Sequence[tuple[Notice, Undeliverable]]
    ) -> list[Entry]:
        for left in reversed(range(TRIES)):
            now = datetime.now(UTC)
            try:
                async with self._ledger.write() as tx:
                    await notices.settle(tx, outcomes)
                    await deadlines.meet(tx, first, ["first_response"], now)
                    # after so many defeats the notice is dead for people to see, without its second try
                    return await tell_another_way(tx, failed, now, self._unusable_for) if failed and left else []
            except (IntegrityError, Raced):
                continue  # somebody else changed one of these complaints meanwhile: read it again
        raise TemporaryFailure("Others changed these notices again and again. They are settled at the next attempt.")


def again(claimed: Claimed, error: TemporaryFailure, now: datetime) -> Settled:
    """When a failed attempt is repeated: as the peer asked, else by the ladder; dead after GIVE_UP_AFTER."""
    if now - claimed.notice.created_at > GIVE_UP_AFTER:
        return _ended(claimed.notice, "dead", f"Given up after {claimed.attempts} attempts: {error.message}")
    seconds = DELAYS[min(claimed.attempts, len(DELAYS)) - 1]
    wait = timedelta(seconds=max(error.retry_after or 0, seconds))
    return Settled(key=claimed.notice.key, state="pending", at=now, next_at=now + wait, reason=error.message[:500])


def _ended(notice: Notice, state: str, reason: str) -> Settled:
    return Settled(key=notice.key, state=state, at=datetime.now(UTC), reason=reason[:500])
