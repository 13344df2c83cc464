"""Which genes move an objective, learned from the candidates that a search happened to try.

An additive quadratic surrogate is fitted by ridge regression; a gene's effect is the standard deviation of its part
of the fit over the candidates, in the unit of the objective. Three things keep it honest: the share of variance that
the fit explains of *left-out* candidates, a bootstrap interval, and the effect that the strongest gene reaches in a
fit to nothing but the shuffled errors of left-out candidates. A search is no designed experiment: genes that moved together share their effects, and
interactions are not in the fit.

References: Hoerl and Kennard 1970 (ridge); Golub, Heath and Wahba 1979, section 1 (the exact leave-one-out error);
Sobol 1993 (for an additive function the variances of the parts are its first-order indices); Freedman and
Lane 1983 (shuffling residuals); Westfall and Young 1993 (the maximum over genes, so that the level holds for all).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

MIN_CANDIDATES: Final = 20
PER_GENE: Final = 3  # candidates; fewer leave the fit to the ridge alone
MAX_CANDIDATES: Final = 2000  # evenly spread; more tell no more and cost time
PENALTIES: Final = np.geomspace(1e-3, 1e2, 16)  # per candidate, with standardised features
RESAMPLES: Final = 100
LEVEL: Final = 0.05

Rows = NDArray[np.float64]
Direction = Literal["rises", "falls", "bends"]


@dataclass(frozen=True, eq=False)
class GeneEffects:
    """Effects of all genes on one objective.

    Args:
        effects: Standard deviation of each gene's part of the fit, shape ``(d,)``, in the objective's unit.
        low: Lower ends of their 90 % bootstrap intervals, shape ``(d,)``.
        high: Upper ends, shape ``(d,)``.
        directions: Whether the score rises or falls with the gene, or has its extreme inside.
        noise: What the strongest gene stays below in 95 % of the fits to shuffled errors of left-out candidates.
        explained: Share of the variance of left-out candidates that the fit explains; at most 1, may be negative.
        n_candidates: How many it was learned from.
    """

    effects: Rows
    low: Rows
    high: Rows
    directions: tuple[Direction, ...]
    noise: float
    explained: float
    n_candidates: int


def is_enough(n_candidates: int, n_genes: int) -> bool:
    """Whether there are enough candidates to learn the effects of so many genes."""
    return n_genes > 0 and n_candidates >= max(MIN_CANDIDATES, PER_GENE * n_genes)


def gene_effects(genomes: Rows, scores: Rows, *, seed: int = 0) -> GeneEffects:
    """Learn the effects on one objective; the result depends on the arguments alone.

    Args:
        genomes: Shape ``(n, d)``.
        scores: Finite, shape ``(n,)``.
        seed: Of bootstrap and shuffles.

    Raises:
        ValueError: If there are too few candidates (:func:`is_enough`) or the shapes disagree.

    Example:
        >>> x = np.random.default_rng(0).random((60, 2))
        >>> found = gene_effects(x, 3 * x[:, 0])
        >>> found.directions[0], bool(found.effects[1] < found.noise)
        ('rises', True)
    """
    if scores.shape != genomes.shape[:1] or not is_enough(*genomes.shape):
        raise ValueError(
            f"Expected at least {PER_GENE} candidates per gene and {MIN_CANDIDATES}, with one score each, "
            f"but got genomes {genomes.shape} and scores {scores.shape}."
        )
    kept = np.unique(np.linspace(0, len(genomes) - 1, min(len(genomes), MAX_CANDIDATES)).round().astype(np.intp))
    genomes, scores = genomes[kept], scores[kept]
    rng = np.random.default_rng(seed)
    features = _features(genomes)
    penalty, errors, explained = _best_penalty(features, scores)
    weights = _fit(features, scores[:, None], penalty)
    shuffled = np.stack([rng.permutation(errors) for _ in range(RESAMPLES)], axis=1)
    noise = _effects(features, _fit(features, shuffled, penalty)).max(axis=0)
    low, high = np.quantile(_bootstrap(features, scores, penalty, rng), [LEVEL, 1 - LEVEL], axis=0)
    return GeneEffects(
        _effects(features, weights)[:, 0],
        low,
        high,
        _directions(features, weights[:, 0]),
        float(np.quantile(noise, 1 - LEVEL)),
        explained,
        len(scores),
    )


def _features(genomes: Rows) -> Rows:
    """Per gene a linear and an orthogonal quadratic column, standardised; constant genes are 0; shape ``(n, 2 d)``."""
    linear = _standardised(genomes)
    squares = linear**2
    slope = (linear * squares).mean(axis=0)
    quadratic = _standardised(squares - slope * linear)
    return np.stack([linear, quadratic], axis=2).reshape(len(genomes), -1)


def _standardised(columns: Rows) -> Rows:
    centred = columns - columns.mean(axis=0)
    width = centred.std(axis=0)
    return np.asarray(np.where(width > 1e-9, centred / np.where(width > 1e-9, width, 1.0), 0.0))


def _best_penalty(features: Rows, scores: Rows) -> tuple[float, Rows, float]:
    """The penalty with the least leave-one-out error, the errors with it, and the share of variance explained."""
    n = len(scores)
    centred = scores - scores.mean()
    left, singular, _ = np.linalg.svd(features, full_matrices=False)
    projected = left.T @ centred
    tried = []
    for penalty in PENALTIES:
        shrink = singular**2 / (singular**2 + n * penalty)
        leverage = 1 / n + (left**2) @ shrink  # the mean is fitted as well
        tried.append((centred - left @ (shrink * projected)) / np.maximum(1 - leverage, 1e-12))
    best = int(np.argmin([(errors**2).sum() for errors in tried]))
    alone = float(((centred * n / (n - 1)) ** 2).sum())  # the error of the mean of the others
    explained = 1 - float((tried[best] ** 2).sum()) / alone if alone > 0 else 0.0
    return float(PENALTIES[best]), tried[best], explained


def _fit(features: Rows, scores: Rows, penalty: float) -> Rows:
    """Ridge weights for columns of scores, shape ``(2 d, k)``."""
    n, p = features.shape
    centre = features.mean(axis=0)
    centred = features - centre
    gram = centred.T @ centred + n * penalty * np.eye(p)
    return np.asarray(np.linalg.solve(gram, centred.T @ (scores - scores.mean(axis=0))))


def _effects(features: Rows, weights: Rows) -> Rows:
    """Standard deviation of every gene's part, shape ``(d, k)``; the two columns of a gene are orthogonal."""
    width = features.std(axis=0)
    squares = (weights * width[:, None]) ** 2
    return np.asarray(np.sqrt(squares[0::2] + squares[1::2]))


def _bootstrap(features: Rows, scores: Rows, penalty: float, rng: np.random.Generator) -> Rows:
    """Effects over resampled candidates, shape ``(RESAMPLES, d)``; evaluated where the candidates are."""
    n = len(scores)
    found = []
    for _ in range(RESAMPLES):
        rows = rng.integers(0, n, n)
        found.append(_effects(features, _fit(features[rows], scores[rows][:, None], penalty))[:, 0])
    return np.array(found)


def _directions(features: Rows, weights: Rows) -> tuple[Direction, ...]:
    """By the gene's part of the fit between the first and last tenth of what was tried."""
    directions: list[Direction] = []
    for k in range(0, features.shape[1], 2):
        order = np.argsort(features[:, k], kind="stable")
        tenth = len(order) // 10
        part = (features[:, k : k + 2] @ weights[k : k + 2])[order[tenth : len(order) - tenth]]
        rise, width = part[-1] - part[0], np.ptp(part)
        directions.append("bends" if abs(rise) < width / 2 or width == 0 else "rises" if rise > 0 else "falls")
    return tuple(directions)
