"""A population of networks in one array, whose rows are crossed and mutated in place."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from searcher.neuroevolution.network import Weights
from searcher.niches.crossover import cosine, slerp_weights, split_positions


class Population:
    """Rows of weights; children are written where there is room.

    Args:
        n_rows: Number of rows.
        n_parameters: Length of a row.
        seed: Of the mutations. They come from torch's generator, twice as fast as numpy's for these lengths.
    """

    def __init__(self, n_rows: int, n_parameters: int, seed: int) -> None:
        self.rows: Weights = np.zeros((n_rows, n_parameters), dtype=np.float32)
        self._squares = np.zeros(n_rows)
        self._scratch: Weights = np.empty(n_parameters, dtype=np.float32)
        self._noise = torch.empty(n_parameters)
        self._generator = torch.Generator().manual_seed(seed)

    def place(self, row: int, vector: NDArray[np.floating]) -> None:
        """Copy a network into a row."""
        self.rows[row] = vector
        self._measure(row)

    def cross(self, row: int, a: int, b: int, ratio: float, split: int) -> None:
        """Write the spherical interpolation of two rows into a third.

        The share of B is ``ratio`` before the split point and ``1 - ratio`` from there on; the angle is that of the
        whole vectors (the M2N2 authors' rule). A row crossed with itself stays what it is, to float32 rounding.

        Args:
            row: Where to write; neither ``a`` nor ``b``.
            a: First parent.
            b: Second parent.
            ratio: In [0, 1].
            split: First position behind the split point, 0 to n.
        """
        angle = cosine(self._squares[a], float(self.rows[a] @ self.rows[b]), self._squares[b])
        weights = np.stack(slerp_weights(split_positions(ratio, 2), angle)).astype(np.float32)
        for (p, q), part in zip(weights.T, (slice(None, split), slice(split, None)), strict=True):
            child, other = self.rows[row, part], self._scratch[part]
            np.multiply(self.rows[a, part], p, out=child)
            np.multiply(self.rows[b, part], q, out=other)
            child += other
        self._measure(row)

    def copy(self, row: int, source: int) -> None:
        """Copy a row to another."""
        self.place(row, self.rows[source])

    def mutate(self, row: int, sigma: float) -> None:
        """Add independent N(0, sigma^2) noise to every parameter of a row."""
        self._noise.normal_(0.0, sigma, generator=self._generator)
        self.rows[row] += self._noise.numpy()
        self._measure(row)

    def _measure(self, row: int) -> None:
        self._squares[row] = float(self.rows[row] @ self.rows[row])
