"""DARE: drop task vector entries at random, rescale the rest, add them up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from searcher.merge.operators.aggregation import summed
from searcher.merge.operators.base import OPERATORS, ExecutionClass, Operator, per_model
from searcher.merge.operators.delta_settings import (
    KeepProbability,
    MaskSeed,
    Normalize,
    RescaleDropped,
    SumScale,
    WhoseDefinition,
)
from searcher.merge.operators.dropping import dropped

if TYPE_CHECKING:
    from searcher.merge.facts import TensorFacts
    from searcher.merge.plan import TensorPlan


@OPERATORS.register("dare_linear")
@dataclass(frozen=True)
class DareLinear(Operator):
    """``theta_0 + lambda * sum_k c_k drop(tau_k) / density_k``.

    Every entry of a task vector stays with probability ``density`` and is then divided by it (``rescale``), so that
    the merge is right on average; its relative error per entry is ``sqrt((1 - p) / p)``, 3 at density 0.1. Which
    entries stay is decided by a hash of the seed, the tensor, the model and the entry alone: candidates with equal
    seeds are comparable, and a larger density keeps all that a smaller one keeps. Density 0 leaves the base.

    ``convention: mergekit`` rescales each tensor to the L1 norm it had, by a factor that is far from ``1 / density``
    in small or heavy-tailed tensors (1.3 to 30 000 seen for 5), and where normalised coefficients sum to zero leaves
    the division out instead of failing with ``ZeroWeightSum``.
    """

    execution_class: ClassVar[ExecutionClass] = "E1"
    needs_base: ClassVar[bool] = True
    reference: ClassVar[str] = "Yu et al. 2024, Language models are Super Mario, arXiv:2311.03099; mergekit dare_linear"

    density: KeepProbability = 1.0
    lambda_: SumScale = 1.0
    normalize: Normalize = False
    rescale: RescaleDropped = True
    seed: MaskSeed = 0
    convention: WhoseDefinition = "paper"

    @property
    @override
    def shares_plan(self) -> bool:
        return not (self.rescale and self.convention == "mergekit")  # that one matches norms of tensors

    @override
    def plan(self, coefficients: tuple[float, ...], facts: TensorFacts) -> TensorPlan:
        densities = per_model(self.density, len(coefficients), "density")
        sparse = dropped(facts, densities, self.convention, seed=self.seed, rescale=self.rescale)
        return summed(coefficients, sparse, self.convention, lambda_=self.lambda_, normalize=self.normalize)
