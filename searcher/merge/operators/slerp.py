"""Spherical interpolation between two models, or between the base and one model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from typing_extensions import override

from searcher.merge.operators.base import OPERATORS, ExecutionClass, Operator, Setting, Sources
from searcher.merge.operators.inner_product import inner_product
from searcher.merge.operators.weighted_sum import normalized, weighted_sum

if TYPE_CHECKING:
    from collections.abc import Hashable

    import torch

SMALLEST_SINE = 1e-8  # below this the sine weights are 0 / 0 and equal the linear ones to 1e-16


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
    """

    execution_class: ClassVar[ExecutionClass] = "L1"
    needs_base: ClassVar[bool] = False
    n_models: ClassVar[tuple[int, int | None]] = (1, 2)
    interpolates: ClassVar[bool] = True
    reference: ClassVar[str] = "Shoemake 1985, Animating rotation with quaternion curves; mergekit slerp"

    threshold: Annotated[
        float, Setting(0.99, 1.0, "absolute cosine above which the interpolation is linear", minimum=0.0)
    ] = 0.9995

    @override
    def prepare(self, coefficients: tuple[float, ...], sources: Sources) -> float:
        """Cosine of the angle between the two tensors; 1 if one of them is zero."""
        first, second = _ends(sources)
        norms = math.sqrt(inner_product(first, first)) * math.sqrt(inner_product(second, second))
        return max(-1.0, min(1.0, inner_product(first, second) / norms)) if norms > 0.0 else 1.0

    @override
    def prepare_key(self, coefficients: tuple[float, ...]) -> Hashable:
        return ()

    @override
    def merge(self, coefficients: tuple[float, ...], sources: Sources, prepared: Any) -> torch.Tensor:
        t = coefficients[0] if len(coefficients) == 1 else normalized(coefficients)[1]
        first, second = _ends(sources)
        from_first, from_second = self._weights(t, prepared)
        total = weighted_sum(((from_first, first), (from_second, second)))
        return first * 0.0 if total is None else total

    def _weights(self, t: float, cosine: float) -> tuple[float, float]:
        angle = math.acos(cosine)
        sine = math.sin(angle)
        if abs(cosine) > self.threshold or sine < SMALLEST_SINE:
            return 1.0 - t, t
        return math.sin((1.0 - t) * angle) / sine, math.sin(t * angle) / sine


def _ends(sources: Sources) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights at t = 0 and t = 1."""
    if len(sources.stored) == 2:
        return sources.weights(0), sources.weights(1)
    assert sources.base is not None  # the engine demands a base for an interpolation with one model
    return sources.base, sources.weights(0)
