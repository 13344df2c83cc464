"""Add task vectors up, or elect a sign per entry and average those that agree: how delta operators end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from searcher.merge.operators.normalization import SMALLEST_SUM, normalized
from searcher.merge.plan import Average, TensorPlan, Vote, plan_of

if TYPE_CHECKING:
    from searcher.merge.operators.sparsity import Convention, Sparsified


def summed(
    coefficients: tuple[float, ...], sparse: Sparsified, convention: Convention, *, lambda_: float, normalize: bool
) -> TensorPlan:
    """``theta_0 + lambda * sum_k c_k tau_k`` over sparsified task vectors.

    Args:
        coefficients: One per model.
        sparse: What is kept of each model.
        convention: What ``normalize`` does where the coefficients sum to zero (within 1e-8): ``paper`` fails,
            ``mergekit`` does not divide.
        lambda_: Scale of the sum.
        normalize: Divide by the sum of the coefficients.

    Raises:
        CandidateError: ``ZeroWeightSum``, see above.
    """
    if normalize and not (convention == "mergekit" and abs(sum(coefficients)) < SMALLEST_SUM):
        coefficients = normalized(coefficients)
    return plan_of("deltas", lambda_ * _scales(coefficients, sparse), origin=1.0, keep=sparse.keep)


def elected(
    coefficients: tuple[float, ...],
    sparse: Sparsified,
    convention: Convention,
    *,
    lambda_: float,
    vote: Vote,
    normalize: bool,
) -> TensorPlan:
    """``theta_0 + lambda * (disjoint average of c_k tau_k)`` over sparsified task vectors, as TIES does it.

    An entry's sign is that of the (un)weighted sum, plus for zero; the ``c_k tau_k`` of that sign are summed.

    Args:
        coefficients: One per model; 0 leaves it out, also of the vote.
        sparse: What is kept of each model.
        convention: What ``normalize`` divides by: ``paper`` by the sum of ``|c_k|`` of the models that agree,
            ``mergekit`` by that of their ``c_k``, which mixed signs can bring near zero.
        lambda_: Scale of the average.
        vote: Whether the sum that elects is weighted by the coefficients or only by their signs.
        normalize: Divide at all.
    """
    signed: Average = "agreeing_signed" if convention == "mergekit" else "agreeing"
    return plan_of(
        "deltas",
        _scales(coefficients, sparse),
        origin=1.0,
        factor=lambda_,
        keep=sparse.keep,
        vote=vote,
        average=signed if normalize else "agreeing_sum",
        weights=np.array(coefficients),
    )


def _scales(coefficients: tuple[float, ...], sparse: Sparsified) -> NDArray[np.float64]:
    """Shape (K,); factors of models that are left out are not asked for."""
    return np.array([c * sparse.factor(k) if c != 0.0 else 0.0 for k, c in enumerate(coefficients)])
