"""Groups of items that were answered alike, by weighted k-means on the distinct answers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_ROUNDS = 50


def cluster(features: Array, k: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], Array]:
    """At most k clusters of items, and how far each item is from the centre of its own.

    Items with equal features are always in one cluster; with fewer distinct ones than k, each is a cluster.

    Args:
        features: Shape ``(n_items, F)``.
        k: Number of clusters wanted, at least 1.
        rng: For the first centres (k-means++).

    Returns:
        Labels from 0 without gaps, shape ``(n_items,)``, and squared distances, shape ``(n_items,)``.
    """
    points, inverse, counts = np.unique(features, axis=0, return_inverse=True, return_counts=True)
    inverse = inverse.reshape(-1)
    if len(points) <= k:
        return np.asarray(inverse, dtype=np.int64), np.zeros(len(features))
    centres = _first_centres(points, counts.astype(np.float64), k, rng)
    labels = np.full(len(points), -1)
    for _ in range(_ROUNDS):
        found = _squared_distances(points, centres).argmin(axis=1)
        if (found == labels).all():
            break
        labels = found
        centres = _means(points, counts, labels, centres)
    _, labels = np.unique(labels, return_inverse=True)
    centres = _means(points, counts, labels.reshape(-1), centres)
    own = ((points - centres[labels.reshape(-1)]) ** 2).sum(axis=1)
    return np.asarray(labels.reshape(-1)[inverse], dtype=np.int64), own[inverse]


def _first_centres(points: Array, counts: Array, k: int, rng: np.random.Generator) -> Array:
    """k-means++: each centre is drawn in proportion to its squared distance from those before it."""
    chosen = [int(rng.choice(len(points), p=counts / counts.sum()))]
    nearest = _squared_distances(points, points[chosen])[:, 0]
    while len(chosen) < k:
        chances = counts * nearest
        chosen.append(int(rng.choice(len(points), p=chances / chances.sum())))  # distinct points: never all 0
        nearest = np.minimum(nearest, _squared_distances(points, points[chosen[-1:]])[:, 0])
        nearest[chosen] = 0.0
    return np.asarray(points[chosen])


def _squared_distances(points: Array, centres: Array) -> Array:
    """Shape ``(n, k)``, never below 0."""
    cross = points @ centres.T
    distances = (points**2).sum(axis=1)[:, None] - 2 * cross + (centres**2).sum(axis=1)
    return np.asarray(np.maximum(distances, 0.0), dtype=np.float64)


def _means(points: Array, counts: NDArray[np.int64], labels: NDArray[np.int64], centres: Array) -> Array:
    """Means of the clusters; an empty one keeps its centre."""
    sums, sizes = np.zeros_like(centres), np.zeros(len(centres))
    np.add.at(sums, labels, points * counts[:, None])
    np.add.at(sizes, labels, counts)
    means: Array = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], centres)
    return means
