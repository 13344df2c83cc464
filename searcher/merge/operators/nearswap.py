"""The base, with those entries of a model that are near it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from typing_extensions import override

from searcher.merge.operators.base import OPERATORS, ExecutionClass, Operator, Setting
from searcher.merge.plan import Clip, TensorPlan, plan_of

if TYPE_CHECKING:
    from searcher.merge.facts import TensorFacts

SMALLEST_LIMIT = 1e-6


@OPERATORS.register("nearswap")
@dataclass(frozen=True)
class NearSwap(Operator):
    """``theta_0 + c * clip(tau, -t, t)`` of one model.

    Entries within ``t`` of the base are taken over; all others move by ``t``. It is described as an interpolation
    weighted by similarity, which is the same. Below 1e-6 the limit stays 1e-6 and the result is scaled down to
    ``t``, as in mergekit, whose coefficient is always 1.
    """

    execution_class: ClassVar[ExecutionClass] = "E1"
    needs_base: ClassVar[bool] = True
    n_models: ClassVar[tuple[int, int | None]] = (1, 1)
    uniform: ClassVar[bool] = True
    reference: ClassVar[str] = "alchemonaut 2024, QuartetAnemoi-70B-t0.0001; mergekit nearswap"

    t: Annotated[
        float, Setting(1e-4, 1e-2, "largest change of a weight, in weight units", minimum=0.0, maximum=1e3)
    ] = 1e-3

    @override
    def plan(self, coefficients: tuple[float, ...], facts: TensorFacts) -> TensorPlan:
        limit = max(self.t, SMALLEST_LIMIT)
        return plan_of(
            "deltas",
            np.array(coefficients) * (self.t / limit),
            origin=1.0,
            keep=lambda used: Clip(np.full(len(used), limit, np.float32)),
        )
