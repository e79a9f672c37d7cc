"""What the organisation's policy says to the accept spine."""

from __future__ import annotations

from datetime import datetime, timedelta

from services.intake.accept import Rules
from shared.calendars import acceptance_deadlines, is_working_time, next_opening
from shared.complaint import Deadline
from shared.policy import Policy


def rules_of(policy: Policy, secret: bytes) -> Rules:
    """The rules by a policy and the desk's own key."""
    calendar = policy.calendars[policy.clocks.first_response.calendar]

    def deadlines(at: datetime) -> tuple[Deadline, ...]:
        return acceptance_deadlines(at, policy)

    def opens_at(at: datetime) -> datetime | None:
        return None if is_working_time(at, calendar) else next_opening(at, calendar)

    return Rules(
        secret=secret,
        acknowledge=policy.notices.acknowledgement,
        window=timedelta(days=policy.join.window_days),
        unusable_for=timedelta(days=policy.notices.unusable_days),
        deadlines=deadlines,
        opens_at=opens_at,
    )
