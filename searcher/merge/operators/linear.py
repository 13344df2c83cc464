"""Weighted average of the weights (model soup)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from typing_extensions import override

from searcher.merge.operators.base import OPERATORS, Choice, ExecutionClass, Operator, Sources
from searcher.merge.operators.weighted_sum import normalized, weighted_sum

if TYPE_CHECKING:
    import torch


@OPERATORS.register("linear")
@dataclass(frozen=True)
class Linear(Operator):
    """``sum_k c_k theta_k``, divided by ``sum_k c_k`` if ``normalize``.

    With ``normalize`` the common scale of the coefficients has no effect. Coefficients that sum to zero (within
    1e-8) cannot be normalised: the candidate fails with ``ZeroWeightSum``. The division is done on the
    coefficients in float64 and not on the tensors; mergekit divides the tensor, which differs by one rounding.
    """

    execution_class: ClassVar[ExecutionClass] = "L0"
    needs_base: ClassVar[bool] = False
    reference: ClassVar[str] = "Wortsman et al. 2022, Model soups, arXiv:2203.05482; mergekit linear"

    normalize: Annotated[bool, Choice("divide by the sum of the coefficients")] = True

    @override
    def merge(self, coefficients: tuple[float, ...], sources: Sources, prepared: Any) -> torch.Tensor:
        scales = normalized(coefficients) if self.normalize else coefficients
        total = weighted_sum((c, sources.weights(k)) for k, c in enumerate(scales) if c != 0.0)
        return sources.stored[0] * 0.0 if total is None else total
