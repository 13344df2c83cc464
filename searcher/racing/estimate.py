"""What the scores seen so far say of the mean over all examples, given a rival that has been scored on all."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def paired_estimate(
    rival: NDArray[np.float64], seen: NDArray[np.float64], score_range: tuple[float, float]
) -> tuple[float, float]:
    """Mean over all examples and its standard error: the rival's mean plus the mean paired difference.

    The rival is a control variate (a difference estimator): what its examples to come are like is known. For a
    random order and a fixed number of examples the estimate is unbiased; the standard error is that of sampling
    without replacement, and nan if it is unknown (fewer than two examples, or differences that all agree).
    A candidate that was stopped *because* it looked bad is on average a little better than its estimate.

    Args:
        rival: Scores on every example in the common order, shape ``(N,)``.
        seen: The candidate's scores on the first of them, shape ``(n,)``, ``1 <= n <= N``.
        score_range: Lowest and highest possible score; the estimate is kept inside.
    """
    n, n_all = seen.size, rival.size
    differences = seen - rival[:n]
    low, high = score_range
    value = min(max(float(np.mean(rival) + np.mean(differences)), low), high)
    if n < 2 or np.ptp(differences) == 0:
        return value, math.nan
    return value, float(np.std(differences, ddof=1) / math.sqrt(n) * math.sqrt(1 - n / n_all))
