"""Drop entries of each task vector at random, small magnitudes more often than large ones.

Masks come from a hash of the seed, the tensor, the model and the index, as for entries that are dropped evenly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from searcher.errors import CandidateError
from searcher.merge.counter_hash import counter_hash
from searcher.merge.operators.sparsity import Convention, Sparsified, norm_matched
from searcher.merge.plan import Keep, KeepAll, KeepMask, KeepRanked

if TYPE_CHECKING:
    import torch

    from searcher.merge.facts import TensorFacts

LARGEST_SHARE = 0.95
"""Of the distance of a density to 0 or 1, what a rank may add or take away at most."""
SMALLEST_DENSITY = 2.0**-20  # 24 bits decide what is kept; less would mean few entries of enormous scale
STRETCH = 1 << 20  # elements hashed at once, to bound the memory of 64-bit intermediates


@dataclass(frozen=True)
class RankDropping:
    """How likely entries are kept, given the rank of their magnitude in their row (DELLA).

    The probability rises linearly from ``density - epsilon`` to ``density + epsilon``. A density of 1 keeps all, 0
    nothing.

    Args:
        densities: Mean probability per model.
        epsilons: Half the range of the probability, per model.
        seed: Seed of the hash.
        rescale: Whether what is kept is rescaled.
    """

    densities: tuple[float, ...]
    epsilons: tuple[float, ...]
    seed: int
    rescale: bool

    def of(self, facts: TensorFacts, convention: Convention) -> Sparsified:
        """What is kept of a tensor.

        ``paper``: rows are along the last axis, what is kept is divided by its own probability, an epsilon is at
        most 0.95 times the distance of the density to 0 or 1, and a density below a millionth is 0. ``mergekit``:
        rows are along the second axis, what is kept is rescaled to the L1 norm of the task vector, and an epsilon
        that reaches 0 or 1 is an error; reads the tensor.

        Raises:
            CandidateError: ``EpsilonOutOfRange``, see above; when the result is used.
        """
        if convention == "paper":
            return Sparsified(
                lambda used: self._ranked(facts, used), lambda k: float(self.densities[k] >= SMALLEST_DENSITY)
            )
        mask = cache(lambda k: self._mask(facts, k))  # for the norm and for the merge
        sparse = Sparsified(
            lambda used: self._masked([mask(k) for k in used]), lambda k: float(self.densities[k] > 0.0)
        )
        return norm_matched(sparse, facts) if self.rescale else sparse

    def probabilities(self, k: int) -> tuple[float, float]:
        """Probability of the smallest and the largest magnitude of a row in the ``paper`` convention."""
        density = self.densities[k]
        reach = min(self.epsilons[k], LARGEST_SHARE * min(density, 1.0 - density))
        return density - reach, density + reach

    def _ranked(self, facts: TensorFacts, used: tuple[int, ...]) -> Keep:
        if all(self.densities[k] >= 1.0 for k in used):
            return KeepAll()
        low, high = np.array([self.probabilities(k) for k in used], np.float32).T.copy()
        return KeepRanked(low, high, tuple(facts.ranks(k) for k in used), self.seed, self.rescale)

    def _masked(self, masks: list[torch.Tensor | None]) -> Keep:
        """From one mask per model; None keeps all."""
        import torch

        found = next((mask for mask in masks if mask is not None), None)
        if found is None:
            return KeepAll()
        return KeepMask(torch.stack([torch.ones_like(found) if mask is None else mask for mask in masks]))

    def _mask(self, facts: TensorFacts, k: int) -> torch.Tensor | None:
        """Bool, shape ``(size,)``."""
        density, epsilon = self.densities[k], self.epsilons[k]
        if density >= 1.0:
            return None
        if density + epsilon >= 1.0 or density - epsilon <= 0.0:
            raise CandidateError(
                "EpsilonOutOfRange",
                f"Density {density} plus and minus epsilon {epsilon} must lie between 0 and 1 (mergekit's convention).",
            )
        probability = (density - epsilon) + _relative_ranks(facts, k) * 2.0 * epsilon
        return _hashed_below(probability, facts, k, self.seed)


def _relative_ranks(facts: TensorFacts, k: int) -> torch.Tensor:
    """Rank of each magnitude along the second axis, from 0 to 1; float32, shape ``(size,)``.

    Equal magnitudes are ranked by index. In a row of one entry mergekit divides 0 by 0 and stops; here its rank is
    0.5, so that its probability is the density.
    """
    shape = facts.shape if len(facts.shape) > 1 else (1, facts.size)
    magnitudes = facts.task_vector(k).abs().view(shape)
    ranks = magnitudes.argsort(dim=1, stable=True).argsort(dim=1).float()
    return (ranks / (shape[1] - 1) if shape[1] > 1 else ranks + 0.5).view(-1)


def _hashed_below(probability: torch.Tensor, facts: TensorFacts, k: int, seed: int) -> torch.Tensor:
    """Where the hash of an entry is below its probability; bool, shape ``(size,)``."""
    import torch

    mask = torch.empty(facts.size, dtype=torch.bool, device=probability.device)
    for start in range(0, facts.size, STRETCH):
        part = probability[start : start + STRETCH].double()
        indices = torch.arange(start, start + part.numel(), device=part.device)
        words = counter_hash(facts.name, indices, model=facts.models[k], seed=seed)
        mask[start : start + STRETCH] = words < (part * 2.0**32).round()
    return mask
