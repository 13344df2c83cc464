"""The Pareto front that surrogates predict inside a box, and a few points that represent it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from searcher.multi_objective.reference_directions import reference_directions
from searcher.quadratic_surrogate.box import Box
from searcher.quadratic_surrogate.nsga3 import Effort, nsga3
from searcher.quadratic_surrogate.quadratic import QuadraticFit
from searcher.quadratic_surrogate.surrogates import Surrogates

Floats = NDArray[np.float64]

SWEEPS = 60  # of coordinate ascent
CONVERGED = 1e-10
STARTS = 24
SUPPORTED = 50  # points of the first generation that are maxima of weighted sums


def maximum(fit: QuadraticFit, box: Box, starts: Floats) -> Floats:
    """The best of the local maxima that coordinate ascent reaches from some starts in a box, shape ``(dim,)``.

    Args:
        fit: What is maximised.
        box: Bounds.
        starts: Shape ``(k, dim)``, k >= 1.
    """
    _, b, a = fit.expansion()
    points = ascended(np.tile(b, (len(starts), 1)), np.tile(a, (len(starts), 1, 1)), box, starts)
    values = points @ b + 0.5 * np.einsum("ki,ij,kj->k", points, a, points)
    return np.asarray(points[np.argmax(values)], dtype=np.float64)


def supported(surrogates: Surrogates, box: Box, starts: Floats, directions: Floats) -> Floats:
    """Local maxima of weighted sums of the objectives on the scales of their links, shape ``(k, dim)``.

    Where all quadratics are concave these are the front itself.

    Args:
        surrogates: One per objective.
        box: Bounds.
        starts: One per direction, shape ``(k, dim)``.
        directions: Weights, shape ``(k, m)``, in units of each objective's range over the starts.
    """
    _, slopes, curvatures = zip(*(surrogate.fit.expansion() for surrogate in surrogates.each), strict=True)
    width = np.array([np.ptp(surrogate.fit.predict(starts)) for surrogate in surrogates.each])
    weights = directions / np.where(width > 0, width, 1.0)
    return ascended(weights @ np.array(slopes), np.tensordot(weights, np.array(curvatures), axes=1), box, starts)


def ascended(b: Floats, a: Floats, box: Box, starts: Floats) -> Floats:
    """Local maxima of ``b c + c A c / 2`` in a box by coordinate ascent, a quadratic for each start.

    Along one gene a quadratic has its maximum in the box at the vertex of the parabola or at an end, so that every step
    is exact; a concave quadratic has one local maximum.

    Args:
        b: Shape ``(k, dim)``.
        a: Symmetric, shape ``(k, dim, dim)``.
        box: Bounds.
        starts: Shape ``(k, dim)``.

    Returns:
        Shape ``(k, dim)``.
    """
    points, centre = np.clip(starts, box.low, box.high), box.centre
    for _ in range(SWEEPS):
        before = points.copy()
        for i in range(box.dim):
            bend = a[:, i, i]
            rest = b[:, i] + np.einsum("kj,kj->k", points, a[:, i]) - points[:, i] * bend  # slope where the gene is 0
            end = np.where(rest + bend * centre[i] > 0, box.high[i], box.low[i])
            vertex = -rest / np.where(bend < 0, bend, -1.0)
            points[:, i] = np.clip(np.where(bend < 0, vertex, end), box.low[i], box.high[i])
        if np.abs(points - before).max() < CONVERGED:
            break
    return np.asarray(points, dtype=np.float64)


def predicted_front(
    surrogates: Surrogates, box: Box, start: Floats, rng: np.random.Generator, effort: Effort | None = None
) -> tuple[Floats, Floats]:
    """Points of the predicted front and their predicted fitness, shapes ``(k, dim)`` and ``(k, m)``.

    One objective has its maximum. Several have a population by NSGA-III, started from the maxima of each and of
    weighted sums of them, which it completes where the front is not convex.

    Args:
        surrogates: One per objective.
        box: Where is searched; never beyond, because a quadratic says nothing of what it has not seen.
        start: Good points, shape ``(k, dim)``.
        rng: Source of all random numbers.
        effort: Of NSGA-III.
    """
    starts = np.concatenate([np.clip(start, box.low, box.high), box.at(rng.random((STARTS, box.dim)))])
    maxima = np.array([maximum(surrogate.fit, box, starts) for surrogate in surrogates.each])
    if len(maxima) == 1:
        return maxima, surrogates.predict(maxima)
    directions = reference_directions(len(maxima), SUPPORTED)
    sums = supported(surrogates, box, np.resize(starts, (len(directions), box.dim)), directions)
    return nsga3(surrogates.predict, len(maxima), box, np.concatenate([maxima, sums, start]), rng, effort or Effort())


def thinned(fitness: Floats, n: int, beside: Floats) -> NDArray[np.intp]:
    """Up to ``n`` rows that represent a front: the best of each objective, then each time the loneliest one.

    Distances are in units of the front's range (farthest-first, Gonzalez 1985). Equal rows are taken once.

    Args:
        fitness: Non-dominated, shape ``(k, m)``.
        n: How many.
        beside: Fitness of points that need no further one nearby, shape ``(q, m)``.
    """
    if not len(fitness):
        return np.zeros(0, dtype=np.intp)
    width = np.ptp(fitness, axis=0)
    scaled, others = fitness / np.where(width > 0, width, 1.0), beside / np.where(width > 0, width, 1.0)
    chosen: list[int] = []
    gaps = np.full(len(fitness), np.inf)
    for i in dict.fromkeys(np.argmax(fitness, axis=0).tolist()):
        if len(chosen) < n and gaps[i] > 0:
            chosen.append(i)
            gaps = np.minimum(gaps, _distances(scaled, scaled[i]))
    for other in others:
        gaps = np.minimum(gaps, _distances(scaled, other))
    while len(chosen) < n and gaps.max() > 0:
        chosen.append(int(np.argmax(gaps)))
        gaps = np.minimum(gaps, _distances(scaled, scaled[chosen[-1]]))
    return np.array(chosen, dtype=np.intp)


def _distances(points: Floats, to: Floats) -> Floats:
    return np.asarray(np.linalg.norm(points - to, axis=1), dtype=np.float64)
