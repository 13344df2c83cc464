"""Table V: which elements differ most among the models, and how much of each task vector lies in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import override

from searcher.merge.tables.arrays import Arrays, Table, array_of
from searcher.merge.tables.gram import gram
from searcher.merge.tables.magnitudes import MagnitudeTable
from searcher.merge.tables.sorting import magnitude_keys

Curve: TypeAlias = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Ranks, ascending from 0, and energies of the elements up to each."""

N_QUANTILES = 256  # of the variances, and of the ranks at which energies are known
EXACT_NONZERO = 4096  # if so many variances or fewer are not zero they are known at every rank
N_PARTS = 1 << 14  # into which a sorted tensor is divided
STRETCH = 1 << 16  # elements treated in one go, so that intermediates stay in the processor's cache
LOW_BITS = 16  # of a variance, ignored where energies are added up: 128 steps per factor of two
N_STEPS = 1 << (32 - LOW_BITS)


@dataclass(frozen=True)
class VarianceCut:
    """Which elements of one tensor are kept, in all models.

    Args:
        threshold: Elements of larger variance are kept; a float32.
        tie: Elements of equal variance are kept if their tie hash is at most this, in 0 ... 2^32 - 1.
        energies: Per model the sum of ``tau^2`` of what is kept.
    """

    threshold: float
    tie: int
    energies: tuple[float, ...]


