"""Base plus a scaled sum of task vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from typing_extensions import override

from searcher.merge.operators.aggregation import summed
from searcher.merge.operators.base import OPERATORS, Choice, ExecutionClass, Operator
from searcher.merge.operators.delta_settings import Normalize, SumScale
from searcher.merge.operators.sparsity import ALL_KEPT, Convention

if TYPE_CHECKING:
    from searcher.merge.facts import TensorFacts
    from searcher.merge.plan import TensorPlan


@OPERATORS.register("task_arithmetic")
@dataclass(frozen=True)
class TaskArithmetic(Operator):
    """``theta_0 + lambda * sum_k c_k tau_k`` with task vectors ``tau_k = theta_k - theta_0``.

    The defaults are mergekit's (lambda 1, not normalised); fusion_bench uses lambda 0.3. Negative coefficients
    subtract a task. ``normalize`` divides by ``sum_k c_k`` and fails with ``ZeroWeightSum`` where that is
    within 1e-8 of zero (``convention: mergekit`` leaves the division out then). Scalars are multiplied in float64 beforehand.
    """

    execution_class: ClassVar[ExecutionClass] = "L0"
    needs_base: ClassVar[bool] = True
    uniform: ClassVar[bool] = True
    reference: ClassVar[str] = "Ilharco et al. 2023, Editing models with task arithmetic, arXiv:2212.04089"

    lambda_: SumScale = 1.0
    normalize: Normalize = False
    convention: Annotated[Convention, Choice("what a sum of zero means")] = "paper"

    @override
    def plan(self, coefficients: tuple[float, ...], facts: TensorFacts) -> TensorPlan:
        return summed(coefficients, ALL_KEPT, self.convention, lambda_=self.lambda_, normalize=self.normalize)
