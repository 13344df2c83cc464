"""The base, with those entries of a model whose change stands out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from typing_extensions import override

from searcher.merge.operators.base import OPERATORS, Choice, ExecutionClass, Operator, Setting
from searcher.merge.operators.sparsity import Convention
from searcher.merge.plan import KeepImportance, TensorPlan, WholeTensor, plan_of

if TYPE_CHECKING:
    from torch import Tensor

    from searcher.merge.facts import TensorFacts

QUARTERS = (0.25, 0.5, 0.75)
SOFTMAX_FLOOR = 1e-8


@OPERATORS.register("arcee_fusion")
@dataclass(frozen=True)
class ArceeFusion(Operator):
    """``theta_0 + c * tau`` where the importance of an entry reaches ``median + multiplier * (q3 - q1)``, else ``theta_0``.

    The importance is ``|tau| * var(tau) / 2`` with the variance of the entry's row (last axis; the whole of a tensor
    with fewer than two axes), its median and quartiles are those of the tensor, from a table. Of normally
    distributed task vectors 5.5 % of the entries are kept; a sufficiently negative multiplier keeps all. Rows of one
    element have no variance: all is kept.

    mergekit defines the importance with the Kullback-Leibler divergence of the softmax of the model's row from that
    of the base's, which for numbers of the size of weights is half the variance of their difference. It loses it to
    cancellation: at task vectors of RMS 2e-4 four rows in ten get a negative divergence, the correlation with the
    true one is 0.1 to 0.2 and 11 % of the entries are kept. ``convention: mergekit`` repeats that float32
    computation, with one exception: of tensors above a million entries mergekit takes the quantiles from a million
    entries drawn at random, without a seed, and here they are of all entries. Its multiplier is always 1.5.
    """

    execution_class: ClassVar[ExecutionClass] = "E2"
    needs_base: ClassVar[bool] = True
    n_models: ClassVar[tuple[int, int | None]] = (1, 1)
    reference: ClassVar[str] = "mergekit arcee_fusion (Arcee AI 2024)"

    multiplier: Annotated[
        float, Setting(0.0, 3.0, "interquartile ranges above the median", minimum=-100.0, maximum=100.0)
    ] = 1.5
    convention: Annotated[Convention, Choice("whose importance, see above")] = "paper"

    @override
    def plan(self, coefficients: tuple[float, ...], facts: TensorFacts) -> TensorPlan | WholeTensor:
        if facts.size == 0:
            return plan_of("deltas", np.array(coefficients), origin=1.0)
        if self.convention == "mergekit":
            return WholeTensor(lambda base, models: self._mergekit(coefficients[0], base, models[0]))
        scales = np.full((facts.size // facts.row_length, 1), coefficients[0])
        return plan_of("deltas", scales, origin=1.0, keep=lambda used: self._keep(used, facts))

    def _keep(self, used: tuple[int, ...], facts: TensorFacts) -> KeepImportance:
        tables = [facts.importance(k) for k in used]
        factors = np.array([table.row_factor for table in tables], np.float32).T
        thresholds = np.array([table.threshold(self.multiplier) for table in tables], np.float32)
        return KeepImportance(np.ascontiguousarray(factors), thresholds)

    def _mergekit(self, coefficient: float, base: Tensor | None, model: Tensor) -> Tensor:
        assert base is not None  # needs_base
        change = model - base
        importance = change.abs() * _divergence(model, base)
        ascending = importance.flatten().sort().values
        first, median, third = (ascending[int((ascending.numel() - 1) * q)] for q in QUARTERS)
        kept = importance >= median + self.multiplier * (third - first)
        return base + coefficient * change * kept


def _divergence(model: Tensor, base: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the rows' softmax, float32, rounded as mergekit does; shape (..., 1)."""
    p = model.softmax(dim=-1) + SOFTMAX_FLOOR
    q = base.softmax(dim=-1) + SOFTMAX_FLOOR
    return (p * (p / q).log()).sum(dim=-1, keepdim=True)
