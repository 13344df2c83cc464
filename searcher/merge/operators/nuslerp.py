"""Spherical interpolation between two models by their relative weights: whole tensors, rows or columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeAlias

import numpy as np
from typing_extensions import override

from searcher.merge.operators.base import OPERATORS, Choice, ExecutionClass, Operator
from searcher.merge.operators.sparsity import Convention
from searcher.merge.operators.sphere import Float64, lengths
from searcher.merge.plan import TensorPlan, WholeTensor, plan_of

if TYPE_CHECKING:
    from torch import Tensor

    from searcher.merge.facts import TensorFacts

Axis: TypeAlias = Literal["last", "first"] | None

SMALLEST_SUM = 1e-6  # weights whose sum is nearer to zero than this count as equal
SMALLEST_SINE = 1e-8  # below this the sine weights are 0 / 0 and equal the linear ones to 1e-16
MERGEKIT_FLOOR = 1e-7  # shorter vectors are not scaled to unit length
MERGEKIT_SINE_SQUARED = 1e-16


@OPERATORS.register("nuslerp")
@dataclass(frozen=True)
class NuSlerp(Operator):
    """``sin((1 - t) W) / sin(W) * v_1 + sin(t W) / sin(W) * v_2`` with the angle ``W``; ``t = c_2 / (c_1 + c_2)``.

    ``t`` is one half where the coefficients sum to zero (within 1e-6), and may lie outside [0, 1]. The vectors are
    the task vectors if there is a base (``deltas``), whose angle is large, and else the weights. They are not
    normalised. ``flatten`` takes one angle for the whole tensor; without it there is one per vector along the last
    axis, or with ``row_wise``, so called by mergekit, one per vector along the first axis (column of a matrix), which
    takes a pass over whole tensors. Tensors of fewer than two axes are one vector.

    The interpolation is linear where ``sin W < 1e-8`` (opposite vectors have no shortest arc) and where one of the
    vectors is zero. ``convention: mergekit`` computes the angle from float32 sums of the values. For parallel or
    unlike vectors that makes no difference (1e-7 of the largest entry measured up to a thousand elements, 5e-6 at a
    million). It does for opposite vectors (3e-6 of the largest entry at 0.1 from opposite, 1e-3 at 0.01, anything
    closer) and for a zero vector, which is taken to be at a right angle.
    """

    execution_class: ClassVar[ExecutionClass] = "L1"
    needs_base: ClassVar[bool] = False
    n_models: ClassVar[tuple[int, int | None]] = (2, 2)
    interpolates: ClassVar[bool] = True
    reference: ClassVar[str] = "Shoemake 1985, Animating rotation with quaternion curves; mergekit nuslerp"

    flatten: Annotated[bool, Choice("one angle for the whole tensor")] = True
    row_wise: Annotated[bool, Choice("without flatten: vectors along the first axis, not the last")] = False
    deltas: Annotated[bool, Choice("interpolate task vectors if there is a base")] = True
    convention: Annotated[Convention, Choice("whose angle, see above")] = "paper"

    @override
    def plan(self, coefficients: tuple[float, ...], facts: TensorFacts) -> TensorPlan | WholeTensor:
        total = coefficients[0] + coefficients[1]
        t = 0.5 if abs(total) < SMALLEST_SUM else coefficients[1] / total
        axis = self._axis(facts)
        of_deltas = self.deltas and facts.has_base
        if self.convention == "mergekit":
            return _between(lambda first, second: _mergekit(t, first, second, axis), of_deltas)
        scales = _sine_weights(t, facts.gram("deltas" if of_deltas else "weights", axis=axis))
        if axis == "first":
            return _between(lambda first, second: _by_column(scales, first, second), of_deltas)
        return plan_of("deltas" if of_deltas else "weights", scales, origin=1.0 if of_deltas else None)

    def _axis(self, facts: TensorFacts) -> Axis:
        if self.flatten or len(facts.shape) < 2 or facts.size == 0:
            return None
        return "first" if self.row_wise else "last"


def _sine_weights(t: float, gram: Float64) -> Float64:
    """Weights of two vectors, shape (R, 2), from their inner products, shape (R, 2, 2)."""
    norms = lengths(gram).prod(axis=1)
    cosine = np.divide(gram[:, 0, 1], norms, out=np.ones_like(norms), where=norms > 0.0)
    angle = np.arccos(np.clip(cosine, -1.0, 1.0))
    sine = np.sin(angle)
    linear = sine < SMALLEST_SINE
    sine[linear] = 1.0
    first = np.where(linear, 1.0 - t, np.sin((1.0 - t) * angle) / sine)
    return np.stack([first, np.where(linear, t, np.sin(t * angle) / sine)], axis=1)


def _between(function: Callable[[Tensor, Tensor], Tensor], of_deltas: bool) -> WholeTensor:
    """A function of the two weights, or of the task vectors and then added to the base."""

    def merged(base: Tensor | None, models: list[Tensor]) -> Tensor:
        if base is None or not of_deltas:
            return function(models[0], models[1])
        return base + function(models[0] - base, models[1] - base)

    return WholeTensor(merged)


def _by_column(scales: Float64, first: Tensor, second: Tensor) -> Tensor:
    """Two tensors scaled along their first axis; scales of shape (columns, 2)."""
    a, b = first.new_tensor(scales.T).view(2, *first.shape[1:])
    merged: Tensor = a * first + b * second
    return merged


def _mergekit(t: float, first: Tensor, second: Tensor, axis: Axis) -> Tensor:
    """Everything in float32, sums included: near opposite vectors the result hangs on their rounding."""
    if axis is None:
        a, b = first.reshape(-1), second.reshape(-1)
    else:
        a, b = (first, second) if axis == "last" else (first.transpose(0, -1), second.transpose(0, -1))
    units = [v / v.norm(dim=-1, keepdim=True).clamp(min=MERGEKIT_FLOOR) for v in (a, b)]
    cosine = (units[0] * units[1]).sum(dim=-1, keepdim=True).clamp(-1.0, 1.0)
    angle = cosine.acos()
    on_circle = (((1.0 - t) * angle).sin() * a + (t * angle).sin() * b) / angle.sin()
    parallel = (1.0 - cosine.square()) <= MERGEKIT_SINE_SQUARED
    merged = (a * (1.0 - t) + b * t).where(parallel, on_circle)
    return (merged.transpose(0, -1) if axis == "first" else merged).reshape(first.shape)
