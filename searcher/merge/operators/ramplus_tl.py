"""RAM+: what only one model changes is amplified if the model shares much of its change with others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from typing_extensions import override

from searcher.merge.operators.base import OPERATORS, ExecutionClass, Operator, Setting
from searcher.merge.operators.delta_settings import ActiveAbove
from searcher.merge.operators.overlap import overlap
from searcher.merge.operators.ram import active_average
from searcher.merge.operators.subset import among, taking_part

if TYPE_CHECKING:
    from searcher.merge.facts import TensorFacts
    from searcher.merge.plan import TensorPlan


@OPERATORS.register("ramplus_tl")
@dataclass(frozen=True)
class RamplusTl(Operator):
    """As ``ram``, but entries that only model k changes are multiplied by ``1 + r * min(shared_k / unique_k, alpha)``.

    ``unique_k`` and ``shared_k`` are the numbers of entries of a tensor in which the model is active alone and
    together with others (tensor-local, "tl"); what is averaged dilutes the model, and this makes up for it.
    Counting reads the tensor, once for every epsilon and set of models; a searched epsilon costs a pass per candidate.
    """

    execution_class: ClassVar[ExecutionClass] = "E1"
    needs_base: ClassVar[bool] = True
    reference: ClassVar[str] = "Reinforced Agent Merging, 2026, arXiv:2601.13572; mergekit ramplus_tl"

    r: Annotated[float, Setting(0.0, 1.0, "amplification per ratio of shared to unique entries", maximum=100.0)] = 0.1
    alpha: Annotated[float, Setting(0.0, 1.0, "largest ratio that counts", maximum=1e6)] = 0.2
    epsilon: ActiveAbove = 1e-5

    @override
    def plan(self, coefficients: tuple[float, ...], facts: TensorFacts) -> TensorPlan:
        used = taking_part(coefficients)
        alone = np.ones(len(coefficients))
        if used and self.r != 0.0 and self.alpha != 0.0:
            counts = overlap(among(facts, used), self.epsilon)
            ratio = np.minimum(counts.shared / np.maximum(counts.unique, 1), self.alpha)
            alone[list(used)] += self.r * ratio
        return active_average(coefficients, self.epsilon, alone)
