"""The deadlines the router sets once it knows the category: answer, resolution, follow-up, escalation. Pure; `why` tells a manager.

The deadlines that run from acceptance (first response, customer reply) are set by intake: shared/calendars.py.
Source of every rule: docs/domain.md sections 3 and 4.
"""

from __future__ import annotations

from datetime import datetime

from shared.calendars import deadline_after, doubt
from shared.complaint import Category, Deadline, Locale
from shared.policy import Calendar, Policy

COUNTED = {"elapsed": "自然时间", "working": "工作时间"}
LEVELS = {1: "组长", 2: "经理"}


def deadlines(
    received_at: datetime, category: Category, *, complex_case: bool, policy: Policy, signals: frozenset[str] = frozenset()
) -> tuple[Deadline, ...]:
    """All deadlines that follow from what the complaint is: department_answer, resolution, follow_up, escalation_1, escalation_2.

    signals: ids of the signals seen (Understanding.signals); some change the answer time. All run from `received_at`.
    """
    return (
        department_answer(received_at, category, policy, signals=signals),
        resolution(received_at, complex_case=complex_case, policy=policy),
        follow_up(received_at, policy),
        *escalations(received_at, policy),
    )


def department_answer(start: datetime, category: Category, policy: Policy, *, signals: frozenset[str] = frozenset()) -> Deadline:
    """When the owning department must have answered; `start` is the acceptance, or the assignment to another department."""
    row = policy.categories[category]
    department = policy.departments[row.department]
    calendar = policy.calendars[department.calendar]
    hours, because = row.answer_hours, ""
    for variant in row.answer_variants:
        if variant.signal in signals:
            hours, because = variant.hours, f"（{variant.why}）"
    counts = row.counts or policy.clocks.department_answer.counts
    answer = f"，须附{row.answer_with}" if row.answer_with else ""
    what = f"{row.names[Locale.ZH_CN]}{because}：{department.names[Locale.ZH_CN]}须在 {hours:g} 小时内答复{answer}"
    return _deadline("department_answer", start, hours, counts=counts, calendar=calendar, what=what)


def resolution(start: datetime, *, complex_case: bool, policy: Policy) -> Deadline:
    """When an ordinary complaint must be solved, or a solution offered for a complex one."""
    clock = policy.clocks.resolution
    hours = clock.complex_hours if complex_case else clock.hours
    what = f"复杂投诉：{hours:g} 小时内给出解决方案" if complex_case else f"普通投诉：{hours:g} 小时内解决"
    return _deadline("resolution", start, hours, counts=clock.counts, calendar=policy.calendars[clock.calendar], what=what)


def follow_up(start: datetime, policy: Policy) -> Deadline:
    """By when the customer hears from us again; `start` is the acceptance or the last notice."""
    clock = policy.clocks.follow_up
    what = f"未结案期间，至少每 {clock.every_hours:g} 小时向客户通报一次进展"
    return _deadline("follow_up", start, clock.every_hours, counts=clock.counts, calendar=policy.calendars[clock.calendar], what=what)


def escalations(start: datetime, policy: Policy) -> tuple[Deadline, ...]:
    """When each level is told of an unresolved complaint: escalation_1 the team leader, escalation_2 the manager."""
    clock = policy.clocks.escalation
    calendar = policy.calendars[clock.calendar]
    return tuple(
        _deadline(
            f"escalation_{step.level}",
            start,
            step.hours,
            counts=clock.counts,
            calendar=calendar,
            what=f"超过 {step.hours:g} 小时未解决：升级至{LEVELS[step.level]}",
        )
        for step in clock.steps
    )


def _deadline(clock: str, start: datetime, hours: float, *, counts: str, calendar: Calendar, what: str) -> Deadline:
    due = deadline_after(start, hours, counts, calendar)
    remark = doubt(start, due, calendar) if counts == "working" else ""
    return Deadline(clock=clock, due_by=due, why=f"{what}（{COUNTED[counts]}）{remark}")
