"""Adaptive sampling by directions: more points where the surrogates err or are unsure.

Bayesian MAP (Li et al. 2025, known in detail from the authors' code) divides directions from the origin into bins of
hyperspherical angles. Mended here: errors and deviations are in units of the objective, so that one temperature fits
all; every bootstrap draws its points anew; a bin without points has the average error and the deviation found in it,
where the code never visits it; the radius reaches the border of the box in every direction; errors are leave-one-out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from searcher.quadratic_surrogate.box import Box
from searcher.quadratic_surrogate.surrogates import Measured, Surrogates, refitted

Floats = NDArray[np.float64]

MAX_GENES = 6  # 32 bins; beyond, almost every bin would be empty
TEMPERATURE = 0.07  # of scores with maximum 1
DEVIATION = 0.5  # weight of the standard deviation
REFITS = 30
KEPT = 0.8  # share of the points of each refit
RADII = (0.2, 1.0)  # of the way to the border
PROBES = 4  # places in a bin where the deviation is computed


def angles_of(directions: Floats) -> Floats:
    """Hyperspherical angles, shape ``(n, dim - 1)``, of vectors without negative entries, each in [0, pi / 2]."""
    rest = np.sqrt(np.cumsum(directions[:, ::-1] ** 2, axis=1)[:, ::-1])
    return np.asarray(np.arctan2(rest[:, 1:], directions[:, :-1]), dtype=np.float64)


def directions_of(angles: Floats) -> Floats:
    """Unit vectors, shape ``(n, dim)``, of angles, shape ``(n, dim - 1)``."""
    ones = np.ones((len(angles), 1))
    sines = np.cumprod(np.concatenate([ones, np.sin(angles)], axis=1), axis=1)
    return np.asarray(sines * np.concatenate([np.cos(angles), ones], axis=1), dtype=np.float64)


def adaptive_points(surrogates: Surrogates, measured: Measured, box: Box, n: int, rng: np.random.Generator) -> Floats:
    """Points of a box in bins drawn by a softmax of their scores, shape ``(n, dim)``.

    Args:
        surrogates: Fitted to ``measured`` in this box.
        measured: All points.
        box: Directions start at its lowest corner.
        n: How many.
        rng: Source of all random numbers.
    """
    per_axis = 4 if box.dim < 4 else 2
    shape = (per_axis,) * (box.dim - 1)
    scores = _scores(surrogates, measured, box, shape, rng)
    weights = np.exp((scores - scores.max()) / (TEMPERATURE * max(float(scores.max()), 1e-300)))
    drawn = rng.choice(scores.size, size=n, p=weights / weights.sum())
    return _points_in(drawn, shape, box, rng)


def _scores(
    surrogates: Surrogates, measured: Measured, box: Box, shape: tuple[int, ...], rng: np.random.Generator
) -> Floats:
    """Mean squared error plus half the bootstrap's standard deviation of every bin, shape ``(bins,)``."""
    n_bins = int(np.prod(shape, dtype=np.int64))
    probes = _points_in(np.repeat(np.arange(n_bins), PROBES), shape, box, rng)
    deviation = _deviation(surrogates, measured, probes, rng).reshape(n_bins, PROBES).mean(axis=1)
    inside = box.contains(measured.points)
    errors = _squared_errors(surrogates)
    average = float(np.nanmean(errors)) if np.isfinite(errors).any() else 1.0
    inside &= np.isfinite(errors)
    bins = _bins_of(measured.points[inside], shape, box)
    counts, sums = (np.bincount(bins, weights, n_bins) for weights in (None, errors[inside]))
    mean = np.where(counts > 0, sums / np.maximum(counts, 1), average)
    return np.asarray(mean + DEVIATION * deviation)


def _squared_errors(surrogates: Surrogates) -> Floats:
    """Leave-one-out errors in units of each fit's variance, mean over the objectives, shape ``(n,)``."""
    total = []
    for surrogate in surrogates.each:
        fit = surrogate.fit
        unit = np.nanmean(fit.loo**2) / max(1.0 - fit.r2, 1e-12) if np.isfinite(fit.r2) else 1.0
        total.append(fit.loo**2 / max(float(unit), 1e-300))
    return np.asarray(np.mean(total, axis=0), dtype=np.float64)


def _deviation(surrogates: Surrogates, measured: Measured, probes: Floats, rng: np.random.Generator) -> Floats:
    """Standard deviation of bootstrap predictions in units of the range, mean over the objectives, shape ``(k,)``."""
    n, found = len(measured), []
    kept = max(int(KEPT * n), min(n - 1, len(surrogates.each[0].fit.coefficients)))
    for _ in range(REFITS):
        try:
            found.append(refitted(surrogates, measured, np.sort(rng.permutation(n)[:kept])).predict(probes))
        except ValueError:
            continue  # these points do not determine a quadratic
    if len(found) < 2:
        return np.zeros(len(probes))
    unit = np.where(surrogates.scale > 0, surrogates.scale, 1.0)
    return np.asarray((np.std(found, axis=0) / unit).mean(axis=1), dtype=np.float64)


def _bins_of(points: Floats, shape: tuple[int, ...], box: Box) -> NDArray[np.intp]:
    if not shape:
        return np.zeros(len(points), dtype=np.intp)
    angles = angles_of((points - box.low) / box.side)
    cells = np.minimum((angles / (np.pi / 2) * np.array(shape)).astype(np.intp), np.array(shape) - 1)
    return np.asarray(np.ravel_multi_index(tuple(cells.T), shape), dtype=np.intp)


def _points_in(bins: NDArray[np.intp], shape: tuple[int, ...], box: Box, rng: np.random.Generator) -> Floats:
    """A random point in each bin."""
    directions = np.ones((len(bins), 1))
    if shape:
        cells = np.stack(np.unravel_index(bins, shape), axis=1)
        directions = directions_of((cells + rng.random(cells.shape)) / np.array(shape) * np.pi / 2)
    reach = rng.uniform(*RADII, size=(len(bins), 1)) / directions.max(axis=1, keepdims=True)
    return box.at(np.clip(reach * directions, 0.0, 1.0))
