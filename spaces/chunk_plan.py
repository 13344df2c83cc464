"""How many coefficients each layer gets: importance and allocation of Expert Merging++.

Reference: Expert Merging++ (arXiv 2509.25712, 2025), stage 2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from searcher.pool.layout import TensorEntry

ROUNDING = 1e-9  # quotas of equal layers are whole numbers but for rounding; a floor must not lose them


@dataclass(frozen=True)
class Unit:
    """A tensor or block that is cut into chunks.

    Args:
        name: Of the tensor or block.
        tensors: Those it consists of, in the order of the line.
    """

    name: str
    tensors: tuple[TensorEntry, ...]

    @cached_property
    def intervals(self) -> tuple[tuple[int, int], ...]:
        """What it covers of the parameter line: pairs ``(start, stop)``, as few as possible."""
        found: list[tuple[int, int]] = []
        for tensor in self.tensors:
            start = found.pop()[0] if found and found[-1][1] == tensor.offset else tensor.offset
            found.append((start, tensor.stop))
        return tuple(found)

    @property
    def size(self) -> int:
        """Number of elements."""
        return sum(tensor.size for tensor in self.tensors)

    def pieces(self, n_chunks: int) -> Iterator[tuple[int, int, int]]:
        """Chunks of equal size, to one element: ``(start, stop, chunk)``; one that spans a gap has several pieces."""
        cuts = [self.size * j // n_chunks for j in range(n_chunks + 1)]
        passed, chunk = 0, 0
        for start, stop in self.intervals:
            at = start
            while at < stop:
                while cuts[chunk + 1] <= passed:
                    chunk += 1
                end = min(stop, at + cuts[chunk + 1] - passed)
                yield at, end, chunk
                passed, at = passed + end - at, end


def importances(coefficients: NDArray[np.float64], norms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of each unit in what the merge adds: ``sum_k |alpha_k^l| * s_k^l * n_l``, normalised to sum 1.

    If nothing is added anywhere all units are as important.

    Args:
        coefficients: ``alpha``, shape ``(U, K)``.
        norms: ``s * n``, the sums of the magnitudes of each task vector, shape ``(U, K)``.

    Returns:
        Shape ``(U,)``.
    """
    raw = (np.abs(coefficients) * norms).sum(axis=1)
    total = raw.sum()
    equal = np.full(len(raw), 1.0 / len(raw))
    return raw / total if total > 0.0 else equal


def allocate(
    importance: NDArray[np.float64],
    sizes: Sequence[int],
    n_chunks: int,
    *,
    kappa: float = 1.0,
    with_rest: bool = False,
    remainder: bool = False,
) -> NDArray[np.int64]:
    """Chunks per unit, ``m_l = floor(B * I_l^kappa / sum_j I_j^kappa)``, at most one per element.

    Args:
        importance: Of each unit, shape ``(U,)``.
        sizes: Number of elements of each unit.
        n_chunks: The budget B.
        kappa: Exponent; 0 treats all alike, a large one favours the most important.
        with_rest: Units without a chunk share one group, which counts as a chunk. Where the floors use up the whole
            budget the formula is applied to B - 1.
        remainder: Hand out what the floors leave, one each, by largest fraction.

    Returns:
        Shape ``(U,)``; their sum, with the rest, is at most B.
    """
    quotas = n_chunks * _shares(importance, kappa)
    found = _floors(quotas, sizes)
    if _n_groups(found, with_rest=with_rest) > n_chunks:
        quotas = (n_chunks - 1) * _shares(importance, kappa)
        found = _floors(quotas, sizes)
    if remainder:
        for unit in np.argsort(-(quotas - np.floor(quotas + ROUNDING)), kind="stable"):
            more = found.copy()
            more[unit] += 1
            if more[unit] <= sizes[unit] and _n_groups(more, with_rest=with_rest) <= n_chunks:
                found = more
    return found


def _shares(importance: NDArray[np.float64], kappa: float) -> NDArray[np.float64]:
    powers = (importance / importance.max()) ** kappa  # the largest is 1: a large kappa loses only the small
    result: NDArray[np.float64] = powers / powers.sum()
    return result


def _floors(quotas: NDArray[np.float64], sizes: Sequence[int]) -> NDArray[np.int64]:
    result: NDArray[np.int64] = np.minimum(np.floor(quotas + ROUNDING), np.asarray(sizes)).astype(np.int64)
    return result


def _n_groups(chunks: NDArray[np.int64], *, with_rest: bool) -> int:
    return int(chunks.sum()) + int(with_rest and bool(np.any(chunks == 0)))
