"""Brute force for two networks: the best of many positions on the great circle between them."""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from searcher.neuroevolution.evolution import BestSoFar, checked_networks
from searcher.neuroevolution.network import Scorer, Weights
from searcher.neuroevolution.population import Population


class LineSearch(BestSoFar):
    """Every whole-vector spherical interpolation of two networks at equal steps, from the first to the second.

    Args:
        scorer: The examples.
        first: The two networks, shape ``(2, n)``.
        n_positions: Number of positions, at least 2; more passes repeat the last.

    Raises:
        ValueError: If there are not two networks or fewer than two positions.
    """

    def __init__(self, scorer: Scorer, first: Weights, *, n_positions: int) -> None:
        networks = checked_networks(first, scorer)
        if len(networks) != 2 or n_positions < 2:
            raise ValueError(f"Expected 2 networks and 2 or more positions, but got {len(networks)}, {n_positions}.")
        super().__init__(networks[0])
        self._scorer, self._positions = scorer, np.linspace(0.0, 1.0, n_positions)
        self._population = Population(3, networks.shape[1], seed=0)
        for row, network in enumerate(networks):
            self._population.place(row, network)
        self.best_position = 0.0

    @override
    def advance(self) -> None:
        position = float(self._positions[min(self.n_passes, len(self._positions) - 1)])
        child = self._population.rows[2]
        self._population.cross(2, 0, 1, position, child.size)
        self.n_passes += 1
        if self._offer(child, self._scorer.accuracy(child)):
            self.best_position = position
