"""What an action of a department makes of a complaint: `plan(case, action, moment) -> Change`. Pure: no clock, database or queue.

Each action is one step of the lifecycle with its event, the clocks it stops or sets anew, what the customer is told, and what becomes of
the department's work. docs/domain.md sections 3 to 6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from services.router import clocks
from shared.complaint import Category, Complaint, Deadline, Event, Notice, NoticeKind, State
from shared.dialogue import (
    Action,
    Answer,
    Ask,
    Bury,
    Claiming,
    Finish,
    Prioritise,
    Progress,
    Propose,
    Reopen,
    Requeue,
    Resolve,
    Transfer,
    Withdraw,
)
from shared.errors import RuleViolation
from shared.ledger.outbox import Entry, Topic
from shared.ledger.submissions import Stored
from shared.ledger.work import Standing
from shared.lifecycle import after
from shared.notice_details import InfoRequest, NoticeDetail, Result, Solution
from shared.notice_details import Progress as ProgressDetail
from shared.policy import Policy
from shared.reach import name_of, notice_to

ALL_CLOCKS = ("first_response", "customer_reply", "department_answer", "resolution", "follow_up", "escalation_1", "escalation_2")
OVER = (State.RECEIVED, State.CLOSED, State.JOINED)
HEARD = ("first_response", "customer_reply")
"""Clocks that stop when the customer hears from a person."""


class Stale(RuleViolation):
    """The item is no longer this department's to do."""

    code = "stale"


class Unanswered(RuleViolation):
    """The customer has been told nothing yet, so the work is not done."""

    code = "unanswered"


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A complaint as an action finds it. said: what the customer sent, oldest first, where the action may write to the customer.

    unusable: (kind, value) of identities not to be written to. deadlines: all of them, where the action moves any.
    """

    standing: Standing
    said: Sequence[Stored] = ()
    unusable: frozenset[tuple[str, str]] = frozenset()
    deadlines: Sequence[Deadline] = ()

    @property
    def complaint(self) -> Complaint:
        return self.standing.complaint


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """By whose hand, when, and under which policy."""

    now: datetime
    actor: str
    policy: Policy


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one action writes. event None: nothing changes. met: clocks that stop. due: clocks set anew. ended: no follow-ups."""

    standing: Standing
    event: Event | None = None
    notice: Notice | None = None
    outbox: tuple[Entry, ...] = ()
    met: tuple[str, ...] = ()
    due: tuple[Deadline, ...] = ()
    ended: bool = False


def needs_the_customer(action: Action) -> bool:
    """Whether the plan reads what the customer sent: to write to them, or because it is handed out."""
    match action:
        case Progress(tell_customer=told) | Resolve(tell_customer=told):
            return told
        case Finish(resolution=resolution):
            return resolution is not None and resolution.tell_customer
        case _:
            return isinstance(action, Ask | Propose | Claiming)


def moves_deadlines(action: Action) -> bool:
    """Whether the plan reads the complaint's deadlines."""
    return isinstance(action, Ask | Transfer)


def plan(case: Case, action: Action, moment: Moment) -> Change:
    """What the action makes of the case.

    Raises IllegalTransition where the state does not allow it, RuleViolation (Stale, Unanswered) where a rule of the house does not.
    """
    step = STEPS.get(type(action)) or next((step for kind, step in STEPS.items() if isinstance(action, kind)), None)
    if step is None:
        raise TypeError(f"{type(action).__name__} is no action on a complaint")
    return step(case, action, moment)


def _claim(case: Case, action: Claiming, moment: Moment) -> Change:
    standing = case.standing
    if standing.work != "open" or case.complaint.department != action.department or case.complaint.state in OVER:
        raise Stale(f"{case.complaint.reference} is not open work of {action.department}.")
    if case.complaint.state is not State.ASSIGNED:
        return Change(standing=standing)  # claimed before: whoever works it may change, the complaint does not
    return _step(case, "claimed", moment, {"department": action.department})


def _progress(case: Case, action: Progress, moment: Moment) -> Change:
    change = _step(case, "progressed", moment, {"note": action.note}, met=("department_answer",))
    if not action.tell_customer:
        return change
    heard = clocks.follow_up(moment.now, moment.policy)
    words = ProgressDetail(customer_name=_name(case), message=action.note, next_by=heard.due_by)
    return _tell(change, case, NoticeKind.PROGRESS, words, moment, due=(heard,))


def _ask(case: Case, action: Ask, moment: Moment) -> Change:
    answer_by = _later(action.answer_by, moment, "answer_by") or clocks.follow_up(moment.now, moment.policy).due_by
    question = action.question.strip()
    detail = {"question": question, "fields": list(action.fields), "answer_by": answer_by.isoformat()}
    change = _step(case, "asked", moment, detail)
    moved = _paused(case, answer_by - moment.now, moment.policy)
    own = next((d.due_by for d in moved if d.clock == "department_answer"), change.standing.due_by)
    change = msgspec.structs.replace(change, standing=msgspec.structs.replace(change.standing, due_by=own))
    words = InfoRequest(customer_name=_name(case), missing=action.fields, questions=(question,) if question else (), answer_by=answer_by)
    heard = clocks.follow_up(moment.now, moment.policy)
    return _tell(change, case, NoticeKind.INFO_REQUEST, words, moment, due=(*moved, heard))


