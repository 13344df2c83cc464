"""The mean of several models, drawn towards the base as far as their task vectors disagree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from typing_extensions import override

from searcher.merge.operators.base import OPERATORS, Choice, ExecutionClass, Operator, Setting
from searcher.merge.operators.delta_settings import WhoseDefinition
from searcher.merge.operators.normalization import normalized
from searcher.merge.operators.sphere import Float64, lengths
from searcher.merge.plan import TensorPlan, plan_of

if TYPE_CHECKING:
    from searcher.merge.facts import TensorFacts

MERGEKIT_FLOOR = 1e-6  # products of two norms below it count as this
SMALLEST_DIVISOR = 1e-6


@OPERATORS.register("model_stock")
@dataclass(frozen=True)
class ModelStock(Operator):
    """``theta_0 + t_scale * t * sum_k w_k tau_k`` with ``t = N cos / (1 + (N - 1) cos)``.

    ``cos`` is the mean cosine between two task vectors, per tensor or, with ``filter_wise``, per vector along the
    last axis. Equal coefficients are the published operator: ``w_k = 1 / N``. For others ``w_k`` are the coefficients
    over their sum (``ZeroWeightSum`` where that is zero), a pair counts ``|w_i w_j|`` in the mean and
    ``N = 1 / sum_k w_k^2``, which makes ``t`` what the paper derives: the point of the line from the base to the
    average that is nearest to the centre of the models. A model alone has ``t = 1``.

    A zero task vector has cosine 0 with all others. Where the mean cosine is negative there is no centre and the
    result is the base. ``convention: mergekit`` applies the formula there too (from 0 at a right angle to minus
    infinity; the base where the divisor is within 1e-6 of zero) and counts products of two norms as at least 1e-6,
    which draws small or gently tuned tensors to the base: 4096 entries of RMS 1e-5 get t = 0.25 in place of 0.52.
    """

    execution_class: ClassVar[ExecutionClass] = "L1"
    needs_base: ClassVar[bool] = True
    n_models: ClassVar[tuple[int, int | None]] = (2, None)
    reference: ClassVar[str] = "Jang et al. 2024, Model Stock, arXiv:2403.19522; mergekit model_stock"

    filter_wise: Annotated[bool, Choice("one t per vector along the last axis, not per tensor")] = False
    t_scale: Annotated[float, Setting(0.5, 1.5, "multiplier of t", minimum=-10.0, maximum=10.0)] = 1.0
    convention: WhoseDefinition = "paper"

    @override
    def plan(self, coefficients: tuple[float, ...], facts: TensorFacts) -> TensorPlan:
        weights = np.array(normalized(coefficients))
        by_row = self.filter_wise and len(facts.shape) > 1 and facts.size > 0
        gram = facts.gram("deltas", axis="last" if by_row else None)
        t = self.t_scale * self._t(weights, gram)
        return plan_of("deltas", t[:, None] * weights, origin=1.0)

    def _t(self, weights: Float64, gram: Float64) -> Float64:
        """Shape (R,), from inner products of shape (R, K, K)."""
        pairs = np.triu(np.abs(np.outer(weights, weights)), 1)
        if not pairs.any():
            return np.ones(gram.shape[0])
        cosine = (self._cosines(gram) * pairs).sum(axis=(1, 2)) / pairs.sum()
        if self.convention == "paper":
            cosine = np.maximum(cosine, 0.0)
        n = 1.0 / float(weights @ weights)
        divisor = 1.0 + (n - 1.0) * cosine
        singular = np.abs(divisor) < SMALLEST_DIVISOR
        t: Float64 = np.divide(n * cosine, divisor, out=np.zeros_like(cosine), where=~singular)
        return t

    def _cosines(self, gram: Float64) -> Float64:
        norms = lengths(gram)
        products = norms[:, :, None] * norms[:, None, :]
        if self.convention == "mergekit":
            products = np.maximum(products, MERGEKIT_FLOOR)
        cosines: Float64 = np.divide(gram, products, out=np.zeros_like(gram), where=products > 0.0)
        return cosines.clip(-1.0, 1.0)
