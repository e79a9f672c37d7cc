"""Makes the model file from the corpus: `python -m services.router.classify.train [FILE]`. The same corpus gives the same file.

Needs scikit-learn; nothing that serves requests imports this module.
"""

from __future__ import annotations

import hashlib
import io
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from services.router.classify import wording
from services.router.classify.corpus import Line, expand, families
from services.router.classify.grams import grams
from services.router.classify.model import SHIPPED, VERSION, log_softmax
from services.router.classify.script import fold
from shared import policy as policies
from shared.complaint import Category
from shared.policy import Policy

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
FOLDS = 5
KEEP = 0.04


def weights_of(lines: list[Line]) -> np.ndarray[Any, Any]:
    """Sample weights: every family counts once, every category as PRIOR says; their mean is one."""
    mass: dict[str, float] = {}
    for line in lines:
        mass[line.category] = mass.get(line.category, 0.0) + line.weight
    total = sum(mass.values())
    return np.array([line.weight * PRIOR[line.category] * total / mass[line.category] for line in lines]) * len(lines) / total


def fit(lines: list[Line]) -> tuple[TfidfVectorizer, LogisticRegression]:
    """Vectoriser and linear model over the training lines."""
    vectoriser = TfidfVectorizer(analyzer=grams, min_df=2, sublinear_tf=True, dtype=np.float32)
    matrix = vectoriser.fit_transform([line.text for line in lines])
    model = LogisticRegression(C=STRENGTH, max_iter=300, tol=1e-3)
    model.fit(matrix, [line.category for line in lines], sample_weight=weights_of(lines))
    return vectoriser, model


def model_scores(fitted: tuple[TfidfVectorizer, LogisticRegression], texts: list[str]) -> np.ndarray[Any, Any]:
    """Scores in the order of CLASSES."""
    vectoriser, model = fitted
    order = [list(model.classes_).index(name) for name in CLASSES]
    return model.decision_function(vectoriser.transform(texts))[:, order]


def rule_scores(texts: list[str], policy: Policy) -> np.ndarray[Any, Any]:
    """What the policy's rules say, in the order of CLASSES."""
    table = np.zeros((len(texts), len(CLASSES)), dtype=np.float32)
    for row, text in enumerate(texts):
        for category, score in wording.scores(wording.rule_hits(fold(text), policy)).items():
            table[row, CLASSES.index(category.value)] = score
    return table


def out_of_fold(lines: list[Line]) -> np.ndarray[Any, Any]:
    """Model scores of every line by a model that has not seen its family."""
    found = np.zeros((len(lines), len(CLASSES)))
    groups = [line.family for line in lines]
    for seen, unseen in GroupKFold(FOLDS, shuffle=True, random_state=1).split(lines, groups=groups):
        found[unseen] = model_scores(fit([lines[i] for i in seen]), [lines[i].text for i in unseen])
    return found


def fit_blend(
    model_part: np.ndarray[Any, Any], rule_part: np.ndarray[Any, Any], gold: list[str], weight: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """Weights of the two layers and a bias per class that make the unseen lines likeliest: the calibration (Platt, many classes)."""
    from scipy.optimize import minimize

    log_model = log_softmax(model_part)
    target = np.array([CLASSES.index(name) for name in gold])
    rows = np.arange(len(gold))
    share = weight / weight.sum()

    def loss(blend: np.ndarray[Any, Any]) -> tuple[float, np.ndarray[Any, Any]]:
        logp = log_softmax(blend[0] * log_model + blend[1] * rule_part + blend[2:])
        slope = np.exp(logp)
        slope[rows, target] -= 1
        slope *= share[:, None]
        gradient = np.concatenate(([(slope * log_model).sum()], [(slope * rule_part).sum()], slope.sum(axis=0))) + 0.02 * blend
        return float(-(share * logp[rows, target]).sum() + 0.01 * (blend @ blend)), gradient

    start = np.concatenate(([1.0, 1.0], np.zeros(len(CLASSES))))
    return minimize(loss, start, jac=True, method="L-BFGS-B").x


def build(lines: list[Line], policy: Policy) -> bytes:
    """The model file's bytes."""
    texts = [line.text for line in lines]
    gold = [line.category for line in lines]
    blend = fit_blend(out_of_fold(lines), rule_scores(texts, policy), gold, weights_of(lines))
    vectoriser, model = fit(lines)
    order = [list(model.classes_).index(name) for name in CLASSES]
    weights = model.coef_[order].T
    names = vectoriser.get_feature_names_out()
    worth = np.flatnonzero(np.ptp(weights, axis=1) > KEEP)
    scale = np.abs(weights[worth]).max() / 127
    arrays = {
        "version": np.array(VERSION),
        "classes": _text("\n".join(CLASSES)),
        "vocabulary": _text("\n".join(names[worth])),
        "idf": vectoriser.idf_[worth].astype(np.float16),
        "weights": np.round(weights[worth] / scale).astype(np.int8),
        "scale": np.array(scale, dtype=np.float32),
        "intercept": model.intercept_[order].astype(np.float32),
        "blend": blend.astype(np.float32),
        "digest": _text(hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]),
    }
    return _packed(arrays)


def _text(text: str) -> np.ndarray[Any, Any]:
    return np.frombuffer(text.encode(), dtype=np.uint8)


def _packed(arrays: dict[str, np.ndarray[Any, Any]]) -> bytes:
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
