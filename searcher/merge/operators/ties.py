"""TIES: trim each task vector, elect a sign per entry, average those that agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from typing_extensions import override

from searcher.merge.operators.aggregation import elected
from searcher.merge.operators.base import OPERATORS, ExecutionClass, Operator, Setting, per_model
from searcher.merge.operators.delta_settings import (
    ElectedAverageScale,
    NormalizeAgreeing,
    RescaleTrimmed,
    SignVote,
    WhoseDefinition,
)
from searcher.merge.operators.trimming import largest

if TYPE_CHECKING:
    from searcher.merge.facts import TensorFacts
    from searcher.merge.plan import TensorPlan


@OPERATORS.register("ties")
@dataclass(frozen=True)
class Ties(Operator):
    """``theta_0 + lambda * (disjoint average of c_k * trimmed tau_k)``.

    1. Trim: of each task vector, per tensor, the ``density * size`` entries of largest magnitude stay (nearest
       whole number, at least one; ties broken by a hash). The threshold is from a table: exact up to 16,384 elements,
       right to 1e-4 of the elements above.
    2. Elect: an entry's sign is that of ``sum_k c_k tau_k`` over the trimmed vectors (``vote: weighted``) or of
       the sum without coefficients (``unweighted``); a zero sum elects plus.
    3. Merge: the ``c_k tau_k`` of the elected sign are summed and, if ``normalize``, divided by the sum of the
       coefficients that agree.

    Published conventions differ. ``convention: mergekit`` keeps ``int(density * size)`` entries (at least one, none
    at density 0) and divides by the signed sum of coefficients, which mixed signs can bring near zero (58-fold
    blow-up seen). ``paper`` reads a negative coefficient as a positive one of the negated task vector, so the
    divisor is a sum of ``|c_k|``. A coefficient of 0 leaves its model out, also of the vote. The authors
    themselves trim the whole model at once to 20 %, vote unweighted and divide by the number that agrees: with
    equal coefficients all of these agree but for the trimming.
    """

    execution_class: ClassVar[ExecutionClass] = "E1"
    needs_base: ClassVar[bool] = True
    reference: ClassVar[str] = "Yadav et al. 2023, TIES-Merging, arXiv:2306.01708; mergekit ties"

    density: Annotated[
        float | tuple[float, ...],
        Setting(0.05, 1.0, "fraction of each task vector that is kept", minimum=0.0, per_model=True),
    ] = 1.0
    lambda_: ElectedAverageScale = 1.0
    vote: SignVote = "weighted"
    normalize: NormalizeAgreeing = True
    rescale: RescaleTrimmed = False
    convention: WhoseDefinition = "paper"

    @override
    def plan(self, coefficients: tuple[float, ...], facts: TensorFacts) -> TensorPlan:
        densities = per_model(self.density, len(coefficients), "density")
        sparse = largest(facts, densities, self.convention, rescale=self.rescale)
        return elected(
            coefficients, sparse, self.convention, lambda_=self.lambda_, vote=self.vote, normalize=self.normalize
        )
