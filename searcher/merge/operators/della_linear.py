"""DELLA without the vote: drop small task vector entries more often than large ones, add the rest up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from typing_extensions import override

from searcher.merge.operators.aggregation import summed
from searcher.merge.operators.base import OPERATORS, ExecutionClass, Operator, Setting, per_model
from searcher.merge.operators.delta_settings import (
    MaskSeed,
    MeanKeepProbability,
    Normalize,
    RankEpsilon,
    RescaleDropped,
    WhoseDefinition,
)
from searcher.merge.operators.rank_dropping import RankDropping

if TYPE_CHECKING:
    from searcher.merge.facts import TensorFacts
    from searcher.merge.plan import TensorPlan


@OPERATORS.register("della_linear")
@dataclass(frozen=True)
class DellaLinear(Operator):
    """``theta_0 + lambda * sum_k c_k drop(tau_k) / p_k``, dropping as in ``della``, without its sign vote.

    ``convention: mergekit`` also leaves the division out where normalised coefficients sum to zero; ``paper``
    fails with ``ZeroWeightSum``.
    """

    execution_class: ClassVar[ExecutionClass] = "E2"
    needs_base: ClassVar[bool] = True
    reference: ClassVar[str] = "Deep et al. 2024, DELLA-Merging, arXiv:2406.11617; mergekit della_linear"

    density: MeanKeepProbability = 1.0
    epsilon: RankEpsilon = 0.15
    lambda_: Annotated[float, Setting(0.5, 1.5, "scale of the summed task vectors", minimum=-10.0, maximum=10.0)] = 1.0
    normalize: Normalize = False
    rescale: RescaleDropped = True
    seed: MaskSeed = 0
    convention: WhoseDefinition = "paper"

    @override
    def plan(self, coefficients: tuple[float, ...], facts: TensorFacts) -> TensorPlan:
        densities = per_model(self.density, len(coefficients), "density")
        epsilons = per_model(self.epsilon, len(coefficients), "epsilon")
        sparse = RankDropping(densities, epsilons, self.seed, self.rescale).of(facts, self.convention)
        return summed(coefficients, sparse, self.convention, lambda_=self.lambda_, normalize=self.normalize)
