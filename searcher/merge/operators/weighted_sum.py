"""Sums of scaled tensors whose bits do not depend on how a tensor is cut."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from searcher.errors import CandidateError

if TYPE_CHECKING:
    import torch

SMALLEST_SUM = 1e-8
"""Weights whose sum is nearer to zero than this cannot be normalised."""


def weighted_sum(terms: Iterable[tuple[float, torch.Tensor]]) -> torch.Tensor | None:
    """Sum of ``scale * tensor`` in the given order; None if every scale is 0.

    Product and addition are rounded apart. A fused ``add(..., alpha=)`` rounds once in the vectorised part of
    a loop and twice in its tail, so the result would depend on where a chunk ends. Terms with scale 0 are not
    read.

    Args:
        terms: Scales and float32 tensors, all of shape ``(n,)``.
    """
    total: torch.Tensor | None = None
    for scale, tensor in terms:
        if scale != 0.0:
            term = tensor * scale
            total = term if total is None else total.add_(term)
    return total


def normalized(coefficients: tuple[float, ...]) -> tuple[float, ...]:
    """The coefficients over their sum.

    Raises:
        CandidateError: ``ZeroWeightSum`` if the sum is within 1e-8 of zero.
    """
    total = sum(coefficients)
    if abs(total) < SMALLEST_SUM:
        raise CandidateError("ZeroWeightSum", f"Coefficients {coefficients} sum to {total}; they cannot be normalised.")
    return tuple(c / total for c in coefficients)
