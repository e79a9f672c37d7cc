"""What the workbench's pages show of queues and complaints, in the reader's language. Pure: shapes in, values for templates out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.router.departments.pages.words import Words
from shared.complaint import Category
from shared.dialogue import Dossier, Line, Summary, Waiting, WholeStory
from shared.ledger.work import Standing
from shared.notice_details import MissingFact
from shared.policy import Policy

#: parts of an event's detail worth a line of their own, and the word beside each
TOLD = {
    "note": "note", "question": "question", "cause": "cause", "measure": "measure", "improvement": "improvement", "reason": "reason",
    "from": "from", "to": "to", "untold": "untold",
}  # fmt: skip


def queue_row(item: Waiting, standing: Standing | None, policy: Policy, words: Words) -> dict[str, Any]:
    """A line of the queue. standing None: the ledger does not know it; the next claim takes it out."""
    complaint = standing.complaint if standing else None
    return {
        "item": item,
        "category": category_name(complaint.category if complaint else None, policy, words),
        "subject": complaint.subject if complaint else "",
        "state": words(f"state.{complaint.state.value}") if complaint else "",
    }


def dead_row(item: Summary, policy: Policy, words: Words) -> dict[str, Any]:
    return {"item": item, "category": category_name(item.category, policy, words), "subject": item.subject}


def complaint(story: WholeStory, policy: Policy, words: Words) -> dict[str, Any]:
    """Everything the complaint's page shows."""
    c = story.complaint
    return {
        "c": c,
        "facts": _facts(c, policy, words),
        "reasons": c.decision.reasons if c.decision else (),
        "history": [_line(line, policy, words) for line in story.history],
        "clocks": story.deadlines,
        "notices": story.notices,
        "departments": [(name, department.names[words.locale]) for name, department in policy.departments.items()],
        "categories": [(category.value, row.names[words.locale]) for category, row in policy.categories.items()],
        "facts_to_ask": [fact.value for fact in MissingFact],
    }


def category_name(category: Category | None, policy: Policy, words: Words) -> str:
    return policy.categories[category].names[words.locale] if category else ""


def _facts(c: Dossier, policy: Policy, words: Words) -> list[tuple[str, str]]:
    secondary = [category_name(category, policy, words) for category in c.decision.secondary] if c.decision else []
    department = policy.departments.get(c.department)
    return [
        (words("department"), department.names[words.locale] if department else ""),
        (words("category"), category_name(c.category, policy, words)),
        (words("secondary"), "、".join(secondary)),
        (words("customer"), c.customer),
        (words("contacts"), "，".join(contact.value for contact in c.contacts)),
        (words("order_number"), c.order_number),
        (words("product"), " ".join(part for part in (c.product, c.model) if part)),
        (words("purchased_at"), c.purchased_at),
        (words("demand"), c.demand),
        (words("wanted_by"), c.wanted_by),
        (words("channel"), words(f"channel.{c.channel.value}")),
        (words("linked"), c.linked_to or c.joined_to),
        (words("resolution"), c.resolution),
        (words("reason"), c.reason if c.work == "dead" else ""),
    ]


def _line(line: Line, policy: Policy, words: Words) -> dict[str, Any]:
    told = [(words(word), _plain(name, line.detail[name], policy, words)) for name, word in TOLD.items() if line.detail.get(name)]
    options: Any = line.detail.get("options") or ()
    told += [(words("option"), f"{option['title']}（{str(option['by'])[:16].replace('T', ' ')}）") for option in options]
    asked: Any = line.detail.get("fields") or ()
    if asked:
        told.append((words("fields"), "、".join(words(f"fact.{fact}") for fact in asked)))
    return {"kind": line.kind, "actor": line.actor, "at": line.at, "told": told}


def _plain(name: str, value: Any, policy: Policy, words: Words) -> str:
    departments: Mapping[str, Any] = policy.departments
    if name in ("from", "to") and value in departments:
        return departments[value].names[words.locale]
    return "" if name == "untold" else str(value)
