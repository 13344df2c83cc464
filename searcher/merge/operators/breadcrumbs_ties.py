"""Model Breadcrumbs with TIES: remove outliers and small entries, elect signs, add what agrees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from typing_extensions import override

from searcher.merge.operators.aggregation import elected
from searcher.merge.operators.base import OPERATORS, Choice, ExecutionClass, Operator, Setting, per_model
from searcher.merge.operators.sparsity import Convention
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

    density: Annotated[
        float | tuple[float, ...],
        Setting(0.3, 0.99, "fraction of each task vector that is kept", minimum=0.0, maximum=1.0, per_model=True),
    ] = 1.0
    gamma: Annotated[
        float | tuple[float, ...],
        Setting(0.0, 0.05, "fraction of largest entries that is removed", maximum=1.0, per_model=True),
    ] = 0.01
    lambda_: Annotated[float, Setting(0.1, 1.5, "scale of the merged task vector", minimum=-10.0, maximum=10.0)] = 1.0
    vote: Annotated[Literal["weighted", "unweighted"], Choice("whether coefficients weigh the sign vote")] = "weighted"
    normalize: Annotated[bool, Choice("divide by the sum of the agreeing coefficients")] = False
    rescale: Annotated[bool, Choice("match the L1 norm before trimming; reads the tensor")] = False
    convention: Annotated[Convention, Choice("whose definition, see above")] = "paper"

    @override
    def plan(self, coefficients: tuple[float, ...], facts: TensorFacts) -> TensorPlan:
        densities = per_model(self.density, len(coefficients), "density")
        gammas = per_model(self.gamma, len(coefficients), "gamma")
        sparse = band(facts, densities, gammas, self.convention, rescale=self.rescale)
        return elected(
            coefficients, sparse, self.convention, lambda_=self.lambda_, vote=self.vote, normalize=self.normalize
        )