def _propose(case: Case, action: Propose, moment: Moment) -> Change:
    for option in action.options:
        _later(option.by, moment, f"the date of “{option.title}”")
    answer_by = _later(action.answer_by, moment, "answer_by")
    detail: dict[str, Any] = {"options": msgspec.to_builtins(action.options), "cause": action.cause}
    decision = case.complaint.decision
    # By the resolution clock a complex complaint must have a solution offered, an ordinary one must be solved (docs/domain.md section 4).
    offered = ("resolution",) if decision is not None and decision.complex else ()
    change = _step(case, "proposed", moment, detail, met=("department_answer", *offered))
    words = Solution(customer_name=_name(case), options=action.options, cause=action.cause, answer_by=answer_by)
    return _tell(change, case, NoticeKind.SOLUTION, words, moment, due=(clocks.follow_up(moment.now, moment.policy),))


def _answer(case: Case, action: Answer, moment: Moment) -> Change:
    return _step(case, "accepted" if action.accepted else "refused", moment, {"note": action.note})


def _transfer(case: Case, action: Transfer, moment: Moment) -> Change:
    policy, complaint = moment.policy, case.complaint
    if action.department not in policy.departments:
        raise RuleViolation(f"There is no department '{action.department}'. Transfer to one of: {', '.join(policy.departments)}.")
    if action.department == complaint.department:
        raise RuleViolation(f"{complaint.reference} is with {action.department} already. Progress, propose or resolve it there.")
    category = action.category or complaint.category or Category.OTHER
    answer = clocks.department_answer(moment.now, category, policy)
    detail: dict[str, Any] = {
        "from": complaint.department,
        "to": action.department,
        "reason": action.reason,
        "category": category,
        "category_before": complaint.category,
    }
    held = next((d for d in case.deadlines if d.clock == "department_answer"), None)
    if held is not None:  # who held it when it was late stays on record: the clock itself starts anew
        detail["answer_was_due_by"] = held.due_by.isoformat()
        detail["was_late"] = held.met_at is None and held.due_by < moment.now
    fields = {"department": action.department, "category": category, "review": False}
    change = _step(case, "transferred", moment, detail, fields=fields, work="open", due_by=answer.due_by)
    return msgspec.structs.replace(change, due=(answer,), outbox=_moved(change.standing, Topic.ASSIGNED, Topic.WITHDRAWN))


def _resolve(case: Case, action: Resolve, moment: Moment) -> Change:
    detail = {"cause": action.cause, "measure": action.measure, "improvement": action.improvement}
    fields = {"resolution": action.measure}
    change = _step(case, "resolved", moment, detail, fields=fields, met=ALL_CLOCKS, work="done")
    if not action.tell_customer:
        return change
    words = Result(customer_name=_name(case), cause=action.cause, measure=action.measure, improvement=action.improvement)
    return _tell(change, case, NoticeKind.RESULT, words, moment)


def _finish(case: Case, action: Finish, moment: Moment) -> Change:
    if action.resolution is not None:
        return _resolve(case, action.resolution, moment)
    if case.complaint.state in (State.ASSIGNED, State.INVESTIGATING):
        raise Unanswered(
            f"{case.complaint.reference} cannot be done yet: the customer has been told nothing. Settle it with a `resolution` "
            '({"cause": ..., "measure": ...}), or ask, propose or transfer first, or settle it as dead with a reason.'
        )
    return _step(case, "finished", moment, {}, work="done")


def _reopen(case: Case, action: Reopen, moment: Moment) -> Change:
    policy, complaint = moment.policy, case.complaint
    category = complaint.category or Category.OTHER
    decision = complaint.decision
    due = clocks.deadlines(moment.now, category, complex_case=bool(decision and decision.complex), policy=policy)
    fields = {"resolution": "", "closed_at": None}
    detail = {"reason": action.reason}
    change = _step(case, "reopened", moment, detail, fields=fields, work="open", due_by=due[0].due_by)
    return msgspec.structs.replace(change, due=due, outbox=_moved(change.standing, Topic.ASSIGNED))


def _bury_or_requeue(case: Case, action: Bury | Requeue, moment: Moment) -> Change:
    standing = case.standing
    if isinstance(action, Bury):
        if standing.work != "open":
            raise Stale(f"{case.complaint.reference} is not open work, so it cannot become a dead letter.")
        return _step(case, "dead_lettered", moment, {"reason": action.reason}, work="dead", reason=action.reason)
    if standing.work != "dead":
        raise RuleViolation(f"{case.complaint.reference} is not a dead letter. Its department finds it in the queue, if it is open.")
    change = _step(case, "requeued", moment, {"reason": action.reason, "was": standing.reason}, work="open")
    return msgspec.structs.replace(change, outbox=_moved(change.standing, Topic.ASSIGNED))


