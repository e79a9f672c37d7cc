"""What a complaint is about: category, facts, mood and signals, with reasons. Pure; the policy's rules and the model speak together.

It sets no priority (services/router/prioritise.py) and no deadline (services/router/clocks.py).
"""

from __future__ import annotations

import msgspec

from services.router.classify import facts as fact_finder
from services.router.classify import wording
from services.router.classify.facts import Fact
from services.router.classify.script import fold, language
from services.router.classify.verdict import WORDS, Guess, judge
from services.router.classify.wording import SignalHit
from shared.complaint import Category, Reason, Submission
from shared.policy import Policy


class Hints(msgspec.Struct, frozen=True, kw_only=True):
    """What is known beside the text: form fields, the customer's identities and history. Everything may be empty.

    category: what the customer ticked; it counts as strong evidence, not as truth. contact: we can reach the customer already.
    """

    order_number: str = ""
    product: str = ""
    model: str = ""
    demand: str = ""
    mood: str = ""
    category: str = ""
    tier: str = ""
    language: str = ""
    wanted_by: str = ""
    contact: bool = False


NO_HINTS = Hints()


class Understanding(msgspec.Struct, frozen=True, kw_only=True):
    """What was understood.

    guesses: the two likeliest. demand: the customer's own words, empty where nothing is asked for; demands: the same as sorts (refund,
    exchange, reissue, ...). missing: facts to ask for, in one message. mood: furious, upset, calm or pleased. threats: ids of the threat
    signals; signals: ids of all that were seen with the customer's words. amount: the largest sum named. facts: each with its place in
    subject + newline + text, or in the text alone where there is no subject.
    """

    category: Category
    confidence: float
    review: bool
    guesses: tuple[Guess, ...]
    reasons: tuple[Reason, ...]
    language: str
    secondary: tuple[Category, ...] = ()
    order_numbers: tuple[str, ...] = ()
    phones: tuple[str, ...] = ()
    demand: str = ""
    demands: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    mood: str = "calm"
    threats: tuple[str, ...] = ()
    safety: bool = False
    signals: dict[str, tuple[str, ...]] = {}
    amount: float = 0.0
    product: str = ""
    model: str = ""
    wanted_by: str = ""
    length: int = 0
    facts: tuple[Fact, ...] = ()


def hints_of(submission: Submission, *, tier: str = "") -> Hints:
    """The hints that a submission itself gives. tier: of the customer as the ledger knows it, where it does."""
    return Hints(
        order_number=submission.order_number,
        product=submission.product,
        model=submission.model,
        demand=submission.demand,
        mood=submission.mood,
        category=submission.category_hint,
        tier=tier or submission.customer.tier,
        language=submission.language,
        wanted_by=submission.wanted_by,
        contact=bool(submission.customer.identities),
    )


def understand(subject: str, text: str, channel: str, hints: Hints, policy: Policy) -> Understanding:
    """Read one complaint. The same input always gives the same answer; any text at all gets one, an empty one goes to review as `other`."""
    del channel  # the words decide what it is about; what a channel does to urgency is in the priority rules
    whole = f"{subject}\n{text}" if subject else text
    folded = fold(whole)
    if len(folded) != len(whole):
        whole = folded
    tongue = language(whole, hints.language)
    verdict = judge(whole, folded, hints.category, policy)
    found = fact_finder.find(whole, tongue, policy)
    signals = wording.signal_hits(folded, policy)
    wishes = wording.demand_hits(folded, policy)
    orders = _first(hints.order_number, fact_finder.values(found, "order_number"))
    phones = fact_finder.values(found, "phone")
    product = _first(hints.product, fact_finder.values(found, "product"))
    demand = hints.demand or (fact_finder.clause(whole, *wishes[0][1]) if wishes else "")
    have = {"order_number": orders, "product": product, "demand": demand, "contact": hints.contact or phones}
    return Understanding(
        category=verdict.category,
        confidence=verdict.confidence,
        review=verdict.review,
        guesses=verdict.guesses,
        reasons=verdict.reasons,
        language=tongue,
        secondary=verdict.secondary,
        order_numbers=orders,
        phones=phones,
        demand=demand,
        demands=tuple(dict.fromkeys(name for name, _ in wishes)),
        missing=tuple(name for name in policy.categories[verdict.category].asks if not have[name]),
        mood=hints.mood or _mood(signals),
        threats=tuple(hit.signal.id for hit in signals if hit.signal.kind == "threat"),
        safety=any(hit.signal.kind == "safety" for hit in signals),
        signals={hit.signal.id: tuple(dict.fromkeys(whole[h.start : h.end] for h in hit.hits))[:WORDS] for hit in signals},
        amount=max((float(value) for value in fact_finder.values(found, "amount")), default=0.0),
        product="".join(product[:1]),
        model="".join(_first(hints.model, fact_finder.values(found, "model"))[:1]),
        wanted_by="".join(_first(hints.wanted_by, fact_finder.values(found, "wanted_by"))[:1]),
        length=len(text),
        facts=tuple(sorted([*found, *(Fact("demand", name, *place) for name, place in wishes)], key=lambda fact: fact.start)),
    )


def _first(known: str, found: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((known, *found))) if known else found


def _mood(signals: list[SignalHit]) -> str:
    """furious where several places or a threat say so, upset where one does, pleased where only thanks are heard."""
    places = sum(len(hit.hits) for hit in signals if hit.signal.kind == "mood")
    threats = any(hit.signal.kind == "threat" for hit in signals)
    if places >= 2 or (places and threats):
        return "furious"
    if places or threats:
        return "upset"
    return "pleased" if any(hit.signal.id == "thanks_only" for hit in signals) else "calm"
