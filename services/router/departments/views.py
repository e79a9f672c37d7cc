"""What is shown of a complaint: to its department (Dossier), in lists (Summary), and the whole story. Pure: ledger values to shapes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from shared.complaint import Deadline, Event, Submission
from shared.dialogue import Clock, Contact, Dossier, File, Line, Said, Summary, Told, Waiting, WholeStory
from shared.ledger.notices import Shown
from shared.ledger.submissions import Stored
from shared.ledger.work import Standing
from shared.queues.contract import Entry


def instant(epoch: float) -> datetime:
    """An instant as queues hold it."""
    return datetime.fromtimestamp(epoch, UTC)


def summary(standing: Standing) -> Summary:
    c = standing.complaint
    return Summary(
        reference=c.reference,
        state=c.state,
        channel=c.channel,
        received_at=c.received_at,
        updated_at=c.updated_at,
        category=c.category,
        priority=c.priority,
        department=c.department,
        subject=c.subject,
        order_number=c.order_number,
        language=c.language,
        review=c.review,
        work=standing.work,
        due_by=standing.due_by,
        reason=standing.reason,
    )


def dossier(standing: Standing, stored: Sequence[Stored]) -> Dossier:
    """The complaint with all the customer said. A fact told in several submissions counts as first told."""
    c = standing.complaint
    told = [s.submission for s in stored]
    contacts = dict.fromkeys((i.kind, i.value) for s in told for i in s.customer.identities)
    return Dossier(
        reference=c.reference,
        state=c.state,
        channel=c.channel,
        received_at=c.received_at,
        updated_at=c.updated_at,
        category=c.category,
        priority=c.priority,
        department=c.department,
        subject=c.subject,
        order_number=c.order_number,
        language=c.language,
        review=c.review,
        work=standing.work,
        due_by=standing.due_by,
        reason=standing.reason,
        customer=next((s.customer.name for s in told if s.customer.name), ""),
        customer_id=c.customer_id,
        contacts=tuple(Contact(kind, value) for kind, value in contacts),
        product=_first(told, "product"),
        model=_first(told, "model"),
        purchased_at=_first(told, "purchased_at"),
        demand=_first(told, "demand") or (c.decision.demand if c.decision else ""),
        wanted_by=_first(told, "wanted_by"),
        said=tuple(_said(s) for s in stored),
        resolution=c.resolution,
        linked_to=c.linked_to,
        joined_to=c.joined_to,
        decision=c.decision,
        version=c.version,
    )


def story(
    standing: Standing, stored: Sequence[Stored], events: Sequence[Event], deadlines: Sequence[Deadline], notices: Sequence[Shown]
) -> WholeStory:
    return WholeStory(
        complaint=dossier(standing, stored),
        history=tuple(Line(seq=e.seq, at=e.at, kind=e.kind, actor=e.actor, detail=e.detail) for e in events),
        deadlines=tuple(Clock(clock=d.clock, due_by=d.due_by, why=d.why, met_at=d.met_at, breached_at=d.breached_at) for d in deadlines),
        notices=tuple(
            Told(
                key=n.notice.key,
                kind=n.notice.kind,
                source=n.notice.source,
                state=n.state,
                created_at=n.notice.created_at,
                sent_at=n.sent_at,
                reason=n.reason,
            )
            for n in notices
        ),
    )


def waiting(entry: Entry) -> Waiting:
    return Waiting(
        reference=entry.reference,
        place=entry.place,
        priority=entry.priority,
        due_by=instant(entry.due_at),
        attempts=entry.attempts,
        at=instant(entry.at),
        worker=entry.worker,
    )


def _said(stored: Stored) -> Said:
    s = stored.submission
    files = tuple(File(filename=a.filename, media_type=a.media_type, size=a.size, sha256=a.sha256) for a in s.attachments)
    return Said(at=stored.received_at, channel=s.channel, role=stored.role, text=s.text, subject=s.subject, files=files)


def _first(told: Sequence[Submission], field: str) -> str:
    return next((value for s in told if (value := getattr(s, field))), "")
