"""Where to look into the sorted magnitudes of a large tensor, so that any number kept can be interpolated.

Between two stored ranks that are d elements apart the number kept is off by some ``sqrt(d) / 2`` at random, however
well the distribution is known, and so it is for ties between two stored hashes; this decides how many are stored.
Linear and logarithmic interpolation are equally good within these errors (measured on Gaussian, Laplace, Student,
Cauchy and uniform values). Deltas of 16-bit weights have gaps between magnitudes, which are looked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

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
    from collections.abc import Iterator

Cuts: TypeAlias = tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.uint32]]

N_QUANTILES = 1024
TAIL = (1e-5, 1 / 16, 1.1)  # geometric spacing from this fraction to that, by this factor, at both ends
MAX_EXTRA = 4096  # points added where interpolation is wrong
MAX_KEYS = 1 << 22  # elements that are sorted together with their hashes, which takes 16 bytes each

# What the number kept may be off by, as fractions of the number of elements; the first three are standard deviations.
RANK_ERROR = 3.5e-5
TIE_ERROR = (1e-6, 2.5e-5)  # least and most, in between ...
TIE_ERROR_OF_RANK = 0.03  # ... this fraction of the number kept
TOLERANCE = 6e-5  # of interpolation between two magnitudes
TIES_UNEVEN = 0.03  # where more elements share a magnitude, unevenness of the hash would show


def sampled_cuts(values: torch.Tensor, name: str, n_quantiles: int) -> Cuts:
    """Ranks, magnitudes and last ties of a ``MagnitudeTable``, each of shape ``(m,)``.

    Args:
        values: Float32, shape ``(n,)``; at least two elements are not zero.
        name: Name of the tensor.
        n_quantiles: Number of evenly spaced quantiles, at least.
    """
    ordered = _Ordered.of(values, name)
    needed = ordered.n_nonzero / (2 * RANK_ERROR * ordered.size) ** 2
    magnitudes = ordered.at(_places(ordered.n_nonzero, max(n_quantiles, int(needed))))
    most = len(magnitudes) + MAX_EXTRA
    for _ in range(4):
        missing = _missing(ordered, magnitudes)
        magnitudes = np.unique(np.concatenate([magnitudes, missing[: most - len(magnitudes)]]))
        if not len(missing) or len(magnitudes) == most:
            break
    return _sorted_cuts([*_whole_cuts(ordered, magnitudes), *_split_cuts(ordered, magnitudes)])


@dataclass(frozen=True)
class _Ordered:
    """Magnitudes in ascending order, asked by rank: the k-th largest has rank k, from 1.

    Args:
        ascending: The magnitudes.
        keys: Their keys, which hold tie hashes, in this order; None in large tensors, of which only few are wanted.
        values: The tensor.
        name: Its name.
    """

    ascending: torch.Tensor
    keys: torch.Tensor | None
    values: torch.Tensor
    name: str

    @classmethod
    def of(cls, values: torch.Tensor, name: str) -> Self:
        if values.numel() > MAX_KEYS:
            return cls(sort(values.abs()), None, values, name)
        keys = sort(magnitude_keys(values, None, name))
        return cls(key_magnitudes(keys), keys, values, name)

    @property
    def size(self) -> int:
        return self.ascending.numel()

    @property
    def n_nonzero(self) -> int:
        return int(self.n_above(np.zeros(1, np.float32))[0])

    def at(self, ranks: NDArray[np.int64]) -> NDArray[np.float32]:
        """Distinct magnitudes at some ranks, ascending."""
        return np.unique(self.ascending[self._places(ranks)].cpu().numpy())

    def n_above(self, magnitudes: NDArray[np.float32]) -> NDArray[np.int64]:
        """How many elements are larger."""
        return self._count(magnitudes, right=True)

    def n_reaching(self, magnitudes: NDArray[np.float32]) -> NDArray[np.int64]:
        """How many elements are as large or larger."""
        return self._count(magnitudes, right=False)

    def last_ties(self, magnitude: np.float32, above: int, kept: NDArray[np.int64]) -> NDArray[np.uint32]:
        """Largest hashes of the elements at a magnitude if some numbers of them are kept.

        Args:
            magnitude: The magnitude.
            above: How many elements are larger.
            kept: From 1, shape ``(m,)``.
        """
        if self.keys is not None:
            hashes = key_hashes(self.keys[self._places(above + kept)])
        else:
            ties = sorted_tie_hashes(self.name, places_of(float(magnitude), self.values))
            hashes = ties[torch.from_numpy(kept - 1).to(ties.device)]
        return hashes.cpu().numpy().astype(np.uint32)

    def _places(self, ranks: NDArray[np.int64]) -> torch.Tensor:
        return torch.from_numpy(self.size - ranks).to(self.ascending.device)

    def _count(self, magnitudes: NDArray[np.float32], *, right: bool) -> NDArray[np.int64]:
        wanted = torch.from_numpy(magnitudes).to(self.ascending.device)
        below: NDArray[np.int64] = torch.searchsorted(self.ascending, wanted, right=right).cpu().numpy()
        return self.size - below


def _places(n: int, n_quantiles: int) -> NDArray[np.int64]:
    """Ranks in 1 ... n: evenly spaced, and geometrically towards both ends."""
    first, last, factor = TAIL
    tail = n * np.exp(np.arange(np.log(first), np.log(last), np.log(factor)))
    ranks = np.concatenate([np.linspace(1, n, n_quantiles + 1), tail, n + 1 - tail])
    return np.unique(np.clip(np.round(ranks), 1, n).astype(np.int64))


def _missing(ordered: _Ordered, magnitudes: NDArray[np.float32]) -> NDArray[np.float32]:
    """The magnitudes that interpolation between the stored ones misses most, at most one per gap.

    Args:
        ordered: The tensor.
        magnitudes: The stored ones, ascending, shape ``(m,)``.
    """
    ends = magnitudes[::-1].astype(np.float64)  # with the two below in the order of ranks
    reached, above = ordered.n_reaching(magnitudes)[::-1], ordered.n_above(magnitudes)[::-1]
    ranks = np.linspace(1, ordered.n_nonzero, max(10_000, 4 * len(magnitudes))).astype(np.int64)
    gap = np.searchsorted(reached, ranks)
    between = (gap > 0) & (ranks <= above[gap])
    ranks, gap = ranks[between], gap[between]
    share = (ranks - reached[gap - 1] + 0.5) / (reached[gap] - reached[gap - 1])
    guess = ends[gap - 1] + (ends[gap] - ends[gap - 1]) * share
    error = np.abs(ordered.n_reaching(guess.astype(np.float32)) - ranks)
    worst = np.argsort(-error, kind="stable")
    worst = worst[error[worst] > TOLERANCE * ordered.size]
    _, first = np.unique(gap[worst], return_index=True)
    return ordered.at(ranks[worst[np.sort(first)]])


def _whole_cuts(ordered: _Ordered, magnitudes: NDArray[np.float32]) -> Iterator[Cuts]:
    """At each magnitude a cut that keeps all its ties, and where these are many also a cut that keeps none."""
    above, n_ties, allowed = _ties(ordered, magnitudes)
    many = (n_ties > 1) & (n_ties > allowed)
    yield above + n_ties, magnitudes, np.full(len(magnitudes), ALL_TIES, np.uint32)
    yield above[many], magnitudes[many], np.zeros(np.count_nonzero(many), np.uint32)


def _split_cuts(ordered: _Ordered, magnitudes: NDArray[np.float32]) -> Iterator[Cuts]:
    """Cuts that keep parts of the ties at a magnitude, where their expected number is not precise enough."""
    above, n_ties, allowed = _ties(ordered, magnitudes)
    wanted = np.maximum(n_ties / (2 * allowed) ** 2, (n_ties / (TIES_UNEVEN * ordered.size)) ** 2)
    n_parts = np.minimum(n_ties, wanted).astype(np.int64)
    for j in np.flatnonzero((n_parts > 1) & (n_ties > allowed)):
        kept = np.arange(1, n_parts[j]) * n_ties[j] // n_parts[j]
        last_ties = ordered.last_ties(magnitudes[j], above[j], kept)
        yield above[j] + kept, np.repeat(magnitudes[j], len(kept)), last_ties


def _ties(
    ordered: _Ordered, magnitudes: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Elements above each magnitude, elements at it, and the error allowed in the number kept there."""
    above = ordered.n_above(magnitudes)
    n_ties = ordered.n_reaching(magnitudes) - above
    least, most = TIE_ERROR
    allowed = np.clip(TIE_ERROR_OF_RANK * (above + n_ties / 2), least * ordered.size, most * ordered.size)
    return above, n_ties, allowed


def _sorted_cuts(cuts: list[Cuts]) -> Cuts:
    """All cuts in the order of their ranks; where one shared magnitude follows another a rank occurs twice."""
    ranks, magnitudes, ties = (np.concatenate(parts) for parts in zip(*cuts, strict=True))
    order = np.lexsort((-magnitudes, ranks))
    return ranks[order], magnitudes[order], ties[order]
