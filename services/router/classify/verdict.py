"""Which category a complaint belongs to, how sure that is, and why: the policy's rules and the model weighed together. Pure."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.router.classify import model as models
from services.router.classify import wording
from services.router.classify.grams import folded_grams
from services.router.classify.model import Floats, Model
from services.router.classify.wording import RuleHit
from shared.complaint import Category, Locale, Reason
from shared.policy import Policy

#: What the customer ticked on a form counts like four strong rules.
HINT_WEIGHT = 14.0
#: Rules must speak at least so strongly for a second category before it is named.
MEANT = 1.5
#: At most so many of the customer's words, and so many rules, stand in the reasons.
WORDS = 4
RULES = 3


class Guess(NamedTuple):
    """A category and how likely it is, 0..1."""

    category: Category
    probability: float


class Verdict(NamedTuple):
    """The category with its confidence (0..1), the two likeliest guesses, further categories that are meant too, and the reasons."""

    category: Category
    confidence: float
    review: bool
    guesses: tuple[Guess, ...]
    secondary: tuple[Category, ...]
    reasons: tuple[Reason, ...]


def judge(whole: str, folded: str, hint: str, policy: Policy) -> Verdict:
    """The verdict on a text and its folded form. hint: the category the customer chose, or empty; an unknown one is overlooked."""
    model = models.load()
    hits = wording.rule_hits(folded, policy)
    learned, rows, values = models.log_odds(model, folded_grams(folded))
    probabilities = models.combine(model.blend, learned, _evidence(model, hits, hint))
    order = np.argsort(-probabilities)
    guesses = tuple(Guess(model.classes[int(i)], round(float(probabilities[i]), 4)) for i in order[:2])
    best, next_best = guesses
    rules = policy.review
    review = best.probability < rules.threshold or best.probability - next_best.probability < rules.margin or not folded.strip()
    meant = {category for category, score in wording.scores(hits).items() if score >= MEANT and category is not Category.OTHER}
    likely = [model.classes[int(i)] for i in order[1:4] if float(probabilities[i]) >= rules.secondary]
    reasons = _rule_reasons(whole, best.category, hits)
    reasons += _other_reasons(policy, model, (int(order[0]), rows, values), guesses, review=review, hint=hint)
    return Verdict(best.category, best.probability, review, guesses, tuple(c for c in likely if c in meant), tuple(reasons))


def _evidence(model: Model, hits: list[RuleHit], hint: str) -> Floats:
    evidence = np.zeros(len(model.classes), dtype=np.float32)
    for category, score in wording.scores(hits).items():
        evidence[model.classes.index(category)] = score
    if hint in model.classes:
        evidence[model.classes.index(Category(hint))] += HINT_WEIGHT
    return evidence


def _rule_reasons(whole: str, category: Category, hits: list[RuleHit]) -> list[Reason]:
    """The rules that spoke for the category, the strongest first, with the customer's words."""
    speaking = sorted((hit for hit in hits if hit.rule.category == category), key=lambda hit: -hit.rule.weight)
    return [
        Reason(rule=f"rule:{hit.rule.id}", why=hit.rule.why, words=tuple(dict.fromkeys(whole[h.start : h.end] for h in hit.hits))[:WORDS])
        for hit in speaking[:RULES]
    ]


def _other_reasons(
    policy: Policy, model: Model, pull: tuple[int, NDArray[np.intp], Floats], guesses: tuple[Guess, ...], *, review: bool, hint: str
) -> list[Reason]:
    """What the model, the customer's own choice and the threshold had to do with it."""

    def name(guess: Guess) -> str:
        return f"{policy.categories[guess.category].names[Locale.ZH_CN]} {guess.probability:.0%}"

    best, next_best = guesses
    found = [
        Reason(rule=f"model:{model.digest}", why=f"模型判断：{name(best)}，其次{name(next_best)}", words=models.words_for(model, *pull))
    ]
    if hint and hint == best.category:
        found.append(Reason(rule="hint", why="客户自己选择了该类别"))
    if review:
        found.append(
            Reason(rule="review", why=f"把握不足（低于 {policy.review.threshold:.0%}），请人工确认：{name(best)}，或{name(next_best)}")
        )
    return found
