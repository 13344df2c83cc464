"""Weighted average of the weights (model soup)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from typing_extensions import override

from searcher.merge.operators.base import OPERATORS, ExecutionClass, Operator
from searcher.merge.operators.delta_settings import Normalize
from searcher.merge.operators.normalization import normalized
from searcher.merge.plan import TensorPlan, plan_of

if TYPE_CHECKING:
    from searcher.merge.facts import TensorFacts


@OPERATORS.register("linear")
@dataclass(frozen=True)
class Linear(Operator):
    """``sum_k c_k theta_k``, divided by ``sum_k c_k`` if ``normalize``.

    With ``normalize`` the common scale of the coefficients has no effect. Coefficients that sum to zero (within
    1e-8) cannot be normalised: the candidate fails with ``ZeroWeightSum``. The division is done on the
    coefficients in float64 and not on the tensors; mergekit divides the tensor, which differs by one rounding.
    """

    execution_class: ClassVar[ExecutionClass] = "L0"
    needs_base: ClassVar[bool] = False
    uniform: ClassVar[bool] = True
    reference: ClassVar[str] = "Wortsman et al. 2022, Model soups, arXiv:2203.05482; mergekit linear"

    normalize: Normalize = True

    @override
    def plan(self, coefficients: tuple[float, ...], facts: TensorFacts) -> TensorPlan:
        scales = normalized(coefficients) if self.normalize else coefficients
        return plan_of("weights", np.array(scales), origin=None)
