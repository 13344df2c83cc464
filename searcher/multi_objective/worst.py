"""The worst of several objectives, as one number to maximise."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

MEAN_SHARE = 0.25  # of the mean, beside the worst


def lifted_worst(fitness: ArrayLike) -> NDArray[np.float64]:
    """The smallest fitness plus a quarter of the mean, over the last axis.

    The augmented Chebyshev function of Wierzbicki 1980. Its sum term usually only breaks ties; the share is larger
    here, because a search of tens of noisy evaluations must also see progress on objectives that are not the worst
    one now.

    Args:
        fitness: Shape ``(..., m)``.

    Returns:
        Shape ``(...)``.

    Example:
        >>> float(lifted_worst([0.25, 0.75]))
        0.375
    """
    values = np.asarray(fitness, dtype=np.float64)
    return np.asarray(values.min(axis=-1) + MEAN_SHARE * values.mean(axis=-1))
