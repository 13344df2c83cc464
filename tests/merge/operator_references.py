"""Every operator's ``paper`` convention once more, in float64 numpy and straight from its formula.

A reference takes the coefficients, shape (K,), the base, the models, shape (K, *shape), and settings by their names.
Task vectors are float32 differences, as in the merge, so that what is trimmed does not hang on their rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tests.merge.counter_hash_reference import kept
from tests.merge.merging import NAME

Floats: TypeAlias = NDArray[np.float64]
Settings: TypeAlias = Mapping[str, Any]
Reference: TypeAlias = Callable[[Floats, Floats, Floats, Settings], Floats]


def _changes(base: Floats, models: Floats) -> Floats:
    return (models.astype(np.float32) - base.astype(np.float32)).astype(np.float64)


def _each(c: Floats, vectors: Floats) -> Floats:
    """Every vector times its own number."""
    product: Floats = c.reshape(-1, *[1] * (vectors.ndim - 1)) * vectors
    return product


def _sum(vectors: Floats) -> Floats:
    total: Floats = vectors.sum(axis=0)
    return total


def linear(c: Floats, base: Floats, models: Floats, s: Settings) -> Floats:
    shares: Floats = c / (float(c.sum()) if s.get("normalize", True) else 1.0)
    return _sum(_each(shares, models))


def passthrough(c: Floats, base: Floats, models: Floats, s: Settings) -> Floats:
    return float(c[0]) * np.asarray(models[0], np.float64)


def slerp(c: Floats, base: Floats, models: Floats, s: Settings) -> Floats:
    return _arc(models, c[1] / c.sum(), s.get("threshold", 0.9995))


def nuslerp(c: Floats, base: Floats, models: Floats, s: Settings) -> Floats:
    t = c[1] / c.sum()
    return base + _arc(_changes(base, models), t) if s.get("deltas", True) else _arc(models, t)


def _arc(ends: Floats, t: float, threshold: float = 1.0) -> Floats:
    a, b = ends
    cosine = float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))
    if abs(cosine) > min(threshold, 1 - 1e-15):
        return np.asarray((1 - t) * a + t * b)
    angle = np.arccos(cosine)
    turned: Floats = (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)
    return turned


def model_stock(c: Floats, base: Floats, models: Floats, s: Settings) -> Floats:
    vectors, shares = _changes(base, models), c / c.sum()
    flat = vectors.reshape(len(c), -1) / np.linalg.norm(vectors.reshape(len(c), -1), axis=1, keepdims=True)
    pairs = np.abs(np.outer(shares, shares)) * (1 - np.eye(len(c)))
    cosine, n = (pairs * (flat @ flat.T)).sum() / pairs.sum(), 1 / (shares**2).sum()
    t = max(0.0, n * cosine / (1 + (n - 1) * cosine)) if cosine > 0 else 0.0
    return base + t * float(s.get("t_scale", 1.0)) * _sum(_each(shares, vectors))


def nearswap(c: Floats, base: Floats, models: Floats, s: Settings) -> Floats:
    t = float(s.get("t", 1e-3))
    return base + _sum(_each(c, _changes(base, models).clip(-t, t)))


def _combined(c: Floats, base: Floats, vectors: Floats, s: Settings) -> Floats:
    shares = c / c.sum() if s.get("normalize") else c
    return base + float(s.get("lambda", 1.0)) * _sum(_each(shares, vectors))


def _elected(
    c: Floats, base: Floats, vectors: Floats, s: Settings, *, normalize: bool, votes: Floats | None = None
) -> Floats:
    """TIES; an unweighted vote is of ``votes``."""
    scaled = _each(c, vectors)
    unweighted = _each(np.sign(c), vectors if votes is None else votes)
    sums = (unweighted if s.get("vote") == "unweighted" else scaled).sum(axis=0)
    agrees = np.sign(scaled) == np.where(sums >= 0, 1.0, -1.0)
    weight = _each(np.abs(c), agrees).sum(axis=0)
    divisor = np.where(weight == 0, 1.0, weight) if s.get("normalize", normalize) else 1.0
    total: Floats = (scaled * agrees).sum(axis=0) / divisor
    return base + float(s.get("lambda", 1.0)) * total


def _trimmed(vectors: Floats, density: float, gamma: float = 0.0) -> Floats:
    """Of each model, what is neither an outlier nor too small."""
    size, rows = vectors[0].size, vectors.reshape(len(vectors), -1).copy()
    n = min(size, max(1, round(density * size)))
    above = min(round(gamma * size), size - n)
    for row in rows:
        falling = np.argsort(-np.abs(row), kind="stable")
        row[falling[:above]] = row[falling[above + n :]] = 0.0
    return rows.reshape(vectors.shape)


def _masks(p: Floats, s: Settings) -> NDArray[np.bool_]:
    """Drawn with the probability of every element."""
    rows = [kept(NAME, str(k), one.reshape(-1), s.get("seed", 0)) for k, one in enumerate(p)]
    return np.array(rows).reshape(p.shape)


def _dropped(vectors: Floats, s: Settings) -> tuple[Floats, float]:
    """What stays, and what it is multiplied by."""
    p = s.get("density", 1.0)
    masks = _masks(np.full(vectors.shape, p), s)
    return np.where(masks, vectors, 0.0), 1.0 / p if s.get("rescale", True) else 1.0


def _dropped_by_rank(vectors: Floats, s: Settings) -> Floats:
    density, epsilon = s.get("density", 1.0), s.get("epsilon", 0.15)
    reach = min(epsilon, 0.95 * min(density, 1 - density))
    rows = vectors if vectors.ndim > 2 else vectors.reshape(len(vectors), 1, -1)
    ranks = np.abs(rows).argsort(axis=-1).argsort(axis=-1)
    length = rows.shape[-1]
    share = np.round(ranks * 65535 / (length - 1)) / 65535 if length > 1 else np.full(rows.shape, 32768 / 65535)
    p = (density - reach + 2 * reach * share).reshape(vectors.shape)
    return np.where(_masks(p, s), vectors / p if s.get("rescale", True) else vectors, 0.0)


def task_arithmetic(c: Floats, base: Floats, models: Floats, s: Settings) -> Floats:
    return _combined(c, base, _changes(base, models), s)


def ties(c: Floats, base: Floats, models: Floats, s: Settings) -> Floats:
    return _elected(c, base, _trimmed(_changes(base, models), s.get("density", 1.0)), s, normalize=True)


def breadcrumbs(c: Floats, base: Floats, models: Floats, s: Settings) -> Floats:
    vectors = _trimmed(_changes(base, models), s.get("density", 1.0), s.get("gamma", 0.01))
    return _combined(c, base, vectors, s)


def breadcrumbs_ties(c: Floats, base: Floats, models: Floats, s: Settings) -> Floats:
    vectors = _trimmed(_changes(base, models), s.get("density", 1.0), s.get("gamma", 0.01))
    return _elected(c, base, vectors, s, normalize=False)


def dare_linear(c: Floats, base: Floats, models: Floats, s: Settings) -> Floats:
    vectors, factor = _dropped(_changes(base, models), s)
    return _combined(c, base, factor * vectors, s)


def dare_ties(c: Floats, base: Floats, models: Floats, s: Settings) -> Floats:
    vectors, factor = _dropped(_changes(base, models), s)
    return _elected(c, base, factor * vectors, s, normalize=False, votes=vectors)


def della(c: Floats, base: Floats, models: Floats, s: Settings) -> Floats:
    return _elected(c, base, _dropped_by_rank(_changes(base, models), s), s, normalize=True)


def della_linear(c: Floats, base: Floats, models: Floats, s: Settings) -> Floats:
    return _combined(c, base, _dropped_by_rank(_changes(base, models), s), s)


def sce(c: Floats, base: Floats, models: Floats, s: Settings) -> Floats:
    vectors, share = _changes(base, models), s.get("select_topk", 1.0)
    if share < 1.0:
        variance = vectors.var(axis=0).reshape(-1)
        smallest = np.argsort(-variance, kind="stable")[round(share * np.count_nonzero(variance)) :]
        vectors.reshape(len(c), -1)[:, smallest] = 0.0
    energies = (vectors**2).reshape(len(c), -1).mean(axis=1)
    unweighted = {"vote": "unweighted", "lambda": s.get("lambda", 1.0)}
    return _elected(c * energies ** s.get("exponent", 1.0), base, vectors, unweighted, normalize=True)


def ram(c: Floats, base: Floats, models: Floats, s: Settings) -> Floats:
    return _ram(c, base, models, s.get("epsilon", 1e-5))


def ramplus_tl(c: Floats, base: Floats, models: Floats, s: Settings) -> Floats:
    return _ram(c, base, models, s.get("epsilon", 1e-5), s.get("r", 0.1), s.get("alpha", 0.2))


def _ram(c: Floats, base: Floats, models: Floats, epsilon: float, r: float = 0.0, alpha: float = 0.0) -> Floats:
    vectors = _changes(base, models)
    active = np.abs(vectors) > epsilon
    count = active.sum(axis=0)
    unique, shared = ((active & where).reshape(len(c), -1).sum(axis=1) for where in (count == 1, count > 1))
    alone = _each(1 + r * np.minimum(shared / np.maximum(unique, 1), alpha), np.where(count == 1, vectors, 0.0))
    terms = np.where(active, np.where(count == 1, alone, vectors / np.maximum(count, 1)), 0.0)
    return base + _sum(_each(c, terms))


REFERENCES: Mapping[str, Reference] = {
    one.__name__: one
    for one in (
        linear, passthrough, slerp, nuslerp, model_stock, nearswap, task_arithmetic, ties, breadcrumbs, breadcrumbs_ties,
        dare_linear, dare_ties, della, della_linear, sce, ram, ramplus_tl,
    )
}  # fmt: skip
