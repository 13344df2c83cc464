"""Spherical interpolation between two models, or between the base and one model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.merge.operators.base import OPERATORS, Choice, ExecutionClass, Operator, Setting
from searcher.merge.operators.normalization import normalized
from searcher.merge.operators.sparsity import Convention
from searcher.merge.plan import TensorPlan, plan_of

if TYPE_CHECKING:
    from searcher.merge.facts import TensorFacts

SMALLEST_SINE = 1e-8  # below this the sine weights are 0 / 0 and equal the linear ones to 1e-16

SMALLEST_NORM = 1e-8  # of mergekit


@OPERATORS.register("slerp")
@dataclass(frozen=True)
class Slerp(Operator):
    """``sin((1 - t) W) / sin(W) * a + sin(t W) / sin(W) * b`` with the angle ``W`` between whole tensors.

    With two models ``t`` is the second coefficient over the sum of the two (``ZeroWeightSum`` if that is zero);
    with one model it is the only coefficient and runs from the base to the model. ``t`` outside [0, 1]
    extrapolates along the circle. The tensors themselves are not normalised, as in mergekit.

    Where the tensors are nearly parallel or antiparallel (``|cos W| > threshold``), or one of them is zero,
    the interpolation is linear. Antiparallel tensors have no shortest arc; the straight line is the defined
    result, and it passes near zero. The default threshold is mergekit's 0.9995, an angle of 0.032: most
    fine-tunes of one base differ by less and are then interpolated linearly. A threshold of 1 uses the sphere
    wherever it exists. The angle is computed in float64; mergekit's float32 angle differs for small angles.
    ``convention: mergekit`` takes a tensor of norm 1e-8 or less for one at a right angle to the other.
    """

    execution_class: ClassVar[ExecutionClass] = "L1"
    needs_base: ClassVar[bool] = False
    n_models: ClassVar[tuple[int, int | None]] = (1, 2)
    interpolates: ClassVar[bool] = True
    reference: ClassVar[str] = "Shoemake 1985, Animating rotation with quaternion curves; mergekit slerp"

    threshold: Annotated[
        float, Setting(0.99, 1.0, "absolute cosine above which the interpolation is linear", minimum=0.0)
    ] = 0.9995
    convention: Annotated[Convention, Choice("what the angle with a zero tensor is")] = "paper"

    @override
    def plan(self, coefficients: tuple[float, ...], facts: TensorFacts) -> TensorPlan:
        from_base = len(coefficients) == 1
        t = coefficients[0] if from_base else normalized(coefficients)[1]
        gram = facts.gram("weights", with_base=from_base)[0]
        right_angle = self.convention == "mergekit" and min(gram[0, 0], gram[1, 1]) <= SMALLEST_NORM**2
        first, second = self._weights(t, 0.0 if right_angle else cosine(gram))
        if from_base:
            return plan_of("weights", np.array([second]), origin=first)
        return plan_of("weights", np.array([first, second]), origin=None)

    def _weights(self, t: float, cosine: float) -> tuple[float, float]:
        angle = math.acos(cosine)
        sine = math.sin(angle)
        if abs(cosine) > self.threshold or sine < SMALLEST_SINE:
            return 1.0 - t, t
        return math.sin((1.0 - t) * angle) / sine, math.sin(t * angle) / sine


def cosine(gram: NDArray[np.float64]) -> float:
    """Cosine of the angle between the first two vectors; 1 if one of them is zero.

    Args:
        gram: Their inner products, shape (2, 2) or larger.
    """
    (first, product), (_, second) = gram[:2, :2].tolist()
    norms = math.sqrt(max(0.0, first)) * math.sqrt(max(0.0, second))  # rounding may make a zero negative
    return max(-1.0, min(1.0, product / norms)) if norms > 0.0 else 1.0
