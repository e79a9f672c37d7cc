"""The spine of the router: what a complaint is, how pressing, whose it is, by when, and why. Pure; the worker reads and writes.

Each step is a function of its own: understand (classify/), prioritise, assign, clocks. This page only puts them in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from services.router import clocks
from services.router.assign import assign
from services.router.classify import hints_of, understand
from services.router.prioritise import prioritise
from shared.complaint import Category, Decision, Priority, Reason, Submission
from shared.policy import Policy


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A complaint as the router sees it: everything the customer has said about it so far, the first submission first."""

    reference: str
    received_at: datetime
    submissions: Sequence[Submission]
    tier: str = ""


def decide(case: Case, policy: Policy) -> Decision:
    """The whole decision with its reasons and the policy's hash. The same case and policy always give the same decision."""
    first = case.submissions[0]
    text = "\n\n".join(s.text for s in case.submissions if s.text)
    seen = understand(first.subject, text, first.channel, hints_of(first, tier=case.tier), policy)
    pressing = prioritise(seen, first.channel, policy, tier=case.tier)
    department, why = assign(seen.category, review=seen.review, policy=policy)
    orders = tuple(dict.fromkeys((*(s.order_number for s in case.submissions if s.order_number), *seen.order_numbers)))
    by = clocks.deadlines(case.received_at, seen.category, complex_case=pressing.complex, policy=policy, signals=frozenset(seen.signals))
    return Decision(
        category=seen.category,
        priority=pressing.priority,
        department=department,
        confidence=seen.confidence,
        review=seen.review,
        secondary=seen.secondary,
        complex=pressing.complex,
        language=seen.language,
        order_numbers=orders,
        phones=seen.phones,
        demand=seen.demand,
        missing=seen.missing,
        reasons=(*seen.reasons, *pressing.reasons, why),
        deadlines=by,
        policy_hash=policy.hash,
    )


def undecidable(case: Case, policy: Policy, error: Exception) -> Decision:
    """For a case that `decide` itself failed on, which is our fault: a person decides, so that the customer never waits on our bug."""
    department, why = assign(Category.OTHER, review=True, policy=policy)
    failed = Reason("undecidable", f"自动分类出错（{type(error).__name__}），请人工判断。")
    return Decision(
        category=Category.OTHER,
        priority=Priority.HIGH,
        department=department,
        confidence=0.0,
        review=True,
        reasons=(failed, why),
        deadlines=clocks.deadlines(case.received_at, Category.OTHER, complex_case=False, policy=policy),
        policy_hash=policy.hash,
    )
