"""The policy's wording rules at work: which of them fire on a text, and on which words. Pure; compiled once per policy.

It knows nothing of the model and decides nothing: it gives hits, which `understand` and `prioritise` weigh.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import NamedTuple

from services.router.classify.needed import Filter
from services.router.classify.script import HAN
from shared.complaint import Category
from shared.policy import DemandRule, Policy, Signal, WordingRule

GAP = {"han": r"[^。!?;\n]{0,10}?", "latin": r"[^.!?;\n]{0,30}?"}
LATIN = re.compile(r"[a-z]{2,}")
NEGATED_HAN = re.compile(r"(?:不是(?:要|想|说|因为)?|并?没有?(?:任何|什么|一点)?|不要|不想|不用|一点儿?[都也]不|毫?无|不会|不)$")
NEGATED_LATIN = re.compile(
    r"(?:\bno|\bnot|n't|\bwithout|\bzero|\bnever had|don't want|do not want)\s+"
    r"(?:(?:a|an|any|the|really|very|so|too|even|be|been)\s+){0,2}$"
)
#: How far back a negation is looked for.
NEGATION_SPAN = 26
#: Rules read this much of a text: complaints say what they are about long before.
READ = 6000


class Hit(NamedTuple):
    """One place where a rule fired; positions in the text."""

    start: int
    end: int


class RuleHit(NamedTuple):
    """A category rule and the places where it fired."""

    rule: WordingRule
    hits: tuple[Hit, ...]


class SignalHit(NamedTuple):
    """A signal and the places where it fired."""

    signal: Signal
    hits: tuple[Hit, ...]


class Matcher(NamedTuple):
    """One compiled rule: its number in the filter, the pattern that fires, and the one that undoes it."""

    number: int
    pattern: re.Pattern[str]
    unless: re.Pattern[str] | None
    negated: re.Pattern[str] | None


class Compiled(NamedTuple):
    """The rules of one policy, by script."""

    rules: dict[str, tuple[tuple[WordingRule, Matcher], ...]]
    signals: dict[str, tuple[tuple[Signal, Matcher], ...]]
    demands: dict[str, tuple[tuple[DemandRule, Matcher], ...]]
    filter: Filter


@functools.lru_cache(maxsize=8)
def compiled(policy: Policy) -> Compiled:
    """The policy's wording, ready to be tried."""
    wording = policy.wording
    scripts = ("han", "latin")
    numbered: list[re.Pattern[str]] = []
    rules = {s: tuple((rule, _matcher(rule.any, rule.unless, s, numbered)) for rule in wording.rules if rule.script == s) for s in scripts}
    signals = {
        s: tuple((signal, _matcher(_of(signal, s), signal.unless, s, numbered)) for signal in wording.signals if _of(signal, s))
        for s in scripts
    }
    demands = {
        s: tuple((demand, _matcher(_of(demand, s), (), s, numbered)) for demand in wording.demands if _of(demand, s)) for s in scripts
    }
    return Compiled(rules, signals, demands, Filter(numbered))


def scripts_of(folded: str) -> tuple[str, ...]:
    """Which rules are worth trying: han, latin or both."""
    return tuple(name for name, pattern in (("han", HAN), ("latin", LATIN)) if pattern.search(folded))


@functools.lru_cache(maxsize=4)
def _worth_trying(text: str, policy: Policy) -> set[int]:
    """Numbers of the rules that may fire on the text in hand, which rules, signals and demands look at one after the other."""
    return compiled(policy).filter.may_match(text)


def rule_hits(folded: str, policy: Policy) -> list[RuleHit]:
    """The category rules that fire on a folded text."""
    text = folded[:READ]
    worth = _worth_trying(text, policy)
    table = compiled(policy).rules
    return [RuleHit(rule, hits) for s in scripts_of(text) for rule, matcher in table[s] if (hits := _hits(matcher, text, worth))]


def signal_hits(folded: str, policy: Policy) -> list[SignalHit]:
    """The signals that fire on a folded text, each once, also where it fires in both scripts."""
    text = folded[:READ]
    worth = _worth_trying(text, policy)
    table = compiled(policy).signals
    found: dict[str, SignalHit] = {}
    for script in scripts_of(text) or ("latin",):
        for signal, matcher in table[script]:
            hits = _hits(matcher, text, worth)
            if hits:
                earlier = found[signal.id].hits if signal.id in found else ()
                found[signal.id] = SignalHit(signal, earlier + hits)
    return list(found.values())


def demand_hits(folded: str, policy: Policy) -> list[tuple[str, Hit]]:
    """What the customer asks for, in the order of the policy, with the first place where it is said."""
    text = folded[:READ]
    worth = _worth_trying(text, policy)
    table = compiled(policy).demands
    return [(demand.demand, hits[0]) for s in scripts_of(text) for demand, matcher in table[s] if (hits := _hits(matcher, text, worth))]


def scores(hits: list[RuleHit]) -> dict[Category, float]:
    """Weights of the fired rules, added up per category."""
    total: dict[Category, float] = {}
    for hit in hits:
        total[hit.rule.category] = total.get(hit.rule.category, 0.0) + hit.rule.weight
    return total


def _of(rule: Signal | DemandRule, script: str) -> tuple[str, ...]:
    return rule.han if script == "han" else rule.latin


def _matcher(patterns: tuple[str, ...], unless: tuple[str, ...], script: str, numbered: list[re.Pattern[str]]) -> Matcher:
    pattern = _joined(patterns, script)
    numbered.append(pattern)
    undone = _joined(unless, script) if unless else None
    return Matcher(len(numbered) - 1, pattern, undone, NEGATED_HAN if script == "han" else NEGATED_LATIN)


def _joined(patterns: tuple[str, ...], script: str) -> re.Pattern[str]:
    body = "|".join(f"(?:{pattern})" if len(patterns) > 1 else pattern for pattern in patterns).replace("~", GAP[script])
    return re.compile(rf"(?<![a-z])(?:{body})" if script == "latin" else body)


def _hits(matcher: Matcher, text: str, worth: set[int]) -> tuple[Hit, ...]:
    if matcher.number not in worth:
        return ()
    found = list(matcher.pattern.finditer(text))
    if not found or (matcher.unless is not None and matcher.unless.search(text) is not None):
        return ()
    return tuple(_unnegated(matcher, text, found))


def _unnegated(matcher: Matcher, text: str, found: list[re.Match[str]]) -> Iterator[Hit]:
    for match in found:
        start = match.start()
        if matcher.negated is None or matcher.negated.search(text[max(0, start - NEGATION_SPAN) : start]) is None:
            yield Hit(start, match.end())
