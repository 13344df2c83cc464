"""Directions in objective space along which NSGA-III spreads its population."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

INNER = 0.5  # scale of the second layer about the centre


def lattice(divisions: int, n_objectives: int) -> Floats:
    """All points with coordinates in steps of ``1 / divisions`` and sum 1 (Das and Dennis 1998), shape ``(k, m)``."""
    bars = np.array(list(combinations(range(divisions + n_objectives - 1), n_objectives - 1)), dtype=np.int64)
    bars = bars.reshape(-1, n_objectives - 1)
    edges = np.pad(bars, ((0, 0), (1, 1)), constant_values=((0, 0), (-1, divisions + n_objectives - 1)))
    return (np.diff(edges, axis=1) - 1) / divisions


def reference_directions(n_objectives: int, at_most: int) -> Floats:
    """As many directions as fit, at least one per objective, shape ``(k, m)``; rows add up to 1.

    One lattice; where it has fewer divisions than objectives, all its points are on the border, and a second one of
    half the size is put inside (Deb and Jain 2014, section IV.A).
    """
    if n_objectives == 1:
        return np.ones((1, 1))
    outer = most_divisions(n_objectives, at_most)
    points = lattice(outer, n_objectives)
    if outer >= n_objectives:
        return points
    while outer > 1 and len(points) + n_objectives > at_most:
        outer -= 1
        points = lattice(outer, n_objectives)
    room = at_most - len(points)
    if room < n_objectives:
        return points
    inner = lattice(most_divisions(n_objectives, room), n_objectives)
    return np.concatenate([points, INNER * inner + (1 - INNER) / n_objectives])


def most_divisions(n_objectives: int, at_most: int) -> int:
    """The largest number of divisions with at most that many directions; at least 1."""
    divisions = 1
    while n_objectives > 1 and n_directions(divisions + 1, n_objectives) <= at_most:
        divisions += 1
    return divisions


def n_directions(divisions: int, n_objectives: int) -> int:
    """Points of :func:`lattice`."""
    return comb(divisions + n_objectives - 1, n_objectives - 1)
