"""Derivatives with respect to coefficients: the chain rule around the inner products of one pass.

A plan's scalars are smooth functions of the coefficients, computed in float64 from a few statistics; their
Jacobian is taken by differences. What the scalars do to the weights is differentiated exactly, in one pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from searcher.merge.kernels.buffers import Buffers
from searcher.merge.kernels.gradient import inner_products
from searcher.merge.merge_tensor import scaled_plan
from searcher.merge.plan import TensorPlan, WholeTensor

if TYPE_CHECKING:
    from searcher.merge.facts import TensorFacts
    from searcher.merge.operators.base import Operator
    from searcher.pool.layout import Layout, TensorEntry

Gradients: TypeAlias = torch.Tensor | Mapping[str, torch.Tensor]

STEP = 1e-5  # of a central difference in float64: errors of 1e-10 by the step and of 1e-11 by rounding
NEARLY_ZERO = 1e-12  # a coefficient of zero leaves its model out; this one does not


def segment_gradient(
    operator: Operator,
    coefficients: tuple[float, ...],
    facts: TensorFacts,
    gradient: torch.Tensor,
    start: int,
    stop: int,
) -> NDArray[np.float64]:
    """What a stretch of one tensor adds to a segment's derivatives, shape (K,).

    At a coefficient of zero the derivative is that towards positive values.

    Args:
        operator: With the segment's settings.
        coefficients: Of the segment.
        facts: The tensor.
        gradient: Derivative of the loss with respect to the merged tensor, shape (size,).
        start: First element.
        stop: Last element + 1.

    Raises:
        ValueError: If the operator merges whole tensors, which have no derivative here.
    """
    at = tuple(c if c != 0.0 else NEARLY_ZERO for c in coefficients)
    plan = _plan(operator, at, facts)
    by_scalar = inner_products(plan, _buffers(plan, facts), gradient, start, stop)
    result = np.zeros(len(at))
    for k in range(len(at)):
        one_sided = coefficients[k] == 0.0
        high, low = _plan(operator, _moved(at, k, STEP), facts), _plan(operator, _moved(at, k, -STEP), facts)
        if high.used != plan.used or low.used != plan.used:
            continue  # the edge of a region where nothing is merged
        other, width = (plan, STEP) if one_sided else (low, 2 * STEP)
        for name in ("scales", "weights", "origin", "factor"):
            ours, theirs = getattr(high, name), getattr(other, name)
            if ours is not None and ours.size:
                result[k] += float(((ours - theirs) / width * getattr(by_scalar, name)).sum())
    return result


def _plan(operator: Operator, coefficients: tuple[float, ...], facts: TensorFacts) -> TensorPlan:
    plan = scaled_plan(operator, operator.plan(coefficients, facts), facts)
    if isinstance(plan, WholeTensor):
        raise ValueError(  # noqa: TRY004 - the value of the recipe is wrong, not a type
            f"Expected an operator of one fused pass, but {type(operator).__name__} merges whole tensors."
        )
    return plan


def _moved(coefficients: tuple[float, ...], k: int, step: float) -> tuple[float, ...]:
    return (*coefficients[:k], coefficients[k] + step, *coefficients[k + 1 :])


def _buffers(plan: TensorPlan, facts: TensorFacts) -> Buffers:
    """Buffers without a place for a result."""
    base = facts.read(-1) if facts.has_base else None
    models = tuple(facts.read(k) for k in plan.used)
    unused = base if base is not None else models[0]
    return Buffers(
        facts.name, unused, base, models, tuple(facts.is_delta[k] for k in plan.used),
        tuple(facts.models[k] for k in plan.used), max(1, facts.size // plan.n_rows),
    )  # fmt: skip


def gradient_entries(layout: Layout, gradients: Gradients) -> list[TensorEntry]:
    """Tensors with a gradient.

    Args:
        layout: The parameter line.
        gradients: A line of shape ``(P,)``, or tensors by name in the layout's shapes.

    Raises:
        ValueError: If a gradient has another shape or an unknown name.
    """
    if isinstance(gradients, torch.Tensor):
        if gradients.shape != (layout.n_parameters,):
            raise ValueError(
                f"Expected gradients of shape (P,) = ({layout.n_parameters},), but got {tuple(gradients.shape)}."
            )
        return list(layout.tensors)
    known = {entry.name: entry for entry in layout.tensors}
    for name, gradient in gradients.items():
        if name not in known or tuple(gradient.shape) != known[name].shape:
            wanted = f"shape {known[name].shape}" if name in known else "a name of the layout"
            raise ValueError(f"Expected {wanted} for gradient {name!r}, but got shape {tuple(gradient.shape)}.")
    return [entry for entry in layout.tensors if entry.name in gradients]


def gradient_of(gradients: Gradients, entry: TensorEntry) -> torch.Tensor:
    """The gradient of one tensor, shape ``(size,)``."""
    if isinstance(gradients, torch.Tensor):
        return gradients[entry.offset : entry.stop]
    return gradients[entry.name].reshape(-1)
