"""NSGA-III on a function of arrays, for functions that cost next to nothing.

Reference: Deb and Jain 2014. Optuna's NSGA-III, which the strategy `nsga3` uses, keeps a record of every trial and
would need minutes for the ten thousand evaluations that take a fraction of a second here. Unlike in the paper, of
members equally near to a direction the first is kept, and a degenerate hyperplane is replaced by the worst values of
the front.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from searcher.multi_objective.dominance import rank
from searcher.multi_objective.reference_directions import reference_directions
from searcher.quadratic_surrogate.box import Box

Floats: TypeAlias = NDArray[np.float64]
Function: TypeAlias = Callable[[Floats], Floats]
"""Points of shape ``(n, dim)`` to fitness, maximised, shape ``(n, m)``."""

ETA = 20.0  # distribution index of crossover and mutation, as in the code of MAP
TINY = 1e-6  # weight of the other objectives in the search of an extreme point


@dataclass(frozen=True)
class Effort:
    """How long is searched.

    Args:
        population: Members, even.
        generations: Rounds of offspring.
        crossover: Probability that a pair is crossed.
    """

    population: int = 100
    generations: int = 40
    crossover: float = 0.9


def nsga3(
    function: Function, n_objectives: int, box: Box, start: Floats, rng: np.random.Generator, effort: Effort
) -> tuple[Floats, Floats]:
    """The non-dominated members of the last generation.

    Args:
        function: What is maximised.
        n_objectives: Its number of values.
        box: Where is searched.
        start: Members of the first generation, shape ``(k, dim)``; the others are uniform in the box.
        rng: Source of all random numbers.
        effort: How long is searched.

    Returns:
        Points, shape ``(k, dim)``, and their fitness, shape ``(k, m)``.
    """
    size = effort.population
    directions = reference_directions(n_objectives, size)
    known = np.clip(start, box.low, box.high)[:size]
    points = np.concatenate([known, box.at(rng.random((size - len(known), box.dim)))])
    fitness = function(points)
    for _ in range(effort.generations):
        children = offspring(points[rng.permutation(size)], box, rng, effort.crossover)
        points = np.concatenate([points, children])
        fitness = np.concatenate([fitness, function(children)])
        kept = survivors(fitness, size, directions, rng)
        points, fitness = points[kept], fitness[kept]
    best = rank(fitness) == 0
    return points[best], fitness[best]


def offspring(parents: Floats, box: Box, rng: np.random.Generator, crossover: float) -> Floats:
    """Children of neighbouring rows by simulated binary crossover and polynomial mutation, both within the box.

    References: Deb and Agrawal 1995; Deb and Goyal 1996; each gene mutates with probability 1 / dim. Children beyond a
    border are moved onto it.

    Args:
        parents: Shape ``(n, dim)``, n even.
        box: Bounds.
        rng: Source of all random numbers.
        crossover: Probability that a pair is crossed; in a crossed pair each gene is with probability 1/2.

    Returns:
        Shape ``(n, dim)``.
    """
    first, second = parents[0::2], parents[1::2]
    u = rng.random(first.shape)
    beta = np.where(u <= 0.5, 2 * u, 1 / (2 - 2 * u)) ** (1 / (ETA + 1))
    is_crossed = (rng.random((len(first), 1)) < crossover) & (rng.random(first.shape) < 0.5)
    beta = np.where(is_crossed, beta, 1.0)
    middle, half = (first + second) / 2, (first - second) / 2
    children = np.concatenate([middle + beta * half, middle - beta * half])
    v = rng.random(children.shape)
    delta = np.where(v < 0.5, (2 * v) ** (1 / (ETA + 1)) - 1, 1 - (2 - 2 * v) ** (1 / (ETA + 1)))
    mutates = rng.random(children.shape) < 1 / box.dim
    return np.asarray(np.clip(children + mutates * delta * box.side, box.low, box.high), dtype=np.float64)


def survivors(fitness: Floats, size: int, directions: Floats, rng: np.random.Generator) -> NDArray[np.intp]:
    """Rows that live on: whole fronts while they fit, and of the next one those in the emptiest niches.

    Args:
        fitness: Shape ``(n, m)``, n >= size.
        size: How many live on.
        directions: Shape ``(k, m)``.
        rng: Breaks ties.

    Returns:
        Row numbers, shape ``(size,)``.
    """
    ranks = rank(fitness)
    order = np.argsort(ranks, kind="stable")
    last = ranks[order[size - 1]]
    sure, candidates = np.flatnonzero(ranks < last), np.flatnonzero(ranks == last)
    if len(sure) + len(candidates) == size:
        return np.concatenate([sure, candidates])
    considered = np.concatenate([sure, candidates])
    costs = normalised(-fitness[considered], ranks[considered] == 0)
    niche, distance = nearest_direction(costs, directions)
    n_sure = len(sure)
    counts = np.bincount(niche[:n_sure], minlength=len(directions))
    chosen = _fill(niche[n_sure:], distance[n_sure:], counts, size - n_sure, rng)
    return np.concatenate([sure, candidates[chosen]])


def normalised(costs: Floats, is_front: NDArray[np.bool_]) -> Floats:
    """Costs, minimised, with the ideal point at 0 and the intercepts of the front's hyperplane at 1.

    Args:
        costs: Shape ``(n, m)``.
        is_front: Which of them are non-dominated.
    """
    moved = costs - costs.min(axis=0)
    front = moved[is_front]
    m = costs.shape[1]
    worst = front.max(axis=0)
    unit = np.where(worst > 0, worst, 1.0)
    weights = np.where(np.eye(m) > 0, 1.0, TINY)
    extremes = front[np.argmin((front[None] / unit / weights[:, None]).max(axis=2), axis=1)]
    intercepts = worst
    try:
        plane = np.linalg.solve(extremes / unit, np.ones(m))
    except np.linalg.LinAlgError:  # two objectives share their extreme point
        plane = np.zeros(m)
    if (plane > TINY).all():
        found = unit / plane
        intercepts = np.where(found > 2 * unit, worst, found)
    return np.asarray(moved / np.where(intercepts > 0, intercepts, 1.0), dtype=np.float64)


def nearest_direction(costs: Floats, directions: Floats) -> tuple[NDArray[np.intp], Floats]:
    """For each row the direction whose line through 0 is nearest, and the distance to it; shapes ``(n,)``."""
    unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    along = costs @ unit.T
    squares = np.maximum((costs**2).sum(axis=1)[:, None] - along**2, 0.0)
    niche = np.argmin(squares, axis=1)
    return niche, np.sqrt(squares[np.arange(len(costs)), niche])


def _fill(
    niche: NDArray[np.intp], distance: Floats, counts: NDArray[np.int64], n: int, rng: np.random.Generator
) -> list[int]:
    """Niching of Deb and Jain, algorithm 4: rows of the last front, shape ``(n,)``."""
    waiting: dict[int, list[int]] = {}
    for row in np.argsort(distance, kind="stable").tolist():
        waiting.setdefault(int(niche[row]), []).append(row)
    chosen: list[int] = []
    number = {j: int(counts[j]) for j in waiting}
    while len(chosen) < n:
        fewest = min(number.values())
        emptiest = [j for j, count in number.items() if count == fewest]  # each of these before any other
        for j in rng.permutation(emptiest).tolist()[: n - len(chosen)]:
            # the nearest member of an empty niche, any of one that has a member already
            place = 0 if fewest == 0 else int(rng.integers(len(waiting[j])))
            chosen.append(waiting[j].pop(place))
            number[j] += 1
            if not waiting[j]:
                del waiting[j], number[j]
    return chosen
