"""What sparsification makes of each task vector, between the two steps of an operator: drop, then combine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from searcher.merge.plan import KEEP_ALL, Keep, KeepAll, TensorPlan

if TYPE_CHECKING:
    from searcher.merge.facts import TensorFacts

Convention: TypeAlias = Literal["paper", "mergekit"]

SMALLEST_NORM = 1e-7  # mergekit's; a smaller sum of magnitudes is not matched


@dataclass(frozen=True, eq=False)
class Sparsified:
    """What is kept of every task vector, and by how much that is multiplied.

    Args:
        keep: From the indices of some models to what is kept of these.
        factor: From the index of a model to the factor of what is kept of it; 0 if nothing is.
    """

    keep: Callable[[tuple[int, ...]], Keep]
    factor: Callable[[int], float]


ALL_KEPT = Sparsified(lambda used: KEEP_ALL, lambda k: 1.0)
"""Whole task vectors, as they are."""


def norm_matched(sparse: Sparsified, facts: TensorFacts) -> Sparsified:
    """The same, with each model's factor such that the sum of magnitudes (L1 norm) is that before dropping.

    Reads the tensor. The ratio is wild where a few entries hold most of the norm: on a heavy-tailed tensor of 50
    entries it was between 1.3 and 30 000 when a fifth was kept. Norms below 1e-7 are not matched.
    """

    def factor(k: int) -> float:
        unmatched = sparse.factor(k)
        if unmatched == 0.0 or isinstance(keep := sparse.keep((k,)), KeepAll):
            return unmatched
        return _norm_ratio(keep, facts, k)

    return replace(sparse, factor=factor)


def _norm_ratio(keep: Keep, facts: TensorFacts, k: int) -> float:
    """L1 norm of a task vector over that of what is kept of it."""
    import torch

    from searcher.merge.merge_tensor import run

    before = facts.task_vector(k)
    kept = torch.empty_like(before)
    ones = np.ones((1, 1))
    run(TensorPlan("deltas", (k,), ones, None, ones[0], keep), facts, kept)
    # float64, so that the ratio does not depend on the number of threads
    norms = [float(values.abs().sum(dtype=torch.float64)) for values in (before, kept)]
    return norms[0] / norms[1] if min(norms) >= SMALLEST_NORM else 1.0
