"""MAP-Elites on weights: one elite for every cell of a grid over two accuracies, as in the M2N2 authors' experiment.

What differs from their code: an accuracy of exactly 1 belongs to the last cell, where theirs drops the network.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.neuroevolution.breeding import Breeding
from searcher.neuroevolution.evolution import Variation, checked_networks
from searcher.neuroevolution.network import Scorer, Weights


class MapElites(Breeding):
    """Steady-state evolution of the elites of a grid.

    The measures are the accuracies on two groups of examples. Parents are drawn in proportion to accuracy: two
    different ones, or independently while the elites' accuracies add up to less than 2 (the authors' rule; it spares
    the first passes, when there may be one elite only).

    Args:
        scorer: The examples.
        first: Networks to begin with, shape ``(K, n)``.
        groups: Group 0 or 1 of each example, shape ``(n_examples,)``; both occur.
        seed: Of all random choices.
        cells: Cells per side of the grid.
        variation: How children are made.

    Raises:
        ValueError: If a shape is wrong, a group is empty or ``cells`` is below 1.
    """

    def __init__(
        self,
        scorer: Scorer,
        first: Weights,
        groups: NDArray[np.integer],
        *,
        seed: int,
        cells: int = 10,
        variation: Variation | None = None,
    ) -> None:
        first = checked_networks(first, scorer)
        if groups.shape != (scorer.n_examples,) or set(np.unique(groups)) != {0, 1}:
            raise ValueError(f"Expected groups 0 and 1 of {scorer.n_examples} examples, both used.")
        if cells < 1:
            raise ValueError(f"Expected at least 1 cell per side, but got {cells}.")
        super().__init__(scorer, n_rows=cells**2 + 1, seed=seed, variation=variation)
        self._cells = cells
        self._members = [groups == 0, groups == 1]
        self._row_by_cell: dict[int, int] = {}
        self._accuracy = np.zeros(cells**2 + 1)  # of each row
        self._begin(first)

    @property
    def elites(self) -> dict[int, float]:
        """Accuracy by cell; cell ``i * cells + j`` is the i-th of group 0 and the j-th of group 1."""
        return {cell: float(self._accuracy[row]) for cell, row in self._row_by_cell.items()}

    @property
    @override
    def best_accuracy(self) -> float:
        return float(self._accuracy[self._best_row])

    @override
    def _pick_parents(self) -> tuple[int, int]:
        rows = np.array(list(self._row_by_cell.values()))
        quality = self._accuracy[rows]
        total = float(quality.sum())
        n_apart = min(2, int(np.count_nonzero(quality)))
        shares = quality / total if total > 0.0 else None
        a, b = self._rng.choice(rows, 2, p=shares, replace=total < 2.0 or n_apart < 2)
        return int(a), int(b)

    @override
    def _insert(self, correct: NDArray[np.bool_]) -> None:
        """Let the network in the next free row take its cell if that is empty or held by a worse one."""
        row, accuracy = self._free.pop(), float(correct.mean())
        i, j = (min(int(correct[group].mean() * self._cells), self._cells - 1) for group in self._members)
        cell = i * self._cells + j
        holder = self._row_by_cell.get(cell)
        if holder is not None and accuracy <= self._accuracy[holder]:
            self._free.append(row)
            return
        if holder is not None:
            self._free.append(holder)
        self._row_by_cell[cell], self._accuracy[row] = row, accuracy
        if self._best_row < 0 or accuracy > self._accuracy[self._best_row]:
            self._best_row = row
            self.n_changes += 1
