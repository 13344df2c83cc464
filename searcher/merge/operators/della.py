"""DELLA: drop small task vector entries more often than large ones, elect signs, average what agrees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from typing_extensions import override

from searcher.merge.operators.aggregation import elected
from searcher.merge.operators.base import OPERATORS, ExecutionClass, Operator, Setting, per_model
from searcher.merge.operators.delta_settings import (
    MaskSeed,
    MeanKeepProbability,
    NormalizeAgreeing,
    RankEpsilon,
    RescaleDropped,
    SignVote,
    WhoseDefinition,
)
from searcher.merge.operators.rank_dropping import RankDropping

if TYPE_CHECKING:
    from searcher.merge.facts import TensorFacts
    from searcher.merge.plan import TensorPlan


@OPERATORS.register("della")
@dataclass(frozen=True)
class Della(Operator):
    """``theta_0 + lambda * (sign-elected average of c_k drop(tau_k) / p_k)``.

    1. Drop: an entry stays with a probability ``p`` that rises with the rank of its magnitude in its row (last
       axis; a vector is one row), from ``density - epsilon`` to ``density + epsilon``, decided by a hash as in
       ``dare_linear``. What stays is divided by its own probability (``rescale``).
    2. Elect and average, as ``ties`` does; an unweighted vote, too, is of rescaled entries.

    Probabilities must lie inside (0, 1): an epsilon above 0.95 times the distance of the density to 0 or 1 counts as
    that. Density 1 keeps all and density 0 leaves the base. With epsilon 0 this is ``dare_ties``.

    ``convention: mergekit`` instead fails with ``EpsilonOutOfRange`` (density 0.9 with the default epsilon does),
    rescales each tensor to the L1 norm it had, by one factor, and ranks along the second axis, which differs in
    tensors of three and more axes. It reads the tensor while
    planning. Its divisor is the signed sum of coefficients, see ``ties``.
    """

    execution_class: ClassVar[ExecutionClass] = "E2"
    needs_base: ClassVar[bool] = True
    reference: ClassVar[str] = "Deep et al. 2024, DELLA-Merging, arXiv:2406.11617; mergekit della"

    density: MeanKeepProbability = 1.0
    epsilon: RankEpsilon = 0.15
    lambda_: Annotated[float, Setting(0.5, 1.5, "scale of the merged task vector", minimum=-10.0, maximum=10.0)] = 1.0
    vote: SignVote = "weighted"
    normalize: NormalizeAgreeing = True
    rescale: RescaleDropped = True
    seed: MaskSeed = 0
    convention: WhoseDefinition = "paper"

    @override
    def plan(self, coefficients: tuple[float, ...], facts: TensorFacts) -> TensorPlan:
        densities = per_model(self.density, len(coefficients), "density")
        epsilons = per_model(self.epsilon, len(coefficients), "epsilon")
        sparse = RankDropping(densities, epsilons, self.seed, self.rescale).of(facts, self.convention)
        return elected(
            coefficients, sparse, self.convention, lambda_=self.lambda_, vote=self.vote, normalize=self.normalize
        )
