"""Table Q: order statistics of the magnitudes of a tensor, from which any trimming threshold is read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.merge.tables.arrays import Arrays, Table, array_of
from searcher.merge.tables.quantiles import N_QUANTILES, sampled_cuts
from searcher.merge.tables.sorting import (
    ALL_TIES,
    key_hashes,
    key_magnitudes,
    magnitude_keys,
    places_of,
    sort,
    sorted_tie_hashes,
)

if TYPE_CHECKING:
    import torch

EXACT_TENSOR = 16384  # in tensors up to this size every element that is not zero is stored
EXACT_NONZERO = 4096  # and in larger ones if no more than this are not zero


@dataclass(frozen=True)
class Cut:
    """Which elements of one tensor are kept (or, at an upper cut, removed): its largest magnitudes.

    Args:
        low: Magnitudes above it are kept; a float32.
        last_tie: Magnitudes equal to ``low`` are kept if their tie hash is at most this, in 0 ... 2^32 - 1.
    """

    low: float
    last_tie: int = ALL_TIES


EVERYTHING = Cut(0.0)
NOTHING = Cut(math.inf, 0)


@dataclass(frozen=True, eq=False)
class MagnitudeTable(Table):
    """Cuts that keep given numbers of the largest magnitudes of a tensor.

    Elements are ordered by magnitude and, among equals, by their tie hash. The table holds the cuts at some places
    of this order: at all of them in small tensors, else at quantiles that are dense in both tails, at both ends
    of every magnitude that many elements share (deltas of 16-bit weights do), at some hashes in between, and
    wherever interpolation was found wrong when the table was made.

    Args:
        ranks: Number of elements kept by each stored cut, int64, shape ``(m,)``, ascending. Where one
            shared magnitude follows another a rank occurs twice.
        magnitudes: ``Cut.low`` of each, float32, shape ``(m,)``, positive, descending.
        last_ties: ``Cut.last_tie`` of each, uint32, shape ``(m,)``.
    """

    kind: ClassVar[str] = "magnitudes"
    version: ClassVar[int] = 1

    ranks: NDArray[np.int64]
    magnitudes: NDArray[np.float32]
    last_ties: NDArray[np.uint32]

    @classmethod
    def of(cls, values: torch.Tensor, name: str, *, n_quantiles: int = N_QUANTILES) -> Self:
        """The table of a whole tensor; costs a sort.

        Args:
            values: Float32, shape ``(n,)``, finite.
            name: Name of the tensor, from which tie hashes are made.
            n_quantiles: Number of evenly spaced quantiles of a large tensor, at least.
        """
        if values.numel() > EXACT_TENSOR and int(values.count_nonzero()) > EXACT_NONZERO:
            return cls(*sampled_cuts(values, name, n_quantiles))
        places = values.nonzero().flatten()
        keys = sort(magnitude_keys(values[places], places, name)).flip(0).cpu()
        ties = key_hashes(keys).numpy().astype(np.uint32)
        return cls(np.arange(1, len(places) + 1), key_magnitudes(keys).numpy(), ties)

    @property
    def n_nonzero(self) -> int:
        """Number of elements that are not zero."""
        return int(self.ranks[-1]) if len(self.ranks) else 0

    def cut(self, k: int) -> Cut:
        """The cut that keeps the ``k`` largest magnitudes.

        Exact in tensors of up to 16384 elements; in larger ones the number kept is right to 1e-4 of the elements
        and typically to 2e-5. A larger ``k`` keeps all that a smaller one keeps, in ties too. Zeros are all kept as
        soon as one of them is, which changes nothing.

        Args:
            k: From 0; more than the tensor has elements means all.
        """
        if k <= 0:
            return NOTHING
        j = int(self.ranks.searchsorted(k))
        if j == len(self.ranks):
            return EVERYTHING
        rank, tie = int(self.ranks[j]), int(self.last_ties[j])
        if rank == k or j == 0:
            return Cut(float(self.magnitudes[j]), tie)
        before = int(self.ranks[j - 1])
        high, low = float(self.magnitudes[j - 1]), float(self.magnitudes[j])
        threshold = _between(high, low, (k - before + 0.5) / (rank - before))
        if threshold is not None:
            return Cut(threshold)
        first = int(self.last_ties[j - 1]) if high == low else -1
        return Cut(low, first + (tie - first) * (k - before) // (rank - before))

    @override
    def to_arrays(self) -> Arrays:
        ranks = self.ranks.astype(np.uint32) if self.n_nonzero < 1 << 32 else self.ranks
        return {"ranks": ranks, "magnitudes": self.magnitudes, "last_ties": self.last_ties}

    @classmethod
    @override
    def from_arrays(cls, arrays: Arrays) -> Self:
        ranks = array_of(arrays, "ranks", (np.uint32, np.int64)).astype(np.int64)
        magnitudes = array_of(arrays, "magnitudes", (np.float32,), ranks.shape)
        ties = array_of(arrays, "last_ties", (np.uint32,), ranks.shape)
        if np.any(np.diff(ranks) < 0) or np.any(np.diff(magnitudes) > 0):
            raise ValueError("Expected ascending ranks and descending magnitudes.")
        return cls(ranks, magnitudes, ties)


def _between(high: float, low: float, share: float) -> float | None:
    """The float32 strictly between two others that is nearest to a share of the way down, or None if none is."""
    wanted = float(np.float32(high + (low - high) * share))
    if low < wanted < high:
        return wanted
    lowest, highest = np.nextafter(np.array([low, high], np.float32), np.array([high, low], np.float32)).tolist()
    return min(max(wanted, lowest), highest) if low < highest else None


def exact_cut(values: torch.Tensor, k: int, name: str) -> Cut:
    """The cut that keeps exactly the ``k`` largest magnitudes of a tensor of any size; costs a few passes.

    Args:
        values: The whole tensor, float32, shape ``(n,)``, finite.
        k: Number kept, in 0 ... n; zeros are all kept as soon as one of them is.
        name: Name of the tensor.
    """
    if k <= 0 or k >= values.numel():
        return NOTHING if k <= 0 else EVERYTHING
    magnitudes = values.abs()
    low = _kth_largest(magnitudes, k)
    if low == 0.0:
        return EVERYTHING
    n_ties_kept = k - int((magnitudes > low).count_nonzero())
    hashes = sorted_tie_hashes(name, places_of(low, magnitudes))
    return Cut(low, int(hashes[n_ties_kept - 1]) if n_ties_kept < len(hashes) else ALL_TIES)


def _kth_largest(values: torch.Tensor, k: int) -> float:
    if values.device.type == "cpu":  # torch needs three times as long
        place = values.numel() - k
        return float(np.partition(values.numpy(), place)[place])
    return float(values.kthvalue(values.numel() - k + 1).values)
