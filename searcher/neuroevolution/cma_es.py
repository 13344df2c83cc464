"""CMA-ES on weights, with the covariances that thousands of dimensions allow: diagonal, or the identity.

A full covariance of 19,210 dimensions takes 3 GB and hours, and hardly moves: see :func:`covariance_change`.
"""

from __future__ import annotations

from typing import Any, Literal

import cma
import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.neuroevolution.evolution import BestSoFar, checked_networks
from searcher.neuroevolution.network import Scorer, Weights


class CmaEs(BestSoFar):
    """pycma on the weights of a network; :meth:`advance` scores one generation.

    Args:
        scorer: The examples.
        first: Mean of the first distribution, shape ``(1, n)``.
        seed: Of all random choices.
        covariance: ``diagonal`` (sep-CMA-ES; Ros and Hansen 2008) or ``identity``: only the step size adapts.
        sigma0: First standard deviation.
        population: Networks per generation.

    Raises:
        ValueError: If ``first`` has the wrong shape.
    """

    def __init__(
        self,
        scorer: Scorer,
        first: Weights,
        *,
        seed: int,
        covariance: Literal["diagonal", "identity"] = "diagonal",
        sigma0: float = 0.01,
        population: int = 20,
    ) -> None:
        mean = checked_networks(first, scorer)
        if len(mean) != 1:
            raise ValueError(f"Expected one first network, the mean, but got {len(mean)}.")
        super().__init__(mean[0])
        self._scorer = scorer
        self._strategy = cma.CMAEvolutionStrategy(
            mean[0].astype(np.float64), sigma0, _options(population, covariance, np.random.default_rng(seed))
        )

    @override
    def advance(self) -> None:
        points = self._strategy.ask()
        networks = np.asarray(points, dtype=np.float32)
        accuracies = self._scorer.correct(networks).mean(axis=1)
        self._strategy.tell(points, (-accuracies).tolist())
        self.n_passes += len(points)
        leader = int(np.argmax(accuracies))
        self._offer(networks[leader], float(accuracies[leader]))


def covariance_change(dim: int, population: int, generations: int) -> float:
    """Bound on the share of a full covariance matrix that CMA-ES has replaced after some generations.

    Every update keeps ``1 - c_1 - c_mu`` of the matrix (Hansen 2016, "The CMA Evolution Strategy: A Tutorial",
    eq. 47, with the default rates of table 1 for positive weights).

    Example:
        >>> covariance_change(19_210, 20, 2_500) < 1e-4  # the M2N2 authors' 50,000 passes
        True
    """
    parents = population // 2
    weights = np.log((population + 1) / 2) - np.log(np.arange(1, parents + 1))
    mu_eff = float(weights.sum() ** 2 / (weights**2).sum())
    c_1 = 2 / ((dim + 1.3) ** 2 + mu_eff)  # eq. 57
    c_mu = 2 * (mu_eff - 2 + 1 / mu_eff) / ((dim + 2) ** 2 + mu_eff)  # eq. 58, alpha_cov = 2
    return 1.0 - (1.0 - c_1 - c_mu) ** generations


def _options(population: int, covariance: str, rng: np.random.Generator) -> dict[str, Any]:
    """Pycma's options: quiet, with a generator of our own, and without its own end."""

    def randn(*shape: int) -> NDArray[np.float64]:
        return rng.standard_normal(shape)

    adapts = {"CMA_on": 0} if covariance == "identity" else {}
    return {"popsize": population, "CMA_diagonal": True, "randn": randn, "seed": np.nan, "verbose": -9} | adapts
