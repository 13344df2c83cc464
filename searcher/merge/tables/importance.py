"""Row factors and quantiles of the importance of a task vector's elements (arcee_fusion)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import override

from searcher.merge.tables.arrays import Arrays, Table, array_of
from searcher.merge.tables.sorting import sort

N_STEPS = 256  # a multiple of 4, so that the median and both quartiles are stored
STRETCH = 1 << 18  # elements converted to float64 at once


@dataclass(frozen=True, eq=False)
class ImportanceTable(Table):
    """Importance ``|tau| * var_row(tau) / 2`` of one task vector.

    mergekit's importance is ``|tau|`` times the Kullback-Leibler divergence of the softmax of a row from that of the
    base's row. For numbers of the size of weights this is half the variance of tau over the row, which float32
    arithmetic of the divergence loses to cancellation.

    Args:
        row_factor: Half the population variance of each row, float32, shape ``(R,)``.
        quantiles: Of the importance at 0, 1/256 ... 1, float64, shape ``(257,)``; zeros for an empty tensor.
    """

    kind: ClassVar[str] = "importance"
    version: ClassVar[int] = 1

    row_factor: NDArray[np.float32]
    quantiles: NDArray[np.float64]

    @classmethod
    def of(cls, values: torch.Tensor, row_length: int) -> Self:
        """The table of one task vector.

        Args:
            values: The flattened task vector, float32, shape ``(n,)``, finite.
            row_length: Length of its last axis; of the whole if it has fewer than two.
        """
        if values.numel() == 0:
            return cls(np.zeros(0, np.float32), np.zeros(N_STEPS + 1))
        rows = values.view(-1, row_length)
        factor = _half_variance(rows)
        importance = rows.abs().mul_(torch.from_numpy(factor).to(rows.device).unsqueeze(1))
        return cls(factor, _quantiles(sort(importance.view(-1))))

    def quantile(self, q: float) -> float:
        """The q-quantile of the importance, q in [0, 1]; exact at multiples of 1/256, else interpolated."""
        return float(np.interp(q * N_STEPS, np.arange(N_STEPS + 1), self.quantiles))

    def threshold(self, multiplier: float) -> float:
        """Median plus a multiple of the interquartile range; what is as important or more is kept."""
        return self.quantile(0.5) + multiplier * (self.quantile(0.75) - self.quantile(0.25))

    @override
    def to_arrays(self) -> Arrays:
        return {"row_factor": self.row_factor, "quantiles": self.quantiles}

    @classmethod
    @override
    def from_arrays(cls, arrays: Arrays) -> Self:
        quantiles = array_of(arrays, "quantiles", (np.float64,), (N_STEPS + 1,))
        return cls(array_of(arrays, "row_factor", (np.float32,)), quantiles)


def _half_variance(rows: torch.Tensor) -> NDArray[np.float32]:
    """Half the population variance of each row, in float64 and rounded once, shape ``(R,)``."""
    step = max(1, STRETCH // rows.shape[1])
    parts = [_variance(rows[start : start + step].double()) for start in range(0, len(rows), step)]
    return (np.concatenate(parts) / 2.0).astype(np.float32)


def _variance(rows: torch.Tensor) -> NDArray[np.float64]:
    """Population variance of each row, shape ``(R,)``."""
    if rows.device.type == "cpu":  # torch may divide a long row among its threads, which changes bits
        return rows.numpy().var(axis=1)  # type: ignore[no-any-return]
    return rows.var(dim=1, correction=0).cpu().numpy()


def _quantiles(ordered: torch.Tensor) -> NDArray[np.float64]:
    """Quantiles of sorted values at 0, 1/256 ... 1, linear between neighbours, as ``numpy.quantile``."""
    places = np.linspace(0.0, len(ordered) - 1.0, N_STEPS + 1)
    below = np.floor(places).astype(np.int64)
    pairs = np.stack([below, np.minimum(below + 1, len(ordered) - 1)])
    low, high = ordered[torch.from_numpy(pairs).to(ordered.device)].double().cpu().numpy()
    result: NDArray[np.float64] = low + (high - low) * (places - below)
    return result
