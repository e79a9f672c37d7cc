"""Compares every mailbox with the ledger, again and again: a mail that no outcome accounts for is an alarm. Takes no mail itself."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import structlog

from services.intake.mailbox import CONNECTION_TROUBLE, Mailbox, explain
from services.intake.mailbox_contract import Standing
from shared.telemetry import MAILBOX_GAP

EVERY = 300.0
"""Seconds between two comparisons."""
FIRST_AFTER = 30.0
WHOLE_EVERY = timedelta(hours=24)
"""Outcomes are never deleted, so what was once found whole need not be counted each time; once a day it is, all the same."""

log = structlog.get_logger()


class Reconciler:
    """Watches the watchers. `parts` says for /ready how each mailbox stands."""

    def __init__(self, mailboxes: Sequence[Mailbox], every: float = EVERY) -> None:
        self._mailboxes = mailboxes
        self._every = every
        self._clean: dict[str, tuple[int, int, datetime]] = {}
        self._gaps: dict[str, str] = {}

    async def run(self) -> None:
        """Compare all, wait, and so on until cancelled; the first time when the mailboxes have had a moment to connect."""
        pause = min(FIRST_AFTER, self._every)
        while True:
            await asyncio.sleep(pause)
            for mailbox in self._mailboxes:
                if mailbox.connected:  # what cannot be reached says so itself, and a second login would only vex the server
                    await self._checked(mailbox)
            pause = self._every

    async def _checked(self, mailbox: Mailbox) -> None:
        try:
            await self.check(mailbox)
        except Exception:  # a defect in the counting must not end the taking
            log.exception("mailbox_not_compared", mailbox=mailbox.options.name)

    async def check(self, mailbox: Mailbox) -> Standing | None:
        """Compare one; None where the server did not let us look."""
        options, now = mailbox.options, mailbox.clock()
        uidvalidity, up_to, whole_at = self._clean.get(options.name, (0, 0, now))
        if uidvalidity != mailbox.uidvalidity or now - whole_at > WHOLE_EVERY:
            up_to, whole_at = 0, now
        try:
            standing = await mailbox.twin().standing(above=up_to)
        except CONNECTION_TROUBLE as error:
            log.warning("mailbox_not_compared", mailbox=options.name, error=explain(error))
            return None
        MAILBOX_GAP.labels(options.account or options.user, options.folder).set(len(standing.missing))
        if standing.missing:
            self._gaps[options.name] = f"{len(standing.missing)} mails without an outcome. See `desk mailbox status`."
            self._clean.pop(options.name, None)
            log.error("mailbox_gap", mailbox=options.name, missing=len(standing.missing), first=standing.missing[0])
        else:
            self._gaps.pop(options.name, None)
            if standing.position and not standing.rebuilt:
                self._clean[options.name] = (standing.position.uidvalidity, standing.position.last_uid, whole_at)
        return standing

    def parts(self) -> Mapping[str, str]:
        """Each mailbox as /ready shows it: ok, or what is wrong with it."""
        return {f"mailbox {m.options.name}": self._gaps.get(m.options.name) or m.last_error or "ok" for m in self._mailboxes}
