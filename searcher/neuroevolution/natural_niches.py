"""M2N2 on weights: parents compete for examples and attract each other; children are crossed and mutated.

Reference: Abrantes, Lange and Tang 2025, arXiv:2508.16204, and the authors' code. What differs: where nobody attracts
the first parent, which the code answers with 0 / 0, the second is drawn by fitness among the others.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.neuroevolution.breeding import Breeding
from searcher.neuroevolution.evolution import Variation, checked_networks
from searcher.neuroevolution.network import Scorer, Weights
from searcher.niches.archive import NicheArchive


class NaturalNiches(Breeding):
    """Steady-state evolution in an archive with shared fitness.

    With ``alpha=0`` and no matchmaker this is the authors' genetic algorithm. The best network is that of the archive,
    not of all time: the best one leaves when others together solve all that it solves.

    Args:
        scorer: The examples.
        first: Networks to begin with, shape ``(K, n)``, K at least 1.
        seed: Of all random choices.
        capacity: Size of the archive.
        alpha: Strength of competition.
        matchmaker: Whether the second parent is drawn by attraction instead of fitness.
        variation: How children are made.

    Raises:
        ValueError: If the networks have the wrong shape or a setting is out of range.
    """

    def __init__(
        self,
        scorer: Scorer,
        first: Weights,
        *,
        seed: int,
        capacity: int = 20,
        alpha: float = 1.0,
        matchmaker: bool = True,
        variation: Variation | None = None,
    ) -> None:
        first = checked_networks(first, scorer)
        super().__init__(scorer, n_rows=capacity + 1, seed=seed, variation=variation)
        self._matchmaker, self._best_accuracy = matchmaker, -1.0
        self._archive = NicheArchive(capacity, scorer.n_examples, alpha=alpha)
        self._begin(first)

    @property
    def archive(self) -> NicheArchive:
        """The archive; its members are rows of :attr:`weights`."""
        return self._archive

    @property
    def weights(self) -> Weights:
        """Weights of all rows, members or not, shape ``(capacity + 1, n)``."""
        return self._population.rows

    @property
    @override
    def best_accuracy(self) -> float:
        return self._best_accuracy

    @override
    def _pick_parents(self) -> tuple[int, int]:
        a, b = self._archive.pick_parents(self._rng, matchmaker=self._matchmaker)
        return self._archive.members[a], self._archive.members[b]

    @override
    def _insert(self, correct: NDArray[np.bool_]) -> None:
        """Offer the network in the next free row to the archive."""
        row = self._free.pop()
        removed = self._archive.add(row, correct.astype(np.float64))
        if removed is not None:
            self._free.append(removed)
        if removed == row:
            return
        totals = self._archive.totals()
        slot = int(np.argmax(totals))
        self._best_accuracy = float(totals[slot])
        if self._archive.members[slot] != self._best_row:
            self._best_row = self._archive.members[slot]
            self.n_changes += 1
