"""DARE: drop task vector entries at random, rescale the rest, add them up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from typing_extensions import override

from searcher.merge.operators.aggregation import summed
from searcher.merge.operators.base import OPERATORS, Choice, ExecutionClass, Operator, Setting, per_model
from searcher.merge.operators.dropping import dropped
from searcher.merge.operators.sparsity import Convention

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

    density: Annotated[
        float | tuple[float, ...],
        Setting(0.1, 1.0, "probability that an entry of a task vector is kept", minimum=0.0, per_model=True),
    ] = 1.0
    lambda_: Annotated[float, Setting(0.1, 1.5, "scale of the summed task vectors", minimum=-10.0, maximum=10.0)] = 1.0
    normalize: Annotated[bool, Choice("divide by the sum of the coefficients")] = False
    rescale: Annotated[bool, Choice("make up for what was dropped")] = True
    seed: Annotated[int, Choice("seed of the random masks")] = 0
    convention: Annotated[Convention, Choice("whose definition, see above")] = "paper"

    @override
    def plan(self, coefficients: tuple[float, ...], facts: TensorFacts) -> TensorPlan:
        densities = per_model(self.density, len(coefficients), "density")
        sparse = dropped(facts, densities, self.convention, seed=self.seed, rescale=self.rescale)
        return summed(coefficients, sparse, self.convention, lambda_=self.lambda_, normalize=self.normalize)
