"""Uncrowded hypervolume improvement: what a point adds to a front, or how far it is from adding anything.

Reference: Toure, Hansen, Auger and Brockhoff 2019, "Uncrowded hypervolume improvement: COMO-CMA-ES and the Sofomore
framework", eq. 8; Klamroth, Lacour and Vanderpooten 2015 for the local bounds of the region that a front leaves free.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from searcher.multi_objective.hypervolume import improvement
from searcher.multi_objective.rows import as_fitness


def uncrowded_improvement(point: ArrayLike, front: ArrayLike, reference: ArrayLike) -> float:
    """The hypervolume improvement of a point, or minus its distance from the region where that is positive.

    Unlike the hypervolume improvement it tells dominated points apart, and unlike the hypervolume contribution it
    does not draw them towards the gaps between the others: they are drawn straight to the front. All fitness is
    maximised, so signs differ from the paper.

    Args:
        point: Fitness, finite, shape ``(m,)``.
        front: Fitness of the others, shape ``(n, m)``; ``n`` may be 0; dominated and non-finite rows count for nothing.
        reference: A point worse than all that count, shape ``(m,)``.

    Returns:
        Positive where no other point covers it and it exceeds the reference everywhere (product of the units), else
        minus the Euclidean distance to where that holds.

    Raises:
        ValueError: If the shapes disagree or a value of ``point`` or ``reference`` is not finite.

    Example:
        >>> uncrowded_improvement([1.0, 0.0], [[3.0, 1.0], [1.0, 3.0]], [0.0, 0.0])
        -1.0
    """
    there, origin = np.asarray(point, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    others = np.asarray(front, dtype=np.float64)
    others = as_fitness(others.reshape(0, max(origin.size, 1)) if others.size == 0 else others)
    if there.shape != origin.shape or not np.isfinite(there).all():
        raise ValueError(f"Expected a finite point of shape {origin.shape}, (m,), but got {there}.")
    gain = improvement(there, others, origin)
    return gain if gain > 0 else -_distance(there, local_bounds(others, origin))


def local_bounds(front: ArrayLike, reference: ArrayLike) -> NDArray[np.float64]:
    """Corners of the free region: a point is covered by no member and by no side of the reference if it exceeds one.

    Args:
        front: Fitness, shape ``(n, m)``; ``n`` may be 0.
        reference: Shape ``(m,)``.

    Returns:
        Shape ``(k, m)``, ``k >= 1``; none is at least as large as another. With two objectives ``k`` is one more than
        the number of non-dominated members above the reference.
    """
    corners = np.asarray(reference, dtype=np.float64)[None, :]
    for member in np.asarray(front, dtype=np.float64).reshape(-1, corners.shape[1]):
        if not np.isfinite(member).all():
            continue
        is_cut = (corners < member).all(axis=1)
        if is_cut.any():
            corners = _minimal(np.concatenate([corners[~is_cut], _raised(corners[is_cut], member)]))
    return corners


def _raised(corners: NDArray[np.float64], member: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each corner moved up to the member in one objective at a time, shape ``(k m, m)``."""
    k, m = corners.shape
    moved = np.repeat(corners[:, None, :], m, axis=1)
    moved[:, np.arange(m), np.arange(m)] = member
    return moved.reshape(k * m, m)


def _minimal(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distinct corners that are not at least as large as another in all objectives."""
    distinct = np.unique(corners, axis=0)
    is_above = (distinct[:, None, :] >= distinct[None, :, :]).all(axis=2)
    return np.asarray(distinct[is_above.sum(axis=1) == 1])  # above itself only


def _distance(point: NDArray[np.float64], corners: NDArray[np.float64]) -> float:
    lacking = np.maximum(corners - point, 0.0)
    return float(np.sqrt((lacking**2).sum(axis=1).min()))
