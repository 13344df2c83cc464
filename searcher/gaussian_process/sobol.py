"""Scrambled Sobol points: an even first look at the space."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.quasirandom import SobolEngine


def sobol_points(dim: int, n: int, seed: int, skip: int = 0) -> NDArray[np.float64]:
    """Points of the scrambled Sobol sequence of ``seed`` in the unit cube, shape ``(n, dim)``.

    Args:
        dim: Number of genes, up to 21,201.
        n: Number of points.
        seed: Decides the scrambling (Owen).
        skip: Points of the sequence that come before.
    """
    engine = SobolEngine(dim, scramble=True, seed=seed)
    if skip:
        engine.fast_forward(skip)
    return np.asarray(engine.draw(n, dtype=torch.float64).numpy(), dtype=np.float64)
