"""Base plus a scaled sum of task vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from typing_extensions import override

from searcher.merge.operators.base import OPERATORS, Choice, ExecutionClass, Operator, Setting, Sources
from searcher.merge.operators.weighted_sum import normalized, weighted_sum

if TYPE_CHECKING:
    import torch


@OPERATORS.register("task_arithmetic")
@dataclass(frozen=True)
class TaskArithmetic(Operator):
    """``theta_0 + lambda * sum_k c_k tau_k`` with task vectors ``tau_k = theta_k - theta_0``.

    The defaults are mergekit's (lambda 1, not normalised); fusion_bench uses lambda 0.3. Negative coefficients
    subtract a task. ``normalize`` divides by ``sum_k c_k`` and fails with ``ZeroWeightSum`` where that is
    within 1e-8 of zero; mergekit then leaves the division out. Scalars are multiplied in float64 beforehand.
    """

    execution_class: ClassVar[ExecutionClass] = "L0"
    needs_base: ClassVar[bool] = True
    reference: ClassVar[str] = "Ilharco et al. 2023, Editing models with task arithmetic, arXiv:2212.04089"

    lambda_: Annotated[float, Setting(0.1, 1.5, "scale of the summed task vectors", minimum=-10.0, maximum=10.0)] = 1.0
    normalize: Annotated[bool, Choice("divide by the sum of the coefficients")] = False

    @override
    def merge(self, coefficients: tuple[float, ...], sources: Sources, prepared: Any) -> torch.Tensor:
        scales = normalized(coefficients) if self.normalize else coefficients
        vectors = ((self.lambda_ * c, sources.task_vector(k)) for k, c in enumerate(scales) if c != 0.0)
        total = weighted_sum(vectors)
        assert sources.base is not None  # needs_base
        return sources.base if total is None else total.add_(sources.base)
