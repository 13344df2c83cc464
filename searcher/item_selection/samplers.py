"""Which items stand for all: one or more of each stratum, weighted by what they stand for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from searcher.item_selection.clusters import cluster
from searcher.item_selection.irt import fit_irt

Array = NDArray[np.float64]
Chosen: TypeAlias = tuple[NDArray[np.int64], Array]
"""Items, ascending, shape ``(m,)``, and their weights, which sum to 1, shape ``(m,)``."""

Sampler: TypeAlias = Callable[[Array, int, np.random.Generator], Chosen]
"""From responses ``(R, n_items)`` and a number m below n_items."""

_BINS = 5  # of difficulty


def random_items(responses: Array, m: int, rng: np.random.Generator) -> Chosen:
    """Items at random, equal weights."""
    chosen = np.sort(rng.choice(responses.shape[1], m, replace=False))
    return chosen, np.full(m, 1 / m)


def stratified_items(responses: Array, m: int, rng: np.random.Generator) -> Chosen:
    """One item at random out of each m-th of all, ordered by how many respondents got them right."""
    n = responses.shape[1]
    order = np.lexsort(np.stack([rng.random(n), _ease(responses)]))
    labels = np.empty(n, dtype=np.int64)
    labels[order] = np.arange(n) * m // n
    return _of_strata(labels, np.ones(m, dtype=np.int64), np.zeros(n), rng)


def balanced_items(responses: Array, m: int, rng: np.random.Generator) -> Chosen:
    """Equal numbers of items out of five bins of difficulty, so that rare easy or hard ones are not missed."""
    ease = _ease(responses)
    edges = np.unique(np.linspace(ease.min(), ease.max(), _BINS + 1)[1:-1])
    _, labels = np.unique(np.searchsorted(edges, ease, side="left"), return_inverse=True)
    labels = labels.reshape(-1)
    sizes = np.bincount(labels)
    if sizes.size > m:  # fewer items than bins
        return stratified_items(responses, m, rng)
    return _of_strata(labels, _shares(sizes, np.ones(sizes.size), m), np.zeros(labels.size), rng)


def anchor_items(responses: Array, m: int, rng: np.random.Generator) -> Chosen:
    """Items at random out of each of m/2 clusters that the respondents answer alike, as many as its size earns.

    The clusters of tinyBenchmarks (section 3), but half as many: one item of each of m would leave a large cluster, of
    items that all respondents get right for example, to a single answer.
    """
    return _of_clusters(_equal_scale(responses).T, max(m // 2, 1), m, rng)


def medoid_items(responses: Array, m: int, rng: np.random.Generator) -> Chosen:
    """The middle of each of m clusters of items that the respondents answer alike (tinyBenchmarks, section 3).

    Few respondents give few distinct answers; a cluster of items that all answer alike then sends several, at random.
    """
    return _of_clusters(_equal_scale(responses).T, m, m, rng)


def irt_items(responses: Array, m: int, rng: np.random.Generator) -> Chosen:
    """As :func:`anchor_items`, with clusters of items of like discrimination and difficulty."""
    return _of_clusters(_item_parameters(responses), max(m // 2, 1), m, rng)


def irt_medoid_items(responses: Array, m: int, rng: np.random.Generator) -> Chosen:
    """The middle of each of m clusters of items of like discrimination and difficulty (tinyBenchmarks, section 3)."""
    return _of_clusters(_item_parameters(responses), m, m, rng)


def _item_parameters(responses: Array) -> Array:
    model = fit_irt(responses)
    return np.column_stack([model.discriminations, model.difficulties])


def _of_clusters(features: Array, k: int, m: int, rng: np.random.Generator) -> Chosen:
    labels, distances = cluster(np.round(features, 9), k, rng)
    sizes = np.bincount(labels)
    middle_first = distances if k == m else np.zeros(labels.size)
    return _of_strata(labels, _shares(sizes, sizes.astype(np.float64), m), middle_first, rng)


def nearest_neighbours(responses: Array, chosen: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """For each chosen item the position, among the chosen, of another that the respondents answer most alike.

    Ties are broken at random. A single item is its own neighbour. Shape ``(m,)``.
    """
    features = _equal_scale(responses)[:, chosen].T
    squares = (features**2).sum(axis=1)
    distances = (
        np.round(squares[:, None] - 2 * features @ features.T + squares, 9) + rng.random((chosen.size,) * 2) * 1e-9
    )
    np.fill_diagonal(distances, np.inf)
    return np.asarray(distances.argmin(axis=1), dtype=np.int64)


def _ease(responses: Array) -> Array:
    """Mean response to every item, shape ``(n_items,)``; 0 without respondents."""
    return responses.mean(axis=0) if len(responses) else np.zeros(responses.shape[1])


def _equal_scale(responses: Array) -> Array:
    """Responses with every respondent's spread at most 1, so that none outweighs the others; binary ones unchanged."""
    spread = np.ptp(responses, axis=1, keepdims=True) if len(responses) else np.ones((0, 1))
    return responses / np.where(spread > 0, spread, 1.0)


def _shares(sizes: NDArray[np.int64], worth: Array, m: int) -> NDArray[np.int64]:
    """How many of each stratum: one at least, the next always where most worth stands behind each; m in all."""
    picks = np.ones(sizes.size, dtype=np.int64)
    for _ in range(m - sizes.size):
        gain = np.where(picks < sizes, worth / (picks + 0.5), -1.0)
        picks[int(gain.argmax())] += 1
    return picks


def _of_strata(
    labels: NDArray[np.int64], picks: NDArray[np.int64], distances: Array, rng: np.random.Generator
) -> Chosen:
    """The items nearest to the middle of their stratum, ties at random; each stands for its share of the stratum."""
    order = np.lexsort(np.stack([rng.random(labels.size), distances, labels]))
    sizes = np.bincount(labels, minlength=picks.size)
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    rank = np.arange(labels.size) - first[labels[order]]
    taken = rank < picks[labels[order]]
    chosen = order[taken]
    weights = (sizes / picks)[labels[chosen]] / labels.size
    ascending = np.argsort(chosen)
    return chosen[ascending].astype(np.int64), weights[ascending]
