"""How pressing a complaint is: urgency x complexity by the policy's points (docs/domain.md section 7). Pure.

It also says whether a complaint is complex, which chooses between the two resolution clocks.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from services.router.classify.understanding import Understanding
from shared.complaint import Category, Locale, Priority, Reason
from shared.policy import Policy

LEVELS = {Priority.URGENT: "紧急", Priority.HIGH: "高", Priority.NORMAL: "一般", Priority.LOW: "低"}


class Urgency(NamedTuple):
    """The priority, whether the complaint is complex, the points behind both, and why in a manager's words."""

    priority: Priority
    complex: bool
    urgency: float
    complexity: float
    reasons: tuple[Reason, ...]


class Points(NamedTuple):
    """What one observation adds to either sum."""

    urgency: float
    complexity: float
    reason: Reason


def prioritise(understanding: Understanding, channel: str, policy: Policy, *, tier: str = "") -> Urgency:
    """Priority from the category, the signals, the sum at stake, the customer's tier and the channel. tier: empty where unknown."""
    rules = policy.priority
    points = [*_category_points(understanding, policy), *_signal_points(understanding, policy)]
    points += _case_points(understanding, policy)
    for table, key, word in ((rules.channel, channel, "渠道"), (rules.tiers, tier, "客户等级")):
        if table.get(key):
            points.append(Points(table[key], 0, Reason(rule=f"priority:{key}", why=f"{word}：{key}")))
    urgency = sum(p.urgency for p in points)
    complexity = sum(p.complexity for p in points)
    level = bisect_right(rules.urgency_from, urgency)
    is_complex = complexity >= rules.complex_from
    priority = (rules.complex if is_complex else rules.ordinary)[level]
    summary = f"紧急度 {urgency:g} 分，复杂度 {complexity:g} 分（{'复杂' if is_complex else '普通'}投诉）：优先级“{LEVELS[priority]}”"
    return Urgency(priority, is_complex, urgency, complexity, (*(p.reason for p in points), Reason(rule="priority", why=summary)))


def _category_points(understanding: Understanding, policy: Policy) -> list[Points]:
    row = policy.categories[understanding.category]
    if not row.urgency and not row.complexity:
        return []
    why = f"类别“{row.names[Locale.ZH_CN]}”：{_told(row.urgency, row.complexity)}"
    return [Points(row.urgency, row.complexity, Reason(rule=f"priority:{understanding.category.value}", why=why))]


def _signal_points(understanding: Understanding, policy: Policy) -> list[Points]:
    """Points of the signals that were seen. Calm words never weigh against danger or a threat."""
    seen = [signal for signal in policy.wording.signals if signal.id in understanding.signals and (signal.urgency or signal.complexity)]
    grave = any(signal.kind in {"safety", "threat"} for signal in seen)
    praise = understanding.category is Category.OTHER and not grave
    kept = [
        s
        for s in seen
        if not (grave and s.kind == "calm") and not (praise and s.kind in {"mood", "time", "repeat", "money"} and s.urgency > 0)
    ]
    return [
        Points(
            signal.urgency,
            signal.complexity,
            Reason(
                rule=f"signal:{signal.id}",
                why=f"{signal.why}：{_told(signal.urgency, signal.complexity)}",
                words=understanding.signals[signal.id],
            ),
        )
        for signal in kept
    ]


def _case_points(understanding: Understanding, policy: Policy) -> list[Points]:
    """Points of the case itself: the sum at stake, a second trouble, a long story."""
    rules = policy.priority
    found: list[Points] = []
    if understanding.amount >= rules.large_amount and understanding.category is not Category.OTHER:
        why = f"涉及金额 {understanding.amount:g}，不少于 {rules.large_amount:g}：{_told(rules.large_amount_urgency, 0)}"
        found.append(Points(rules.large_amount_urgency, 0, Reason(rule="priority:amount", why=why)))
    if understanding.secondary:
        names = "、".join(policy.categories[category].names[Locale.ZH_CN] for category in understanding.secondary)
        why = f"同时涉及{names}：{_told(0, rules.second_category_complexity)}"
        found.append(Points(0, rules.second_category_complexity, Reason(rule="priority:second", why=why)))
    if understanding.length >= rules.long_text:
        why = f"情况说明较长：{_told(0, rules.long_text_complexity)}"
        found.append(Points(0, rules.long_text_complexity, Reason(rule="priority:long", why=why)))
    return found


def _told(urgency: float, complexity: float) -> str:
    parts = [f"{name} {value:+g}" for name, value in (("紧急度", urgency), ("复杂度", complexity)) if value]
    return "，".join(parts) or "不加分"
