"""Which department answers. Pure. A complaint nobody is sure about goes to triage: the department that owns `other`."""

from __future__ import annotations

from shared.complaint import Category, Locale, Reason
from shared.policy import Policy


def assign(category: Category, *, review: bool, policy: Policy) -> tuple[str, Reason]:
    """(department id, why it). review: below the threshold of confidence, so that a person looks at it first."""
    owner = policy.department_of(category)
    name = policy.categories[category].names[Locale.ZH_CN]
    if not review:
        return owner, Reason("assign.owner", f"“{name}”归{policy.departments[owner].names[Locale.ZH_CN]}负责")
    triage = policy.department_of(Category.OTHER)
    title = policy.departments[triage].names[Locale.ZH_CN]
    return triage, Reason("assign.review", f"把握不足（最像“{name}”），先由{title}人工判断")
