"""Weighted mean on the sphere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from typing_extensions import override

from searcher.merge.operators.base import OPERATORS, ExecutionClass, Operator, Setting
from searcher.merge.operators.delta_settings import AverageDeltas, WhoseDefinition
from searcher.merge.operators.normalization import normalized
from searcher.merge.operators.sphere import Directions, Float64
from searcher.merge.plan import TensorPlan, WholeTensor, plan_of

if TYPE_CHECKING:
    from torch import Tensor

    from searcher.merge.facts import TensorFacts


@OPERATORS.register("karcher")
@dataclass(frozen=True)
class Karcher(Operator):
    """The direction with the smallest weighted sum of squared angles to the models' directions, times ``sum_k w_k |v_k|``.

    The weights are the coefficients over their sum (``ZeroWeightSum`` where that is zero); mergekit's are equal. The
    mean is approached from the weighted mean of the directions by at most ``max_iter`` steps through the tangent
    space and is reached once a step is shorter than ``tol`` radians, all from inner products alone. Two models of
    equal length and weight are slerp at one half. Negative weights push away from a model and the mean is then a
    stationary point at best; steps stop as soon as they grow. ``deltas`` averages task vectors where there is a base
    (mergekit: weights, always). Directions that cancel have no mean to start from; the first model's is taken, as in
    mergekit. A zero vector has no direction and counts as a length.

    ``convention: mergekit`` takes float32 steps with whole tensors. Angles below some 3e-4 are then rounded to zero
    and left out, which moves the mean of siblings by 1e-4 of the largest entry; otherwise the two agree to 1e-6.
    Vectors of length ``tol`` or less count as zero.
    """

    execution_class: ClassVar[ExecutionClass] = "L1"
    needs_base: ClassVar[bool] = False
    reference: ClassVar[str] = "Karcher 1977, Riemannian center of mass; Buss and Fillmore 2001; mergekit karcher"

    max_iter: Annotated[int, Setting(1, 50, "largest number of steps", minimum=0, maximum=10_000)] = 10
    tol: Annotated[
        float, Setting(1e-8, 1e-3, "length of a step at which to stop, radians", minimum=0.0, maximum=1.0)
    ] = 1e-5
    deltas: AverageDeltas = False
    convention: WhoseDefinition = "paper"

    @override
    def plan(self, coefficients: tuple[float, ...], facts: TensorFacts) -> TensorPlan | WholeTensor:
        weights = normalized(coefficients)
        of_deltas = self.deltas and facts.has_base
        if self.convention == "mergekit" and facts.size > 0:
            return WholeTensor(lambda base, models: self._mergekit(weights, base if of_deltas else None, models))
        scales = self._scales(np.array(weights), facts.gram("deltas" if of_deltas else "weights")[0])
        return plan_of("deltas" if of_deltas else "weights", scales, origin=1.0 if of_deltas else None)

    def _scales(self, weights: Float64, gram: Float64) -> Float64:
        """Scales of the vectors, shape (K,), from their inner products, shape (K, K)."""
        directions = Directions.of(gram, weights)
        if not directions.weights.any():
            return weights
        mean = directions.mean()
        point = np.eye(weights.size)[np.flatnonzero(directions.weights)[0]] if mean is None else mean
        longest = np.inf
        for _ in range(self.max_iter):
            tangent = directions.logarithm(point)
            step = directions.length(tangent)
            if step < self.tol or step > longest:
                break
            if directions.weights.min() < 0.0:  # the steps may diverge
                longest = step
            point = directions.exponential(point, tangent)
        return directions.scales(point, float(weights @ directions.norms))

    def _mergekit(self, weights: tuple[float, ...], base: Tensor | None, models: list[Tensor]) -> Tensor:
        used = [(w, m if base is None else m - base) for w, m in zip(weights, models, strict=True) if w != 0.0]
        if len(used) == 1:
            merged = used[0][1]
        else:
            norms = [v.norm() for _, v in used]
            pulls = [(w, v / n) for (w, v), n in zip(used, norms, strict=True) if float(n) > self.tol]
            length = sum(w * n for (w, _), n in zip(used, norms, strict=True))
            merged = length * self._float32_mean(pulls) if pulls else 0.0 * used[0][1]
        return merged if base is None else base + merged

    def _float32_mean(self, pulls: list[tuple[float, Tensor]]) -> Tensor:
        """Mean of weighted unit vectors, every step in float32: the result hangs on the rounding of small angles."""
        shares = normalized(tuple(w for w, _ in pulls))
        units = [unit for _, unit in pulls]
        mean = _total([share * unit for share, unit in zip(shares, units, strict=True)])
        mean = mean / mean.norm() if float(mean.norm()) >= self.tol else units[0]
        for _ in range(self.max_iter):
            terms = [term for pair in zip(shares, units, strict=True) if (term := self._pull(mean, *pair)) is not None]
            tangent = _total(terms) if terms else 0.0 * mean
            angle = tangent.norm()
            if float(angle) < self.tol or float(angle) == 0.0:
                break
            mean = angle.cos() * mean + angle.sin() * (tangent / angle)
            mean = mean / mean.norm()
        return mean

    def _pull(self, mean: Tensor, share: float, unit: Tensor) -> Tensor | None:
        """Weighted logarithm of a direction, None if it is near the mean."""
        cosine = mean.flatten().dot(unit.flatten()).clamp(-1.0, 1.0)
        angle = cosine.arccos()
        if float(angle) < self.tol or float(angle) == 0.0:
            return None
        return share * (angle / angle.sin()) * (unit - cosine * mean)


def _total(terms: list[Tensor]) -> Tensor:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
