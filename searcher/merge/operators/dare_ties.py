"""DARE with TIES: drop task vector entries at random, rescale the rest, elect signs, add what agrees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from typing_extensions import override

from searcher.merge.operators.aggregation import elected
from searcher.merge.operators.base import OPERATORS, Choice, ExecutionClass, Operator, Setting, per_model
from searcher.merge.operators.dropping import dropped
from searcher.merge.operators.sparsity import Convention

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

    density: Annotated[
        float | tuple[float, ...],
        Setting(0.1, 1.0, "probability that an entry of a task vector is kept", minimum=0.0, per_model=True),
    ] = 1.0
    lambda_: Annotated[float, Setting(0.1, 1.5, "scale of the merged task vector", minimum=-10.0, maximum=10.0)] = 1.0
    vote: Annotated[Literal["weighted", "unweighted"], Choice("whether coefficients weigh the sign vote")] = "weighted"
    normalize: Annotated[bool, Choice("divide by the sum of the agreeing coefficients")] = False
    rescale: Annotated[bool, Choice("make up for what was dropped")] = True
    seed: Annotated[int, Choice("seed of the random masks")] = 0
    convention: Annotated[Convention, Choice("whose definition, see above")] = "paper"

    @override
    def plan(self, coefficients: tuple[float, ...], facts: TensorFacts) -> TensorPlan:
        densities = per_model(self.density, len(coefficients), "density")
        sparse = dropped(facts, densities, self.convention, seed=self.seed, rescale=self.rescale)
        return elected(
            coefficients, sparse, self.convention, lambda_=self.lambda_, vote=self.vote, normalize=self.normalize
        )
