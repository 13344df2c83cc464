"""Drop entries of each task vector at random, by a hash of the seed, the tensor, the model and the index.

Masks do not depend on other models or settings, and what a small density keeps a larger one keeps too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from searcher.merge.counter_hash import bound
from searcher.merge.operators.sparsity import Convention, Sparsified, norm_matched
from searcher.merge.plan import Keep, KeepAll, KeepRandom

if TYPE_CHECKING:
    from searcher.merge.facts import TensorFacts


def dropped(
    facts: TensorFacts, densities: tuple[float, ...], convention: Convention, *, seed: int, rescale: bool
) -> Sparsified:
    """Every entry is kept with a probability of ``density`` (DARE).

    Args:
        facts: The tensor.
        densities: Probability per model; 0, and what rounds to 0 in 32 bits, leaves nothing.
        convention: How what is kept is rescaled: by ``1 / density`` (``paper``), which is right on average, or to
            the L1 norm of the task vector (``mergekit``), which reads the tensor.
        seed: Seed of the hash.
        rescale: Whether it is.
    """

    def keep(used: tuple[int, ...]) -> Keep:
        if all(densities[k] >= 1.0 for k in used):
            return KeepAll()
        return KeepRandom(np.array([bound(densities[k]) for k in used], np.int64), seed)

    sparse = Sparsified(keep, lambda k: float(bound(densities[k]) > 0))
    if not rescale:
        return sparse
    if convention == "mergekit":
        return norm_matched(sparse, facts)
    return Sparsified(keep, lambda k: sparse.factor(k) and 1.0 / densities[k])
