# pyright: basic, reportMissingTypeStubs=false, reportArgumentType=false, reportAttributeAccessIssue=false
# (basic: scikit-learn and scipy ship no types; this module serves no request)
"""Makes the model file from the corpus: `python -m services.router.classify.train [FILE]`. The same corpus gives the same file.

Needs scikit-learn; nothing that serves requests imports this module.
"""

from __future__ import annotations

import hashlib
import io
import sys
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.naive_bayes import ComplementNB

from services.router.classify import wording
from services.router.classify.corpus import Line, expand, families, held_back
from services.router.classify.grams import grams
from services.router.classify.model import SHIPPED, VERSION, log_softmax
from services.router.classify.script import fold
from shared import policy as policies
from shared.complaint import Category
from shared.policy import Policy

Array = np.ndarray[Any, Any]


class Fitted(NamedTuple):
    """What training found: one row of weights a feature, one column a class."""

    vectoriser: TfidfVectorizer
    weights: Array
    intercept: Array


CLASSES = tuple(category.value for category in Category)
#: How often each sort comes in, roughly: the training lines are weighed to it. Rare sorts are lifted so that they are not forgotten.
PRIOR = {
    "product_quality": 0.22,
    "other": 0.15,
    "logistics_delay": 0.10,
    "service_attitude": 0.11,
    "return_exchange": 0.08,
    "refund_abnormal": 0.08,
    "system_fault": 0.08,
    "missing_items": 0.05,
    "compensation": 0.06,
    "logistics_lost": 0.04,
    "logistics_rejected": 0.025,
    "invoice_paper": 0.02,
    "invoice_electronic": 0.025,
}
STRENGTH = 12.0
SMOOTHING = 0.3
RULE_SHARE = 0.4
FOLDS = 5


def weights_of(lines: list[Line]) -> Array:
    """Sample weights: every family counts once, every category as PRIOR says; their mean is one."""
    mass: dict[str, float] = {}
    for line in lines:
        mass[line.category] = mass.get(line.category, 0.0) + line.weight
    total = sum(mass.values())
    return np.array([line.weight * PRIOR[line.category] * total / mass[line.category] for line in lines]) * len(lines) / total


def fit(lines: list[Line]) -> Fitted:
    """Vectoriser and linear weights over the training lines: logistic regression and complement naive Bayes, added up.

    Both are linear in the same features, so that their sum is one matrix; they err differently, and together they are right more often.
    """
    vectoriser = TfidfVectorizer(analyzer=grams, min_df=2, sublinear_tf=True, dtype=np.float32)
    matrix = vectoriser.fit_transform([line.text for line in lines])
    gold = [line.category for line in lines]
    weights = weights_of(lines)
    regression = LogisticRegression(C=STRENGTH, max_iter=300, tol=1e-3).fit(matrix, gold, sample_weight=weights)
    bayes = ComplementNB(alpha=SMOOTHING).fit(matrix, gold, sample_weight=weights)
    order = [list(regression.classes_).index(name) for name in CLASSES]
    learned = regression.coef_[order].T + bayes.feature_log_prob_[order].T
    return Fitted(vectoriser, learned - learned.mean(axis=1, keepdims=True), regression.intercept_[order])


def model_scores(fitted: Fitted, texts: list[str]) -> Array:
    """Scores in the order of CLASSES."""
    return fitted.vectoriser.transform(texts) @ fitted.weights + fitted.intercept


def rule_scores(texts: list[str], policy: Policy) -> Array:
    """What the policy's rules say, in the order of CLASSES."""
    table = np.zeros((len(texts), len(CLASSES)), dtype=np.float32)
    for row, text in enumerate(texts):
        for category, score in wording.scores(wording.rule_hits(fold(text), policy)).items():
            table[row, CLASSES.index(category.value)] = score
    return table


def out_of_fold(lines: list[Line]) -> Array:
    """Model scores of every line by a model that has not seen its family."""
    found = np.zeros((len(lines), len(CLASSES)))
    groups = [line.family for line in lines]
    for seen, unseen in GroupKFold(FOLDS, shuffle=True, random_state=1).split(lines, groups=groups):
        found[unseen] = model_scores(fit([lines[i] for i in seen]), [lines[i].text for i in unseen])
    return found


def fit_blend(model_part: Array, rule_part: Array, gold: list[tuple[str, ...]]) -> Array:
    """How sharply the model's scores are read so that held-back lines come out likeliest: the calibration (temperature).

    The rules' weight is fixed: rules are wide on plain words and silent on others, so that no sample of ours tells what they are worth, and
    an operator's own rule must be able to turn a verdict. gold: the right category first, then those that can be defended.
    """
    log_model = log_softmax(model_part)
    right = np.zeros_like(log_model)
    for row, names in enumerate(gold):
        right[row, [CLASSES.index(name) for name in names]] = 1

    def loss(sharpness: float) -> float:
        logp = log_softmax(sharpness * log_model + RULE_SHARE * rule_part)
        return float(-np.log((np.exp(logp) * right).sum(axis=1) + 1e-9).mean())

    found = minimize_scalar(loss, bounds=(0.2, 2.0), method="bounded")
    return np.concatenate(([found.x, RULE_SHARE], np.zeros(len(CLASSES))))


def build(lines: list[Line], policy: Policy) -> bytes:
    """The model file's bytes."""
    fitted = fit(lines)
    held = held_back()
    texts = [entry.text for entry in held]
    blend = fit_blend(model_scores(fitted, texts), rule_scores(texts, policy), [entry.categories for entry in held])
    names = fitted.vectoriser.get_feature_names_out()
    scale = float(np.abs(fitted.weights).max()) / 127
    arrays = {
        "version": np.array(VERSION),
        "classes": _text("\n".join(CLASSES)),
        "vocabulary": _text("\n".join(names)),
        "idf": fitted.vectoriser.idf_.astype(np.float16),
        "weights": np.round(fitted.weights / scale).astype(np.int8),
        "scale": np.array(scale, dtype=np.float32),
        "intercept": fitted.intercept.astype(np.float32),
        "blend": blend.astype(np.float32),
        "digest": _text(hashlib.sha256("\n".join(line.text for line in lines).encode()).hexdigest()[:16]),
    }
    return _packed(arrays)


def _text(text: str) -> Array:
    return np.frombuffer(text.encode(), dtype=np.uint8)


def _packed(arrays: dict[str, Array]) -> bytes:
    """An .npz without the time of day in it, so that the same model is the same file."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            part = io.BytesIO()
            np.lib.format.write_array(part, np.asanyarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", (2026, 1, 1, 0, 0, 0)), part.getvalue(), zipfile.ZIP_DEFLATED)
    return out.getvalue()


def main(arguments: list[str]) -> None:
    """Train on the shipped corpus and write the file."""
    target = Path(arguments[0]) if arguments else SHIPPED
    lines = expand(families())
    content = build(lines, policies.load())
    target.write_bytes(content)
    sys.stdout.write(f"{target}: {len(content):,} bytes from {len(lines):,} lines of {len(families()):,} families\n")


if __name__ == "__main__":
    main(sys.argv[1:])
