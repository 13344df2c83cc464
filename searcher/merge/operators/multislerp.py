"""Barycentre of several models on the sphere, taken in the tangent space at their mean direction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from typing_extensions import override

from searcher.errors import CandidateError
from searcher.merge.operators.base import OPERATORS, ExecutionClass, Operator, Setting
from searcher.merge.operators.delta_settings import AverageDeltas, Normalize, WhoseDefinition
from searcher.merge.operators.normalization import normalized
from searcher.merge.operators.sphere import SHORTEST_MEAN, Directions, Float64, lengths
from searcher.merge.plan import TensorPlan, plan_of

if TYPE_CHECKING:
    from searcher.merge.facts import TensorFacts


@OPERATORS.register("multislerp")
@dataclass(frozen=True)
class MultiSlerp(Operator):
    """``exp_m(sum_k w_k log_m(u_k)) * sum_k w_k |v_k|``: directions ``u_k`` and lengths of ``v_k`` averaged apart.

    ``m`` is the weighted mean of the directions, put on the sphere; ``log_m`` lays the directions out on the tangent
    space at ``m``, where they are averaged, and ``exp_m`` puts the average back. For two models this is slerp of the
    directions, exactly; for more it is the first step from ``m`` towards their weighted mean on the sphere, which
    ``karcher`` iterates. The vectors are the task vectors if there is a base (``deltas``) and else the weights. The
    weights are the coefficients, divided by their sum if ``normalize_weights`` (``ZeroWeightSum`` where that is
    zero); without, their sum, which must not be zero, scales the length only. Negative weights push away from a model
    and overshoot if large. A zero vector has no direction and counts as a length. Where the directions cancel there
    is no ``m`` and the result is ``sum_k w_k v_k``.

    ``convention: mergekit`` is the released computation. It projects on the tangent space in place of taking the
    logarithm, and weighted projections cancel at the weighted mean: what remains is ``m * sum_k w_k |v_k|``, with
    ``eps`` added to the lengths before division and ``cos(eps)``. The two differ by 6 % for two vectors of equal
    length at 88 degrees and t = 0.3. Directions that cancel fail the candidate with ``NoMeanDirection`` unless there
    are two models (then as above); a lone model is returned whatever its weight. Zero vectors alone, for which
    mergekit divides by zero or stops, give the base. Lengths are exact here; mergekit's are float32 sums, which puts
    its result off by up to 2e-5 of the largest entry for weights of a million entries (4e-7 for a few hundred).
    """

    execution_class: ClassVar[ExecutionClass] = "L1"
    needs_base: ClassVar[bool] = False
    reference: ClassVar[str] = "Buss and Fillmore 2001, Spherical averages, section 3; mergekit multislerp"

    normalize_weights: Normalize = True
    eps: Annotated[
        float, Setting(1e-9, 1e-6, "mergekit only: added to lengths before dividing by them", minimum=0.0, maximum=1.0)
    ] = 1e-8
    deltas: AverageDeltas = True
    convention: WhoseDefinition = "paper"

    @override
    def plan(self, coefficients: tuple[float, ...], facts: TensorFacts) -> TensorPlan:
        weights = np.array(normalized(coefficients) if self.normalize_weights else coefficients)
        of_deltas = self.deltas and facts.has_base
        gram = facts.gram("deltas" if of_deltas else "weights")[0]
        scales = _barycentre(weights, gram) if self.convention == "paper" else self._released(weights, gram)
        return plan_of("deltas" if of_deltas else "weights", scales, origin=1.0 if of_deltas else None)

    def _released(self, weights: Float64, gram: Float64) -> Float64:
        if weights.size == 1:
            return np.ones(1)
        norms = lengths(gram)
        mean = np.divide(weights, norms + self.eps, out=np.zeros_like(norms), where=norms > 0.0)
        length = math.sqrt(max(0.0, float(mean @ gram @ mean)))
        if length > max(self.eps, SHORTEST_MEAN):
            return mean * (math.cos(self.eps) * float(weights @ norms) / length)
        if weights.size > 2 and norms.any():
            raise CandidateError("NoMeanDirection", f"The directions of {weights.size} models cancel.")
        return weights


def _barycentre(weights: Float64, gram: Float64) -> Float64:
    """Scales of the vectors, shape (K,), from their inner products, shape (K, K)."""
    directions = Directions.of(gram, weights)
    mean = directions.mean()
    if mean is None:
        return weights
    point = directions.exponential(mean, directions.logarithm(mean))
    return directions.scales(point, float(weights @ directions.norms))
