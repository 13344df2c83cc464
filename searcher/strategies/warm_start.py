"""Where a search should begin, from genomes that were scored before: WS-CMA-ES.

Reference: Nomura, Watanabe, Akimoto, Ozaki and Onishi 2021, "Warm starting CMA-ES for hyperparameter optimization",
arXiv:2012.06932, algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GAMMA = 0.1  # share of the known genomes that are promising, as in the paper
ALPHA = 0.1  # standard deviation of the prior around each promising genome, as in the paper


@dataclass(frozen=True, eq=False)
class Promising:
    """A normal distribution with the mean and covariance of the promising genomes.

    Args:
        mean: Shape ``(dim,)``.
        sigma: The root of the geometric mean of the covariance's eigenvalues.
        covariance: In units of ``sigma`` squared, so that its determinant is 1; shape ``(dim, dim)``.
        n_promising: Genomes it was made of.
    """

    mean: NDArray[np.float64]
    sigma: float
    covariance: NDArray[np.float64]
    n_promising: int


def promising_distribution(
    genomes: NDArray[np.float64], values: NDArray[np.float64], *, gamma: float = GAMMA, alpha: float = ALPHA
) -> Promising:
    """The normal distribution nearest, in Kullback-Leibler divergence, to bumps around the best genomes.

    The bumps are normal distributions of standard deviation ``alpha`` around the best ``gamma`` of the genomes
    (rounded down, at least 1); the nearest one has their mean and the covariance
    ``alpha^2 I + mean of (x - mean)(x - mean)^T`` (eqs. 6 and 7).

    Args:
        genomes: Shape ``(n, dim)``, at least one.
        values: Maximised, finite, shape ``(n,)``; of equal ones the earlier counts as better.
        gamma: In (0, 1].
        alpha: Above 0, in genes.

    Returns:
        The distribution, with the covariance split into sigma and a shape of determinant 1 (section 4).

    Raises:
        ValueError: If the shapes disagree or there is no genome.
    """
    points, merit = np.asarray(genomes, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if points.ndim != 2 or merit.shape != (len(points),) or len(points) == 0:
        raise ValueError(f"Expected genomes (n, dim) and values (n,), n > 0, but got {points.shape} and {merit.shape}.")
    best = points[np.argsort(-merit, kind="stable")[: max(1, int(gamma * len(points)))]]
    mean = best.mean(axis=0)
    centred = best - mean
    covariance = alpha**2 * np.eye(points.shape[1]) + centred.T @ centred / len(best)
    variance = float(np.exp(np.linalg.slogdet(covariance)[1] / points.shape[1]))
    return Promising(mean, variance**0.5, covariance / variance, len(best))