def _prioritise(case: Case, action: Prioritise, moment: Moment) -> Change:
    before = case.complaint.priority
    due_by = _later(action.due_by, moment, "due_by")
    detail: dict[str, Any] = {"priority": action.priority, "before": before, "reason": action.reason}
    change = _step(case, "reprioritised", moment, detail, fields={"priority": action.priority}, due_by=due_by)
    due = (Deadline(clock="department_answer", due_by=due_by, why=f"人工调整：{action.reason}"),) if due_by else ()
    queued = _moved(change.standing, Topic.ASSIGNED) if case.standing.work == "open" else ()
    return msgspec.structs.replace(change, due=due, outbox=queued)


def _withdraw(case: Case, action: Withdraw, moment: Moment) -> Change:
    fields = {"resolution": action.reason, "closed_at": moment.now}
    change = _step(case, "withdrawn", moment, {"reason": action.reason}, fields=fields, met=ALL_CLOCKS, work="done")
    queued = _moved(change.standing, Topic.WITHDRAWN) if case.standing.work in ("open", "dead") else ()
    return msgspec.structs.replace(change, outbox=queued, ended=True)


def _step(
    case: Case,
    kind: str,
    moment: Moment,
    detail: dict[str, Any],
    *,
    fields: dict[str, Any] | None = None,
    met: tuple[str, ...] = (),
    work: str | None = None,
    reason: str = "",
    due_by: datetime | None = None,
) -> Change:
    """One step of the lifecycle with its event. work None leaves the department's work as it is."""
    complaint = case.complaint
    changed = msgspec.structs.replace(
        complaint, state=after(complaint.state, kind), version=complaint.version + 1, updated_at=moment.now, **(fields or {})
    )
    standing = msgspec.structs.replace(case.standing, complaint=changed, due_by=due_by or case.standing.due_by)
    if work is not None:
        standing = msgspec.structs.replace(standing, work=work, reason=reason, at=moment.now)
    kept = {name: value for name, value in detail.items() if value not in (None, "", [])}
    return Change(standing=standing, event=Event(complaint.reference, changed.version, moment.now, kind, moment.actor, kept), met=met)


def _tell(change: Change, case: Case, kind: NoticeKind, words: NoticeDetail, moment: Moment, *, due: tuple[Deadline, ...] = ()) -> Change:
    """The change with its notice. Where the customer cannot be reached the history says so, and the clocks of hearing run on."""
    complaint = change.standing.complaint
    key = f"{kind.value}/{complaint.reference}/{complaint.version}"
    notice = notice_to(complaint, [s.submission for s in case.said], kind, words, key=key, now=moment.now, unusable=case.unusable)
    if notice is None:
        event = (
            msgspec.structs.replace(change.event, detail={**change.event.detail, "untold": "no way to reach the customer"})
            if change.event
            else None
        )
        return msgspec.structs.replace(change, event=event, due=tuple(d for d in due if d.clock != "follow_up"))
    entry = Entry(f"notice/{key}", Topic.NOTICE, key)
    met = tuple(dict.fromkeys((*change.met, *HEARD)))
    return msgspec.structs.replace(change, notice=notice, outbox=(*change.outbox, entry), met=met, due=due)


def _moved(standing: Standing, *topics: Topic) -> tuple[Entry, ...]:
    c = standing.complaint
    return tuple(Entry(f"{topic.value}/{c.reference}/{c.version}", topic, c.reference) for topic in topics)


def _paused(case: Case, wait: timedelta, policy: Policy) -> tuple[Deadline, ...]:
    """The running clocks that pause while the customer is waited for, moved by as long as the customer was given."""
    pausing = {"department_answer": policy.clocks.department_answer.pauses, "resolution": policy.clocks.resolution.pauses}
    return tuple(
        Deadline(clock=d.clock, due_by=d.due_by + wait, why=f"{d.why}；等待客户答复，顺延 {wait.total_seconds() / 3600:g} 小时")
        for d in case.deadlines
        if pausing.get(d.clock) and d.met_at is None and d.breached_at is None
    )


def _later(instant: datetime | None, moment: Moment, what: str) -> datetime | None:
    """The instant, where it lies ahead. Raises RuleViolation."""
    if instant is not None and instant <= moment.now:
        raise RuleViolation(f"{what} is {instant.isoformat()}, which is past. Give a time that is still to come.")
    return instant


def _name(case: Case) -> str:
    return name_of([s.submission for s in case.said])


#: how each action is planned; a subclass of an action (an HTTP body with its token) is planned as the action
STEPS: dict[type[Action], Callable[[Case, Any, Moment], Change]] = {
    Claiming: _claim,
    Progress: _progress,
    Ask: _ask,
    Propose: _propose,
    Answer: _answer,
    Transfer: _transfer,
    Resolve: _resolve,
    Finish: _finish,
    Reopen: _reopen,
    Bury: _bury_or_requeue,
    Requeue: _bury_or_requeue,
    Prioritise: _prioritise,
    Withdraw: _withdraw,
}
