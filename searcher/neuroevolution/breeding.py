"""What evolution methods that keep several networks and breed one child at a time share."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.neuroevolution.evolution import Evolution, Variation
from searcher.neuroevolution.network import Scorer, Weights
from searcher.neuroevolution.population import Population


class Breeding(Evolution):
    """Each pass picks two parents, breeds their child into a free row, scores it and offers it a place.

    Leaves call :meth:`_begin` when their own state is ready.

    Args:
        scorer: The examples.
        n_rows: Members there can be, and one row more for the child.
        seed: Of all random choices.
        variation: How children are made.
    """

    def __init__(self, scorer: Scorer, *, n_rows: int, seed: int, variation: Variation | None) -> None:
        self._scorer = scorer
        self._variation = Variation() if variation is None else variation
        self._rng = np.random.default_rng(seed)
        self._population = Population(n_rows, scorer.network.n_parameters, seed)
        self._free = list(range(n_rows - 1, -1, -1))  # rows without a member; the last is the next child's
        self._best_row = -1

    def _begin(self, first: Weights) -> None:
        """Offer the first networks, shape ``(K, n)``, their places."""
        for network in first:
            self._population.place(self._free[-1], network)
            self._insert(self._scorer.correct(network))

    @override
    def advance(self) -> None:
        a, b = self._pick_parents()
        row = self._free[-1]
        self._variation.breed(self._population, row, a, b, self._rng)
        self._insert(self._scorer.correct(self._population.rows[row]))
        self.n_passes += 1

    @property
    @override
    def best(self) -> Weights:
        row: Weights = self._population.rows[self._best_row]
        return row

    @abstractmethod
    def _pick_parents(self) -> tuple[int, int]:
        """Rows of the two parents."""

    @abstractmethod
    def _insert(self, correct: NDArray[np.bool_]) -> None:
        """Take the network in the next free row, which is right on these examples, or leave the row free."""
