"""M2N2 on weights: parents compete for examples and attract each other; children are crossed and mutated.

Reference: Abrantes, Lange and Tang 2025, arXiv:2508.16204, and the authors' code. What differs: where nobody attracts
the first parent, which the code answers with 0 / 0, the second is drawn by fitness among the others.
"""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from searcher.neuroevolution.evolution import Evolution, Variation
from searcher.neuroevolution.network import Scorer, Weights
from searcher.neuroevolution.population import Population
from searcher.niches.archive import NicheArchive


class NaturalNiches(Evolution):
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
        self._scorer, self._matchmaker = scorer, matchmaker
        self._variation = Variation() if variation is None else variation
        self._rng = np.random.default_rng(seed)
        self._archive = NicheArchive(capacity, scorer.n_examples, alpha=alpha)
        self._population = Population(capacity + 1, first.shape[1], seed)
        self._free = list(range(capacity, -1, -1))  # rows without a member; the last is the next child's
        self._best_row, self._best_accuracy = -1, -1.0
        for network in first:
            self._population.place(self._free[-1], network)
            self._insert(scorer.correct(network))

    @property
    def archive(self) -> NicheArchive:
        """The archive; its members are rows of :attr:`weights`."""
        return self._archive

    @property
    def weights(self) -> Weights:
        """Weights of all rows, members or not, shape ``(capacity + 1, n)``."""
        return self._population.rows

    @override
    def advance(self) -> None:
        a, b = self._archive.pick_parents(self._rng, matchmaker=self._matchmaker)
        members, row = self._archive.members, self._free[-1]
        self._variation.breed(self._population, row, members[a], members[b], self._rng)
        self._insert(self._scorer.correct(self._population.rows[row]))
        self.n_passes += 1

    @property
    @override
    def best(self) -> Weights:
        row: Weights = self._population.rows[self._best_row]
        return row

    @property
    @override
    def best_accuracy(self) -> float:
        return self._best_accuracy

    def _insert(self, correct: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> None:
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


def checked_networks(first: Weights, scorer: Scorer) -> Weights:
    """The first networks as float32.

    Raises:
        ValueError: If their shape is not ``(K, n_parameters)`` with K at least 1, or a weight is not finite.
    """
    networks = np.ascontiguousarray(first, dtype=np.float32)
    if networks.ndim != 2 or len(networks) == 0 or networks.shape[1] != scorer.network.n_parameters:
        expected = f"(K, {scorer.network.n_parameters}), K at least 1"
        raise ValueError(f"Expected first networks of shape {expected}, but got {networks.shape}.")
    if not np.isfinite(networks).all():
        raise ValueError("Expected the weights of the first networks to be finite, but they are not.")
    return networks
