"""What a customer may see of a complaint: the stages with their times, and by when the next word comes. Pure.

Nothing personal and nothing internal: no names, no departments, no notes. Whoever holds the link sees this much.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from shared.complaint import Complaint, Deadline, Event, Locale, State

STAGES = ("received", "assigned", "investigating", "solution", "done")
#: event kind -> the stage it brings the complaint to
BRINGS_TO = {
    "received": 0,
    "decided": 1,
    "transferred": 1,
    "reopened": 1,
    "claimed": 2,
    "progressed": 2,
    "asked": 2,
    "refused": 2,
    "proposed": 3,
    "accepted": 3,
    "resolved": 4,
    "closed": 4,
}
REACHED = {
    State.RECEIVED: 0,
    State.ASSIGNED: 1,
    State.INVESTIGATING: 2,
    State.AWAITING_CUSTOMER: 2,
    State.SOLUTION_PROPOSED: 3,
    State.RESOLVED: 4,
    State.CLOSED: 4,
}
#: what the customer reads in the history; everything else is ours alone
TOLD = frozenset(
    {
        "received", "followed_up", "decided", "claimed", "progressed", "asked", "proposed", "accepted", "refused",
        "resolved", "closed", "reopened", "escalated",
    }
)  # fmt: skip
#: the clocks that are promises to the customer (docs/domain.md section 4)
PROMISES = ("customer_reply", "follow_up", "resolution")
OVER = frozenset({State.RESOLVED, State.CLOSED})


class Stage(msgspec.Struct, frozen=True):
    """One of STAGES. at: when it was first reached; none while it is still to come, or where it was passed over."""

    name: str
    reached: bool
    at: datetime | None = None


class Step(msgspec.Struct, frozen=True):
    """One line of the history, by the kind of its event."""

    at: datetime
    kind: str


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Where a complaint stands. promised_by: when the customer hears from us at the latest; late: that has passed already.

    needs_you: we wait for the customer. Times are UTC. A complaint joined to another shows how that one stands.
    """

    reference: str
    state: str
    stages: tuple[Stage, ...]
    received_at: datetime
    updated_at: datetime
    locale: Locale
    promised_by: datetime | None = None
    late: bool = False
    needs_you: bool = False
    history: tuple[Step, ...] = ()


def progress(complaint: Complaint, history: Sequence[Event], due: Sequence[Deadline], now: datetime) -> Progress:
    """What the customer sees at `now`."""
    promised = None if complaint.state in OVER else promise(due, now)
    return Progress(
        reference=complaint.reference,
        state=complaint.state.value,
        stages=stages(complaint.state, history),
        received_at=complaint.received_at,
        updated_at=complaint.updated_at,
        locale=locale_of(complaint.language),
        promised_by=promised,
        late=promised is not None and promised < now,
        needs_you=complaint.state in {State.AWAITING_CUSTOMER, State.SOLUTION_PROPOSED},
        history=steps(history),
    )


def stages(state: State, history: Sequence[Event]) -> tuple[Stage, ...]:
    """All stages with the time each was first reached since the complaint was last reopened; the state says how far it is."""
    at: dict[int, datetime] = {}
    for event in history:
        stage = BRINGS_TO.get(event.kind)
        if stage is None:
            continue
        if event.kind == "reopened":
            at = {n: when for n, when in at.items() if n < stage}
        at.setdefault(stage, event.at)
    reached = REACHED.get(state, max(at, default=0))
    return tuple(Stage(name, n <= reached, at.get(n) if n <= reached else None) for n, name in enumerate(STAGES))


def steps(history: Sequence[Event]) -> tuple[Step, ...]:
    """The lines a customer is told, oldest first; the same thing several times running is one line, at its latest time."""
    told: list[Step] = []
    for event in history:
        if event.kind not in TOLD:
            continue
        if told and told[-1].kind == event.kind:
            told.pop()
        told.append(Step(event.at, event.kind))
    return tuple(told)


def promise(due: Sequence[Deadline], now: datetime) -> datetime | None:
    """The next promised time that is still open; where all have passed, the last of them."""
    open_promises = sorted(d.due_by for d in due if d.clock in PROMISES and d.met_at is None)
    return next((by for by in open_promises if by >= now), open_promises[-1] if open_promises else None)


def locale_of(language: str) -> Locale:
    """The stored language of a complaint as one of ours."""
    return Locale(language) if language in {locale.value for locale in Locale} else Locale.ZH_CN
