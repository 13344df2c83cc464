"""One model, scaled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from typing_extensions import override

from searcher.merge.operators.base import OPERATORS, ExecutionClass, Operator
from searcher.merge.plan import TensorPlan, plan_of

if TYPE_CHECKING:
    from searcher.merge.facts import TensorFacts


@OPERATORS.register("passthrough")
@dataclass(frozen=True)
class Passthrough(Operator):
    """``c * theta``; the coefficient is mergekit's ``scale`` and 1 copies the model bit for bit.

    Which layers come from where is not the operator's business but the recipe's.
    """

    execution_class: ClassVar[ExecutionClass] = "L0"
    needs_base: ClassVar[bool] = False
    n_models: ClassVar[tuple[int, int | None]] = (1, 1)
    uniform: ClassVar[bool] = True
    reference: ClassVar[str] = "mergekit passthrough; Kim et al. 2023, SOLAR 10.7B (depth up-scaling), arXiv:2312.15166"

    @override
    def plan(self, coefficients: tuple[float, ...], facts: TensorFacts) -> TensorPlan:
        return plan_of("weights", np.array(coefficients), origin=None)