def population_variance(vectors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Variance of each element over K models, float32, shape ``(n,)``.

    With ``e_k = v_k - v_0``, so that equal values have none: ``mean = (e_0 + e_1 + ...) / K`` and ``((e_0 - mean)^2 +
    (e_1 - mean)^2 + ...) / K`` with every operation rounded to float32, in this order, as all kernels compute it.

    Args:
        vectors: K tensors of shape ``(n,)``, float32.
    """
    variance = torch.empty_like(vectors[0])
    for start in range(0, variance.numel(), STRETCH):
        first = vectors[0][start : start + STRETCH]
        n = torch.full_like(first, len(vectors))  # on CUDA a division by a number is a product with its inverse
        shifted = [vector[start : start + STRETCH] - first for vector in vectors]
        mean = shifted[0].clone()
        for part in shifted[1:]:
            mean += part
        mean /= n
        total = (shifted[0] - mean).square_()
        for part in shifted[1:]:
            total += (part - mean).square_()
        torch.div(total, n, out=variance[start : start + STRETCH])
    return variance


@dataclass(frozen=True, eq=False)
class VarianceTable(Table):
    """Cuts by variance, with the energies of what they keep.

    Args:
        statistics: Order statistics of the variances.
        ranks: Numbers of elements of largest variance at which the energies are known, int64, shape ``(m,)``,
            ascending from 0 to the size of the tensor.
        energies: Sum of ``tau_k^2`` over these elements, float64, shape ``(m, K)``.
    """

    kind: ClassVar[str] = "variance"
    version: ClassVar[int] = 2

    statistics: MagnitudeTable
    ranks: NDArray[np.int64]
    energies: NDArray[np.float64]

    @classmethod
    def of(cls, vectors: Sequence[torch.Tensor], name: str) -> Self:
        """The table of a whole tensor.

        Args:
            vectors: Task vectors of K models, float32, shape ``(n,)``, finite.
            name: Name of the tensor.
        """
        variance = population_variance(vectors)
        statistics = MagnitudeTable.of(variance, name, n_quantiles=N_QUANTILES)
        if variance.is_cuda or statistics.n_nonzero <= EXACT_NONZERO:
            ranks, energies = _energies_in_order(variance, vectors, name)
        else:
            ranks, energies = _energies_in_steps(variance.numpy(), [vector.numpy() for vector in vectors])
        if ranks[-1] < variance.numel():  # elements in which the models agree
            total = [gram([vector])[0, 0] for vector in vectors]
            ranks, energies = np.append(ranks, variance.numel()), np.vstack([energies, total])
        return cls(statistics, ranks, energies)

    @property
    def n_nonzero(self) -> int:
        """Number of elements whose variance is not zero."""
        return self.statistics.n_nonzero

    def cut(self, fraction: float) -> VarianceCut:
        """The cut that keeps a fraction of the elements whose variance is not zero, to the nearest number.

        Numbers are as precise as those of :meth:`MagnitudeTable.cut`, energies are interpolated between the ranks
        where they are known.

        Args:
            fraction: In [0, 1]; 1 keeps all elements, also those in which the models agree.
        """
        n = int(self.ranks[-1]) if fraction >= 1.0 else round(fraction * self.n_nonzero)
        cut = self.statistics.cut(n)
        return VarianceCut(cut.low, cut.last_tie, self._energies(n))

    def _energies(self, n: int) -> tuple[float, ...]:
        """Energies of the ``n`` elements of largest variance."""
        j = int(self.ranks.searchsorted(n))
        if self.ranks[j] == n:
            return tuple(self.energies[j].tolist())
        share = (n - self.ranks[j - 1]) / (self.ranks[j] - self.ranks[j - 1])
        return tuple((self.energies[j - 1] + (self.energies[j] - self.energies[j - 1]) * share).tolist())

    @override
    def to_arrays(self) -> Arrays:
        return {**self.statistics.to_arrays(), "energy_ranks": self.ranks, "energies": self.energies}

    @classmethod
    @override
    def from_arrays(cls, arrays: Arrays) -> Self:
        ranks = array_of(arrays, "energy_ranks", (np.int64,))
        n_models = arrays["energies"].shape[-1] if "energies" in arrays else 0
        energies = array_of(arrays, "energies", (np.float64,), (len(ranks), n_models))
        if not len(ranks) or np.any(np.diff(ranks) <= 0):
            raise ValueError("Expected ascending ranks of energies.")
        return cls(MagnitudeTable.from_arrays(arrays), ranks, energies)


def _energies_in_order(variance: torch.Tensor, vectors: Sequence[torch.Tensor], name: str) -> Curve:
    """Ranks and energies from sorted elements: at every rank if these are few, else at some."""
    n_nonzero = int(variance.count_nonzero())
    if n_nonzero <= EXACT_NONZERO:
        places = variance.nonzero().flatten()
        step, order = 1, places[magnitude_keys(variance[places], places, name).argsort(descending=True)]
    else:
        step, order = -(-n_nonzero // N_PARTS), variance.argsort(descending=True, stable=True)[:n_nonzero]
    n_steps = -(-len(order) // step)
    energies = np.zeros((n_steps + 1, len(vectors)))
    for k, vector in enumerate(vectors):
        squares = vector.new_zeros(n_steps * step, dtype=torch.float64)
        squares[: len(order)] = vector[order].double().square_()
        np.cumsum(squares.view(n_steps, step).sum(dim=1).cpu().numpy(), out=energies[1:, k])
    ranks = np.minimum(np.arange(n_steps + 1) * step, len(order))
    return (ranks, energies) if step == 1 else _spaced(ranks, energies)


def _energies_in_steps(variance: NDArray[np.float32], vectors: Sequence[NDArray[np.float32]]) -> Curve:
    """Ranks and energies where the upper bits of the variance change, which needs no sort and little memory."""
    counts, sums = np.zeros(N_STEPS, np.int64), np.zeros((N_STEPS, len(vectors)))
    for start in range(0, len(variance), STRETCH):
        part = slice(start, start + STRETCH)
        steps = (variance[part].view(np.uint32) >> LOW_BITS).astype(np.int64)
        counts += np.bincount(steps, minlength=N_STEPS)
        for k, vector in enumerate(vectors):
            sums[:, k] += np.bincount(steps, np.square(vector[part], dtype=np.float64), minlength=N_STEPS)
    ranks = np.concatenate([[0], np.cumsum(counts[:0:-1])])  # without the lowest step, which holds the zeros
    return _spaced(ranks, np.concatenate([np.zeros((1, len(vectors))), np.cumsum(sums[:0:-1], axis=0)]))


def _spaced(ranks: NDArray[np.int64], energies: NDArray[np.float64]) -> Curve:
    """Some of the ranks, evenly spaced, closer where few elements are kept, with the first and the last."""
    ranks, first = np.unique(ranks, return_index=True)
    even = ranks * N_QUANTILES // max(1, ranks[-1])
    close = np.floor(16 * np.log2(np.maximum(ranks, 1))).astype(np.int64)
    chosen = np.diff(even + close, append=-1) != 0
    chosen[0] = True
    return ranks[chosen], energies[first][chosen]
