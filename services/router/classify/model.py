"""The learned layer: a linear model over character n-grams, read from a file that `train` writes. Pure once loaded.

Inference needs numpy only: scikit-learn costs 100 MB of memory and seconds at start, so that it stays with the training.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared.complaint import Category
from shared.errors import ConfigError

SHIPPED = Path(__file__).with_name("model.npz")
VERSION = 1
Floats = NDArray[np.floating[Any]]


class Model(NamedTuple):
    """weights: one row a feature, one column a class. blend: how model, rules and bias are weighed together (see `combine`)."""

    classes: tuple[Category, ...]
    names: tuple[str, ...]
    vocabulary: dict[str, int]
    idf: Floats
    weights: Floats
    intercept: Floats
    blend: Floats
    digest: str


@functools.lru_cache(maxsize=4)
def load(path: Path = SHIPPED) -> Model:
    """The model in a file. Raises ConfigError that names the file and the mend."""
    try:
        with np.load(path, allow_pickle=False) as content:
            return _model(dict(content))
    except (OSError, ValueError, KeyError) as error:
        mend = "Run `python -m services.router.classify.train` to make it again."
        raise ConfigError(f"The model {path} cannot be read ({type(error).__name__}: {error}). {mend}") from None


def _model(content: dict[str, NDArray[Any]]) -> Model:
    if int(content["version"]) != VERSION:
        raise ValueError(f"version {int(content['version'])}, wanted {VERSION}")
    words = tuple(content["vocabulary"].tobytes().decode().split("\n"))
    scale = content["scale"].astype(np.float32)
    return Model(
        classes=tuple(Category(name) for name in content["classes"].tobytes().decode().split("\n")),
        names=words,
        vocabulary={word: row for row, word in enumerate(words)},
        idf=content["idf"].astype(np.float32),
        weights=content["weights"].astype(np.float32) * scale,
        intercept=content["intercept"].astype(np.float32),
        blend=content["blend"].astype(np.float32),
        digest=content["digest"].tobytes().decode(),
    )


def log_odds(model: Model, found: list[str]) -> tuple[Floats, NDArray[np.intp], Floats]:
    """Scores per class, and the rows and values of the features that made them."""
    known = [row for row in map(model.vocabulary.get, found) if row is not None]
    if not known:
        return model.intercept, np.empty(0, dtype=np.intp), np.empty(0, dtype=np.float32)
    rows, counts = np.unique(np.array(known, dtype=np.intp), return_counts=True)
    values = (1 + np.log(counts.astype(np.float32))) * model.idf[rows]
    values /= np.float32(np.sqrt(values @ values))
    return values @ model.weights[rows] + model.intercept, rows, values


def combine(blend: Floats, model_scores: Floats, rule_scores: Floats) -> Floats:
    """Probabilities per class from both layers. blend: one weight for each layer, then one bias for each class."""
    z = blend[0] * log_softmax(model_scores) + blend[1] * rule_scores + blend[2:]
    return np.exp(log_softmax(z))


def log_softmax(z: Floats) -> Floats:
    """Log probabilities along the last axis."""
    shifted = z - z.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def words_for(model: Model, column: int, rows: NDArray[np.intp], values: Floats, top: int = 3) -> tuple[str, ...]:
    """The features that spoke most for a class, single characters left out, none inside another."""
    if not len(rows):
        return ()
    local = model.weights[rows]
    pull = values * (local[:, column] - local.mean(axis=1))
    chosen: list[str] = []
    for i in np.argsort(-pull)[:24]:
        word = model.names[int(rows[i])].strip()
        if pull[i] > 0 and len(word) > 1 and not any(word in other or other in word for other in chosen):
            chosen.append(word)
        if len(chosen) == top:
            break
    return tuple(chosen)
