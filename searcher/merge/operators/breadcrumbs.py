"""Model Breadcrumbs: remove outliers and small entries of each task vector, add the rest up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from searcher.merge.operators.aggregation import summed
from searcher.merge.operators.base import OPERATORS, ExecutionClass, Operator, per_model
from searcher.merge.operators.delta_settings import (
    BandFraction,
    Normalize,
    OutlierFraction,
    RescaleTrimmed,
    SumScale,
    WhoseDefinition,
)
from searcher.merge.operators.trimming import band

if TYPE_CHECKING:
    from searcher.merge.facts import TensorFacts
    from searcher.merge.plan import TensorPlan


@OPERATORS.register("breadcrumbs")
@dataclass(frozen=True)
class Breadcrumbs(Operator):
    """``theta_0 + lambda * sum_k c_k band(tau_k)``.

    Of each task vector, per tensor, the ``gamma * size`` entries of largest magnitude are removed, and then the
    smallest, so that ``density * size`` stay (nearest whole numbers, at least one; ties broken by a hash;
    thresholds from a table, exact up to 16384 elements, right to 1e-4 of the elements above). Where the two exceed the
    size, fewer outliers are removed. Gamma 0 is trimming by magnitude. The authors rank rows, not tensors.

    ``convention: mergekit`` is that of version 0.1.5: it rounds both numbers down, so that a tensor may keep nothing,
    and where normalised coefficients sum to zero leaves the division out instead of failing with
    ``ZeroWeightSum``. Older versions zero every tensor of fewer than ``1 / gamma`` elements.
    """

    execution_class: ClassVar[ExecutionClass] = "E1"
    needs_base: ClassVar[bool] = True
    reference: ClassVar[str] = "Davari and Belilovsky 2024, Model Breadcrumbs, arXiv:2312.06795; mergekit breadcrumbs"

    density: BandFraction = 1.0
    gamma: OutlierFraction = 0.01
    lambda_: SumScale = 1.0
    normalize: Normalize = False
    rescale: RescaleTrimmed = False
    convention: WhoseDefinition = "paper"

    @override
    def plan(self, coefficients: tuple[float, ...], facts: TensorFacts) -> TensorPlan:
        densities = per_model(self.density, len(coefficients), "density")
        gammas = per_model(self.gamma, len(coefficients), "gamma")
        sparse = band(facts, densities, gammas, self.convention, rescale=self.rescale)
        return summed(coefficients, sparse, self.convention, lambda_=self.lambda_, normalize=self.normalize)
