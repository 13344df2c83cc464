"""Derivatives of a loss with respect to the numbers of a plan, from those to the merged weights.

With masks and elected signs held fixed, which is exact almost everywhere, every average is linear in the scales:
``total = sum_k rate_k * scales_k * m_k``, where the rate of an element is 1 for a sum, ``agrees_k / divisor`` for an
average of those that agree, and so on. One pass therefore yields the derivatives to all scalars; how
these depend on coefficients is the caller's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from searcher.merge.kernels.reference import Stretch, sum_in_order
from searcher.merge.plan import TensorPlan

if TYPE_CHECKING:
    from searcher.merge.kernels.buffers import Buffers

BLOCK_ON_CPU = 1 << 14  # elements summed at once; torch splits longer sums among threads, which changes their bits
BLOCK_ON_GPU = 1 << 22

Tensors: TypeAlias = list[torch.Tensor]


@dataclass(frozen=True, eq=False)
class ScalarGradients:
    """Derivatives with respect to the scalars of a plan, float64; sums over elements.

    Args:
        scales: Shape (R, K').
        weights: Shape (K',); zero for averages without weights.
        origin: Shape (R,); zero without a base term.
        factor: Shape (R,).
    """

    scales: NDArray[np.float64]
    weights: NDArray[np.float64]
    origin: NDArray[np.float64]
    factor: NDArray[np.float64]


@torch.no_grad()
def inner_products(
    plan: TensorPlan, buffers: Buffers, gradient: torch.Tensor, start: int, stop: int
) -> ScalarGradients:
    """Sums over ``start ... stop`` of ``gradient[i] * d merged[i] / d scalar``.

    Products and sums are float64, in blocks of fixed borders, so the bits do not depend on the number of threads. The
    final rounding to the storage type counts as the identity. Rows outside the stretch get zeros.

    Args:
        plan: What is merged; models that do not take part have no derivative.
        buffers: The tensor; ``out`` is not touched.
        gradient: Derivative of the loss with respect to the merged tensor, any float type, shape (n,).
        start: First element.
        stop: Last element + 1.
    """
    n, k = plan.n_rows, len(plan.used)
    found = ScalarGradients(np.zeros((n, k)), np.zeros(k), np.zeros(n), np.zeros(n))
    block = BLOCK_ON_CPU if gradient.device.type == "cpu" else BLOCK_ON_GPU
    while start < stop:
        row = start // buffers.row_length
        end = min(stop, start - start % block + block, (row + 1) * buffers.row_length)
        _add(found, plan, Stretch(plan, buffers, row, start, end), gradient[start:end].double(), row)
        start = end
    return found


def _add(found: ScalarGradients, plan: TensorPlan, stretch: Stretch, gradient: torch.Tensor, row: int) -> None:
    """Add the sums of one stretch."""
    if plan.origin is not None and stretch.base is not None:
        found.origin[row] += float((gradient * stretch.base).sum())
    if not plan.used:
        return
    kept = stretch.kept()
    rates, by_weight = _rates(plan, stretch, kept, row)
    scales, factor = plan.scales[row], float(plan.factor[row])
    terms = [m.double() if rates is None else m * rates[k] for k, m in enumerate(kept)]
    products = _products(gradient, terms)
    found.scales[row] += factor * products
    found.factor[row] += float(scales @ products)
    if by_weight is not None:
        found.weights[:] += factor * _products(gradient, by_weight)


def _products(gradient: torch.Tensor, terms: Tensors) -> NDArray[np.float64]:
    """Inner products with each of K' tensors."""
    sums: NDArray[np.float64] = torch.stack([(gradient * term).sum() for term in terms]).cpu().numpy()
    return sums


def _rates(plan: TensorPlan, stretch: Stretch, kept: Tensors, row: int) -> tuple[Tensors | None, Tensors | None]:
    """Per model ``d total / d s_k`` (None: 1) and ``d total / d weights_k`` (None: 0), float64."""
    if plan.average == "sum":
        return None, None
    scaled = [m * float(np.float32(c)) for m, c in zip(kept, plan.scales[row], strict=True)]
    if plan.average == "unique":
        return _rates_of_unique(plan, kept, scaled)
    signs = np.sign(plan.scales[row])
    votes = scaled if plan.vote == "weighted" else [m * float(c) for m, c in zip(kept, signs, strict=True)]
    sign = stretch.sign_of(sum_in_order(votes))
    agrees = [(s * sign > 0.0).double() for s in scaled]
    if plan.average == "agreeing_sum":
        return agrees, None
    if plan.average == "agreeing_count":
        number = sum_in_order(agrees).clamp_min(1.0)
        return [a / number for a in agrees], None
    return _rates_of_weighted(plan, agrees, scaled)


def _rates_of_unique(plan: TensorPlan, kept: Tensors, scaled: Tensors) -> tuple[Tensors, Tensors]:
    number = sum_in_order([(m != 0.0).double() for m in kept])
    alone = number == 1.0
    shared = 1.0 / number.clamp_min(1.0)
    rates = [torch.where(alone, float(w), shared) for w in plan.weights]
    return rates, [torch.where(alone, s.double(), 0.0) for s in scaled]


def _rates_of_weighted(plan: TensorPlan, agrees: Tensors, scaled: Tensors) -> tuple[Tensors, Tensors]:
    """Numerator over divisor: ``agrees_k / D`` and ``-agrees_k * total / D``, as ``D = sum_k agrees_k * weight_k``."""
    weights = plan.weights
    signs = np.sign(weights) if plan.average == "agreeing" else np.ones_like(weights)
    divisor = sum_in_order([a * float(w * s) for a, w, s in zip(agrees, weights, signs, strict=True)])
    vanishes = divisor == 0.0  # counts as 1, whatever the weights
    inverse = 1.0 / torch.where(vanishes, 1.0, divisor)
    total = sum_in_order([a * s for a, s in zip(agrees, scaled, strict=True)]) * inverse
    by_divisor = torch.where(vanishes, 0.0, -total * inverse)
    return [a * inverse for a in agrees], [a * float(s) * by_divisor for a, s in zip(agrees, signs, strict=True)]
