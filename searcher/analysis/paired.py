"""Differences between points that were scored on the same examples.

All candidates meet the same examples, and what is hard for one is mostly hard for the other. The standard error of
the mean of paired differences is therefore smaller than that of two independent scores, often by half.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

LEVEL: Final = 0.05

Rows = NDArray[np.float64]


def paired_stderr(examples: Rows) -> Rows:
    """Standard error of the difference of every two points' means.

    Args:
        examples: Score of each point on each example, shape ``(p, n)``; examples that some point lacks (nan) are
            left out.

    Returns:
        Shape ``(p, p)``; nan with fewer than two common examples.
    """
    scored = examples[:, ~np.isnan(examples).any(axis=0)]
    p, n = scored.shape
    if n < 2:
        return np.full((p, p), np.nan)
    centred = scored - scored.mean(axis=1, keepdims=True)
    covariance = centred @ centred.T / (n - 1)
    own = np.diag(covariance)
    variance = own[:, None] + own[None, :] - 2 * covariance
    variance[variance < 1e-12 * np.maximum(own[:, None] + own[None, :], 1e-300)] = 0.0  # rounding of equal rows
    return np.asarray(np.sqrt(variance / n))


def independent_stderr(stderr: Rows) -> Rows:
    """The same without examples: both errors taken as independent, which is too large for paired scores.

    Args:
        stderr: Standard error of each point, shape ``(p,)``.

    Returns:
        Shape ``(p, p)``; 0 on the diagonal.
    """
    found = np.hypot(stderr[:, None], stderr[None, :])
    np.fill_diagonal(found, 0.0)
    return np.asarray(found)


def critical(n_objectives: int) -> float:
    """So many standard errors tell two points apart: two-sided, 5 % over all objectives (Bonferroni)."""
    return NormalDist().inv_cdf(1 - LEVEL / (2 * n_objectives))


def tells_apart(difference: Rows, stderr: Rows) -> NDArray[np.bool_]:
    """In which objectives two points differ by more than chance explains.

    Args:
        difference: Differences of scores, shape ``(..., m)``.
        stderr: Their standard errors, same shape; unknown ones (nan) tell nothing.

    Returns:
        Same shape.
    """
    bound = critical(difference.shape[-1]) * stderr
    return np.asarray(np.abs(difference) > np.where(np.isnan(bound), np.inf, bound))
