"""Mean magnitudes of the task vectors of one tensor, the measured part of a layer's importance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.merge.tables.arrays import Arrays, Table, array_of

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class MeanMagnitudes(Table):
    """Mean magnitude of each of K vectors.

    Args:
        values: Float64, shape ``(K,)``; zeros for an empty tensor.
    """

    kind: ClassVar[str] = "mean_magnitudes"
    version: ClassVar[int] = 1

    values: NDArray[np.float64]

    @classmethod
    def of(cls, vectors: Sequence[torch.Tensor], *, centred: bool = False) -> Self:
        """The table of one tensor; sums are float64.

        Args:
            vectors: Float32, shape ``(n,)`` each.
            centred: Of their deviations from their mean instead.
        """
        import torch

        n = max(vectors[0].numel(), 1)
        mean = torch.stack(list(vectors)).mean(dim=0) if centred else None
        parts = (vector if mean is None else vector - mean for vector in vectors)
        return cls(np.array([float(part.abs().sum(dtype=torch.float64)) / n for part in parts]))

    @override
    def to_arrays(self) -> Arrays:
        return {"values": self.values}

    @classmethod
    @override
    def from_arrays(cls, arrays: Arrays) -> Self:
        return cls(array_of(arrays, "values", (np.float64,)))
