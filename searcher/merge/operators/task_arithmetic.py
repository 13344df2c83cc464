"""Base plus a scaled sum of task vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from typing_extensions import override

from searcher.merge.operators.base import OPERATORS, Choice, ExecutionClass, Operator, Setting
from searcher.merge.operators.normalization import SMALLEST_SUM, normalized
from searcher.merge.plan import TensorPlan, plan_of

if TYPE_CHECKING:
    from searcher.merge.facts import TensorFacts


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

    lambda_: Annotated[float, Setting(0.1, 1.5, "scale of the summed task vectors", minimum=-10.0, maximum=10.0)] = 1.0
    normalize: Annotated[bool, Choice("divide by the sum of the coefficients")] = False
    convention: Annotated[Literal["paper", "mergekit"], Choice("what a sum of zero means")] = "paper"

    @override
    def plan(self, coefficients: tuple[float, ...], facts: TensorFacts) -> TensorPlan:
        vanishes = self.convention == "mergekit" and abs(sum(coefficients)) < SMALLEST_SUM
        scales = normalized(coefficients) if self.normalize and not vanishes else coefficients
        return plan_of("deltas", self.lambda_ * np.array(scales), origin=1.0)
