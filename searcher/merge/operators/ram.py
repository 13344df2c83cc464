"""RAM: what only one model changes is taken whole, what several change is averaged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.merge.operators.base import OPERATORS, ExecutionClass, Operator
from searcher.merge.operators.delta_settings import ActiveAbove
from searcher.merge.plan import KeepMagnitude, TensorPlan, plan_of

if TYPE_CHECKING:
    from searcher.merge.facts import TensorFacts


@OPERATORS.register("ram")
@dataclass(frozen=True)
class Ram(Operator):
    """``theta_0 + sum_k c_k tau_k / (number of models active there)``.

    A model is active in an entry if ``|tau_k| > epsilon``; other entries of it do not count. With coefficients 1 this
    is the published operator, which has none; 0 leaves a model out, also of the number.
    """

    execution_class: ClassVar[ExecutionClass] = "E1"
    needs_base: ClassVar[bool] = True
    reference: ClassVar[str] = "Reinforced Agent Merging, 2026, arXiv:2601.13572; mergekit ram"

    epsilon: ActiveAbove = 1e-5

    @override
    def plan(self, coefficients: tuple[float, ...], facts: TensorFacts) -> TensorPlan:
        return active_average(coefficients, self.epsilon, np.ones(len(coefficients)))


def active_average(coefficients: tuple[float, ...], epsilon: float, alone: NDArray[np.float64]) -> TensorPlan:
    """The average over the active models, or ``alone_k * c_k tau_k`` where only model k is active.

    Args:
        coefficients: One per model.
        epsilon: Magnitude above which an entry is active.
        alone: Shape (K,).
    """
    return plan_of(
        "deltas",
        np.array(coefficients),
        origin=1.0,
        keep=lambda used: KeepMagnitude(np.full((1, len(used)), epsilon, np.float32)),
        average="unique",
        weights=alone,
    )
