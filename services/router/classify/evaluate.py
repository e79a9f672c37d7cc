# pyright: basic, reportMissingTypeStubs=false
# (basic: scikit-learn and scipy ship no types; this module serves no request)
"""How well the desk understands: `python -m services.router.classify.evaluate [--quick]`, the report behind `make eval`.

Two measures, both on words the model has not seen: cross-validation by template family over the corpus (a line and its variants are
never on both sides), and the held-back lines. Needs scikit-learn; nothing that serves requests imports this module.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

import numpy as np

from services.router.classify import jsonl
from services.router.classify.corpus import Line, expand, families, held_back
from services.router.classify.model import combine, load, log_softmax
from services.router.classify.train import CLASSES, PRIOR, Array, fit, model_scores, out_of_fold, rule_scores
from shared import policy as policies
from shared.complaint import Priority
from shared.policy import Policy

#: Cross-validation judges whole sentences only; single phrases are for training.
SENTENCE = 9


class Sample(NamedTuple):
    """Texts with the right category first and the defensible ones behind it, and what each counts."""

    gold: list[tuple[str, ...]]
    weight: Array


def report(policy: Policy, *, quick: bool) -> str:
    """The whole report as Markdown."""
    held = held_back()
    texts = [entry.text for entry in held]
    model = load()
    lines = expand(families())
    scores = model_scores(fit(lines), texts)
    parts = ["# How well complaints are understood", ""]
    parts += [f"{len(lines):,} training texts of {len(families()):,} families; {len(held)} held-back lines. Model {model.digest}.", ""]
    parts += ["## Held-back lines", ""]
    parts += _section(scores, rule_scores(texts, policy), Sample([entry.categories for entry in held], np.ones(len(held))), model.blend)
    parts += _priorities(policy)
    if not quick:
        parts += ["", "## Cross-validation by template family", ""]
        parts += _section(*_unseen(lines, policy), model.blend)
    return "\n".join(parts) + "\n"


def _unseen(lines: list[Line], policy: Policy) -> tuple[Array, Array, Sample]:
    """Scores of the written sentences (first variant of each family) by models that never saw their family."""
    scores = out_of_fold(lines)
    first: dict[int, int] = {}
    for row, line in enumerate(lines):
        first.setdefault(line.family, row)
    rows = [row for row in first.values() if len(lines[row].text) >= SENTENCE]
    gold = [(lines[row].category,) for row in rows]
    mass = {name: sum(1 for (category,) in gold if category == name) for name in CLASSES}
    weight = np.array([PRIOR[category] / mass[category] for (category,) in gold])
    return scores[rows], rule_scores([lines[row].text for row in rows], policy), Sample(gold, weight)


def _section(model_part: Array, rule_part: Array, sample: Sample, blend: Array) -> list[str]:
    together = combine(blend, model_part, rule_part)
    layers = {
        "rules alone": np.exp(log_softmax(rule_part + np.log([PRIOR[name] for name in CLASSES]))),
        "model alone": np.exp(log_softmax(model_part)),
        "together": together,
    }
    rows = ["| layer | right | right or defensible | macro-F1 | coverage at 95 % |", "|---|---|---|---|---|"]
    for name, probabilities in layers.items():
        strict, lenient = _right(probabilities, sample)
        macro = np.mean(list(_f1(probabilities, sample).values()))
        covered = _coverage(probabilities, lenient, sample)
        rows.append(f"| {name} | {_mean(strict, sample):.3f} | {_mean(lenient, sample):.3f} | {macro:.3f} | {covered:.2f} |")
    rows += ["", "| category | F1 |", "|---|---|", *(f"| {name} | {value:.2f} |" for name, value in _f1(together, sample).items())]
    return [*rows, "", *_calibration(together, sample)]


def _right(probabilities: Array, sample: Sample) -> tuple[Array, Array]:
    best = [CLASSES[i] for i in probabilities.argmax(axis=1)]
    strict = np.array([name == gold[0] for name, gold in zip(best, sample.gold, strict=True)])
    return strict, np.array([name in gold for name, gold in zip(best, sample.gold, strict=True)])


def _mean(right: Array, sample: Sample) -> float:
    return float((right * sample.weight).sum() / sample.weight.sum())


def _f1(probabilities: Array, sample: Sample) -> dict[str, float]:
    best = probabilities.argmax(axis=1)
    gold = np.array([CLASSES.index(names[0]) for names in sample.gold])
    found: dict[str, float] = {}
    for i, name in enumerate(CLASSES):
        hit = float(sample.weight[(best == i) & (gold == i)].sum())
        either = float(sample.weight[best == i].sum() + sample.weight[gold == i].sum())
        if (gold == i).any():
            found[name] = 2 * hit / either if either else 0.0
    return found


def _coverage(probabilities: Array, right: Array, sample: Sample, precision: float = 0.95) -> float:
    """The largest share, most confident first, of which at least 95 % are right."""
    order = np.argsort(-probabilities.max(axis=1))
    weight = sample.weight[order]
    share = np.cumsum(weight) / weight.sum()
    good = np.cumsum(weight * right[order]) / np.cumsum(weight) >= precision
    return float(share[good].max()) if good.any() else 0.0


def _calibration(probabilities: Array, sample: Sample) -> list[str]:
    confidence = probabilities.max(axis=1)
    _, right = _right(probabilities, sample)
    rows = ["| confidence | share | said | right |", "|---|---|---|---|"]
    for low in (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9):
        high = {0.0: 0.3, 0.3: 0.5}.get(low, low + 0.1)
        inside = (confidence >= low) & ((confidence < high) | (high > 0.95))
        mass = float(sample.weight[inside].sum())
        if mass:
            said = float((confidence * sample.weight)[inside].sum()) / mass
            was = float((right * sample.weight)[inside].sum()) / mass
            rows.append(f"| {low:.1f}-{min(high, 1.0):.1f} | {mass / sample.weight.sum():.2f} | {said:.2f} | {was:.2f} |")
    return rows


def _priorities(policy: Policy) -> list[str]:
    """Priority and the human lane on the held-back lines, by the whole of `desk classify`."""
    held = held_back()
    answers = [jsonl.classify_one(entry.text, "", "web_form", policy) for entry in held]
    distance = [abs(Priority(answer["priority"]).rank - Priority(entry.priority).rank) for answer, entry in zip(answers, held, strict=True)]
    routed = [(answer, entry) for answer, entry in zip(answers, held, strict=True) if not answer["review"]]
    right = sum(answer["category"] in entry.categories for answer, entry in routed)
    return [
        "",
        f"Priority: exact {np.mean([d == 0 for d in distance]):.2f}, within one level {np.mean([d <= 1 for d in distance]):.2f}. "
        f"Routed without a person: {len(routed) / len(held):.2f}, of these right {right / max(1, len(routed)):.2f} "
        f"(threshold {policy.review.threshold:g}).",
    ]


if __name__ == "__main__":
    sys.stdout.write(report(policies.load(), quick="--quick" in sys.argv[1:]))
