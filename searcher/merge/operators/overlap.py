"""How many entries a model changes alone, and how many together with others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from searcher.merge.facts import TensorFacts

N_REMEMBERED = 4  # epsilons per tensor; a search over epsilon must not fill the memory


@dataclass(frozen=True, eq=False)
class Overlap:
    """Numbers of active entries of each model in one tensor.

    Args:
        unique: Entries that are active in this model only, int64, shape (K,).
        shared: Entries that are active in others too, int64, shape (K,).
    """

    unique: NDArray[np.int64]
    shared: NDArray[np.int64]

    @classmethod
    def of(cls, active: Sequence[torch.Tensor]) -> Self:
        """From one mask per model; bool, shape ``(n,)``, at least one."""
        count = active[0].short()
        for mask in active[1:]:
            count = count + mask
        alone = count == 1
        unique = np.array([int((mask & alone).sum()) for mask in active], np.int64)
        return cls(unique, np.array([int(mask.sum()) for mask in active], np.int64) - unique)


def overlap(facts: TensorFacts, epsilon: float) -> Overlap:
    """The counts for ``|tau| > epsilon``; reads the tensor, once for a few epsilons in a row."""
    known: dict[float, Overlap] = facts.tables.get("overlap", facts.models, facts.name, dict)
    found = known.get(epsilon)
    if found is None:
        limit = float(np.float32(epsilon))  # as the merge compares
        found = Overlap.of([facts.task_vector(k).abs() > limit for k in range(len(facts.models))])
        if len(known) >= N_REMEMBERED:
            known.clear()
        known[epsilon] = found
    return found
