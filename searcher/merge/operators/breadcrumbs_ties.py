"""Model Breadcrumbs with TIES: remove outliers and small entries, elect signs, add what agrees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from searcher.merge.operators.aggregation import elected
from searcher.merge.operators.base import OPERATORS, ExecutionClass, Operator, per_model
from searcher.merge.operators.delta_settings import (
    BandFraction,
    ElectedSumScale,
    NormalizeAgreeing,
    OutlierFraction,
    RescaleTrimmed,
    SignVote,
    WhoseDefinition,
)
from searcher.merge.operators.trimming import band

if TYPE_CHECKING:
    from searcher.merge.facts import TensorFacts
    from searcher.merge.plan import TensorPlan


@OPERATORS.register("breadcrumbs_ties")
@dataclass(frozen=True)
class BreadcrumbsTies(Operator):
    """``theta_0 + lambda * (sign-elected sum of c_k band(tau_k))``.

    What is kept is that of ``breadcrumbs``; voting and averaging are those of ``ties``, also in what the
    conventions mean. The default sums what agrees and does not average it, as in mergekit.
    """

    execution_class: ClassVar[ExecutionClass] = "E1"
    needs_base: ClassVar[bool] = True
    reference: ClassVar[str] = (
        "Davari and Belilovsky 2024, Model Breadcrumbs, arXiv:2312.06795; mergekit breadcrumbs_ties"
    )

    density: BandFraction = 1.0
    gamma: OutlierFraction = 0.01
    lambda_: ElectedSumScale = 1.0
    vote: SignVote = "weighted"
    normalize: NormalizeAgreeing = False
    rescale: RescaleTrimmed = False
    convention: WhoseDefinition = "paper"

    @override
    def plan(self, coefficients: tuple[float, ...], facts: TensorFacts) -> TensorPlan:
        densities = per_model(self.density, len(coefficients), "density")
        gammas = per_model(self.gamma, len(coefficients), "gamma")
        sparse = band(facts, densities, gammas, self.convention, rescale=self.rescale)
        return elected(
            coefficients, sparse, self.convention, lambda_=self.lambda_, vote=self.vote, normalize=self.normalize
        )
