"""A TensorPlan in plain torch operations: the definition that compiled backends must equal bit for bit.

``torch.sum`` and fused ``add(alpha=)`` are avoided: their rounding depends on where a vectorised loop ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from searcher.merge.counter_hash import TIES, counter_hash
from searcher.merge.plan import (
    Clip,
    KeepAll,
    KeepImportance,
    KeepMagnitude,
    KeepMask,
    KeepRandom,
    KeepRanked,
    KeepVariance,
    TensorPlan,
)

if TYPE_CHECKING:
    from searcher.merge.kernels.buffers import Buffers
    from searcher.merge.plan import Floats

CHUNK_ON_CPU = 1 << 15  # elements; float32 copies of a few sources stay in the cache, and torch starts no threads
CHUNK_ON_GPU = 1 << 24
SMALLEST_NORMAL = 2.0**-126  # of float32


def execute(plan: TensorPlan, buffers: Buffers, start: int, stop: int) -> None:
    """Merge elements ``start ... stop`` of a tensor into ``buffers.out``."""
    chunk = CHUNK_ON_CPU if buffers.out.device.type == "cpu" else CHUNK_ON_GPU
    while start < stop:
        row = start // buffers.row_length
        end = min(stop, start + chunk, (row + 1) * buffers.row_length)
        buffers.out[start:end] = Stretch(plan, buffers, row, start, end).merged()
        start = end


class Stretch:
    """What a plan makes of elements ``start ... stop``, all in one row; n is their number.

    Args:
        plan: What is merged.
        buffers: The tensor; nothing is written to it.
        row: The row that the elements are in.
        start: First element of the whole tensor.
        stop: Last element + 1.

    Attributes:
        base: The base's values, float32, shape (n,); None without a base.
    """

    def __init__(self, plan: TensorPlan, buffers: Buffers, row: int, start: int, stop: int) -> None:
        self._plan, self._buffers, self._row = plan, buffers, row
        self._start, self._stop = start, stop
        base = buffers.base
        self.base = None if base is None else base[start:stop].float()

    def merged(self) -> torch.Tensor:
        """Float32 result, shape ``(stop - start,)``."""
        plan, row = self._plan, self._row
        total = self._total() if plan.used else None
        origin = None if plan.origin is None or not plan.origin.any() else float(np.float32(plan.origin[row]))
        if total is not None and plan.factor[row] != 1.0:
            total = total * float(np.float32(plan.factor[row]))
        if origin is None:
            return self._zeros() if total is None else total
        assert self.base is not None  # a plan with an origin comes from an operator with a base
        shift = self.base if origin == 1.0 else self.base * origin
        return shift if total is None else total + shift

    def _zeros(self) -> torch.Tensor:
        return torch.zeros(self._stop - self._start, device=self._buffers.out.device)

    def _total(self) -> torch.Tensor:
        with np.errstate(over="ignore"):  # numbers beyond float32 become infinite, and so does the result
            scales = self._plan.scales[self._row].astype(np.float32).tolist()
        kept = self.kept()
        scaled = [m * c if c != 1.0 else m for m, c in zip(kept, scales, strict=True)]
        if self._plan.average == "sum":
            return sum_in_order(scaled)
        if self._plan.average == "unique":
            return self._unique(kept, scaled)
        votes = scaled if self._plan.vote == "weighted" else [m * np.sign(c) for m, c in zip(kept, scales, strict=True)]
        return self._agreeing(scaled, self.sign_of(sum_in_order(votes)))

    def sign_of(self, votes: torch.Tensor) -> torch.Tensor:
        """The elected sign, +1.0 or -1.0, float32, shape (n,); a sum of zeros is -0 only where nothing is merged.

        Args:
            votes: Sum of the votes, shape (n,).
        """
        if self._plan.zero_sign > 0:
            return votes.new_ones(()).copysign(votes)
        return torch.where(votes > 0.0, 1.0, -1.0)

    def _agreeing(self, scaled: list[torch.Tensor], sign: torch.Tensor) -> torch.Tensor:
        """Average of the terms that have the elected sign."""
        average = self._plan.average
        turned = [s * sign for s in scaled]
        agree = [t > 0.0 for t in turned]
        total = sum_in_order([torch.where(a, t, 0.0) for a, t in zip(agree, turned, strict=True)])
        if average == "agreeing_sum":
            return total * sign
        weights = np.ones(len(scaled)) if average == "agreeing_count" else self._plan.weights
        if average == "agreeing":
            weights = np.abs(weights)
        divisor = sum_in_order([torch.where(a, float(np.float32(w)), 0.0) for a, w in zip(agree, weights, strict=True)])
        return total / torch.where(divisor == 0.0, 1.0, divisor) * sign

    def _unique(self, kept: list[torch.Tensor], scaled: list[torch.Tensor]) -> torch.Tensor:
        active = [m != 0.0 for m in kept]
        number = sum_in_order([a.float() for a in active])
        alone = sum_in_order([s * float(np.float32(w)) for s, w in zip(scaled, self._plan.weights, strict=True)])
        return torch.where(number == 1.0, alone, sum_in_order(scaled) / number.clamp_min(1.0))

    def _values(self) -> list[torch.Tensor]:
        """``v_k`` of the models used."""
        found = []
        for stored, is_delta in zip(self._buffers.models, self._buffers.is_delta, strict=True):
            value = stored[self._start : self._stop].float()
            if self._plan.vectors == "deltas" and not is_delta:
                assert self.base is not None
                value = value - self.base
            elif self._plan.vectors == "weights" and is_delta:
                assert self.base is not None
                value = self.base + value
            found.append(value)
        return found

    def kept(self) -> list[torch.Tensor]:
        """``m_k`` of the models used, in their order: what is kept of each, float32, shape (n,)."""
        values, keep = self._values(), self._plan.keep
        if isinstance(keep, KeepAll):
            return values
        if isinstance(keep, KeepVariance):
            mask = self._varied(values, keep)
            return [torch.where(mask, v, 0.0) for v in values]
        if isinstance(keep, Clip):
            return [v.clamp(-float(limit), float(limit)) for v, limit in zip(values, keep.limit, strict=True)]
        return [self._kept_of_one(v, k) for k, v in enumerate(values)]

    def _kept_of_one(self, v: torch.Tensor, k: int) -> torch.Tensor:
        keep, row = self._plan.keep, self._row
        if isinstance(keep, KeepMask):
            return torch.where(keep.mask[k, self._start : self._stop], v, 0.0)
        if isinstance(keep, KeepMagnitude):
            return torch.where(self._between(v.abs(), keep, k), v, 0.0)
        if isinstance(keep, KeepRandom):
            return torch.where(self._hash(k, keep.seed) < int(keep.bounds[k]), v, 0.0)
        if isinstance(keep, KeepImportance):
            return torch.where(v.abs() * float(keep.row_factor[row, k]) >= float(keep.threshold[k]), v, 0.0)
        assert isinstance(keep, KeepRanked)
        return self._ranked(v, keep, k)

    def _between(self, magnitude: torch.Tensor, keep: KeepMagnitude, k: int) -> torch.Tensor:
        row = self._row
        low = _at(keep.low, row, k)
        mask = magnitude > low
        if keep.low_tie is not None:
            mask |= (magnitude == low) & (self._ties() <= int(keep.low_tie[row, k]))
        if keep.high is not None:
            high = _at(keep.high, row, k)
            below = magnitude < high
            if keep.high_tie is not None:
                below |= (magnitude == high) & (self._ties() > int(keep.high_tie[row, k]))
            mask &= below
        return mask

    def _ranked(self, v: torch.Tensor, keep: KeepRanked, k: int) -> torch.Tensor:
        rank = keep.ranks[k][self._start : self._stop].to(torch.float32) * float(np.float32(1.0 / 65535.0))
        probability = rank * float(keep.high[k] - keep.low[k]) + float(keep.low[k])
        uniform = (self._hash(k, keep.seed) >> 8).to(torch.float32) * 2.0**-24
        return torch.where(uniform < probability, v / probability if keep.rescale else v, 0.0)

    def _varied(self, values: list[torch.Tensor], keep: KeepVariance) -> torch.Tensor:
        n = torch.full_like(values[0], len(values))  # on CUDA a division by a number is a product with its inverse
        shifted = [v - values[0] for v in values]
        mean = sum_in_order(shifted) / n
        variance = sum_in_order([(e - mean) * (e - mean) for e in shifted]) / n
        mask = variance > keep.threshold
        if keep.tie is not None:
            mask |= (variance == keep.threshold) & (self._ties() <= keep.tie)
        return mask

    def _ties(self) -> torch.Tensor:
        return counter_hash(self._buffers.tensor, self._indices(), model=TIES[0], seed=TIES[1])

    def _hash(self, k: int, seed: int) -> torch.Tensor:
        return counter_hash(self._buffers.tensor, self._indices(), model=self._buffers.names[k], seed=seed)

    def _indices(self) -> torch.Tensor:
        return torch.arange(self._start, self._stop, device=self._buffers.out.device)


def _at(values: Floats, row: int, k: int) -> float:
    return float(values[row, k])


def sum_in_order(terms: list[torch.Tensor]) -> torch.Tensor:
    """Sum from the first term to the last: the order, and so the rounding, that compiled kernels must follow.

    Args:
        terms: At least one, of one shape.
    """
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
