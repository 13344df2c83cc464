"""DARE with TIES: drop task vector entries at random, rescale the rest, elect signs, add what agrees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from searcher.merge.operators.aggregation import elected
from searcher.merge.operators.base import OPERATORS, ExecutionClass, Operator, per_model
from searcher.merge.operators.delta_settings import (
    ElectedSumScale,
    KeepProbability,
    MaskSeed,
    NormalizeAgreeing,
    RescaleDropped,
    SignVote,
    WhoseDefinition,
)
from searcher.merge.operators.dropping import dropped

if TYPE_CHECKING:
    from searcher.merge.facts import TensorFacts
    from searcher.merge.plan import TensorPlan


@OPERATORS.register("dare_ties")
@dataclass(frozen=True)
class DareTies(Operator):
    """``theta_0 + lambda * (sign-elected sum of c_k drop(tau_k) / density_k)``.

    Dropping is that of ``dare_linear``, voting and averaging are those of ``ties``, also in what the conventions
    mean; the default sums what agrees and does not average it, as in mergekit. With density 1 this is TIES
    without trimming. An unweighted vote counts entries before they are rescaled.
    """

    execution_class: ClassVar[ExecutionClass] = "E1"
    needs_base: ClassVar[bool] = True
    reference: ClassVar[str] = "Yu et al. 2024, Language models are Super Mario, arXiv:2311.03099; mergekit dare_ties"

    density: KeepProbability = 1.0
    lambda_: ElectedSumScale = 1.0
    vote: SignVote = "weighted"
    normalize: NormalizeAgreeing = False
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
        return elected(
            coefficients, sparse, self.convention, lambda_=self.lambda_, vote=self.vote, normalize=self.normalize
        )
