"""Joint posterior samples of all objectives at known and at new genomes.

The algebra of exact Gaussian processes, written out for all objectives at once: the acquisition function is computed a
few hundred times per proposal on a handful of genomes, where the layers of a general library cost more
than the arithmetic. BoTorch's own posterior is the reference in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from botorch.utils.sampling import draw_sobol_normal_samples
from linear_operator.utils.cholesky import psd_safe_cholesky
from numpy.typing import NDArray

from searcher.gaussian_process.features import averages, features
from searcher.gaussian_process.observations import Observations, standardize

JITTER = 1e-8
MIN_VARIANCE = 1e-12  # of a genome given the samples at its neighbours; the root needs a slope


def matern(a: torch.Tensor, b: torch.Tensor, lengthscales: torch.Tensor) -> torch.Tensor:
    """Matern-5/2 kernel of genomes ``(p, dim)`` and ``(q, dim)`` for lengthscales ``(m, dim)``, shape ``(m, p, q)``."""
    left, right = a / lengthscales[:, None], b / lengthscales[:, None]
    squares = left.square().sum(-1)[..., None] + right.square().sum(-1)[:, None] - 2 * left @ right.mT
    distances = (5 * squares.clamp_min(1e-20)).sqrt()  # clamped: the root needs a slope at 0
    return (1 + distances + distances.square() / 3) * (-distances).exp()


@dataclass(frozen=True, eq=False)
class Hyperparameters:
    """What is fitted, in standardised units.

    Args:
        lengthscales: Per objective and gene or mean of tied genes, shape ``(m, dim + k)``, in units of the cube's side.
        constants: Prior means, shape ``(m,)``.
        noise: Inferred noise variances, shape ``(m,)``; idle where the noise is observed.
    """

    lengthscales: torch.Tensor
    constants: torch.Tensor
    noise: torch.Tensor


class Posterior:
    """Exact posterior of independent Gaussian processes with Matern-5/2 kernels, in standardised units.

    Args:
        observations: What it is conditioned on, at least one.
        hyperparameters: Of the prior.
    """

    def __init__(self, observations: Observations, hyperparameters: Hyperparameters) -> None:
        self.outcomes = standardize(observations)
        self.genomes = torch.tensor(observations.genomes, dtype=torch.float64)
        """Shape ``(n, dim)``."""
        self._averages = torch.tensor(averages(observations.levels, observations.genomes.shape[1]))
        self._lengthscales = hyperparameters.lengthscales
        self._constants = hyperparameters.constants[:, None]
        observed = torch.tensor(self.outcomes.variances.T)
        noise = torch.where(observed.isnan(), hyperparameters.noise[:, None], observed)
        prior = self.prior(self.genomes, self.genomes) + torch.diag_embed(noise)
        self._root = psd_safe_cholesky(prior, jitter=JITTER)  # (m, n, n)
        residuals = torch.tensor(self.outcomes.values.T) - self._constants
        self._weights = torch.cholesky_solve(residuals[..., None], self._root)  # (m, n, 1)

    @property
    def lengthscales(self) -> torch.Tensor:
        """Along each gene alone, its shares of means included; shape ``(m, dim)``."""
        dim = self.genomes.shape[1]
        rates = self._lengthscales.square().reciprocal()
        return (rates[:, :dim] + rates[:, dim:] @ self._averages.square().mT).rsqrt()

    def prior(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Prior covariance of genomes ``(p, dim)`` and ``(q, dim)``, shape ``(m, p, q)``."""
        return matern(features(a, self._averages), features(b, self._averages), self._lengthscales)

    def mean(self, genomes: torch.Tensor) -> torch.Tensor:
        """Posterior mean at genomes ``(p, dim)``, shape ``(m, p)``."""
        return self._constants + (self.prior(genomes, self.genomes) @ self._weights)[..., 0]

    def middle(self, genomes: torch.Tensor) -> torch.Tensor:
        """Standardised fitness at the posterior mean of what is modelled, its median, shape ``(p, m)``."""
        return self.outcomes.link.fitness(self.mean(genomes).mT)

    def halves(self, genomes: torch.Tensor) -> torch.Tensor:
        """``H`` of shape ``(m, n, p)``, so that the observations lower the prior covariance by ``H^T H``."""
        return torch.linalg.solve_triangular(self._root, self.prior(self.genomes, genomes), upper=False)

    def covariance(self, genomes: torch.Tensor) -> torch.Tensor:
        """Posterior covariance of genomes ``(p, dim)``, shape ``(m, p, p)``."""
        halves = self.halves(genomes)
        return self.prior(genomes, genomes) - halves.mT @ halves

    def fitness(self, genomes: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Median and standard deviation of the noiseless fitness in its own units, each ``(p, m)``; the latter to first order."""
        places = torch.tensor(genomes, dtype=torch.float64)
        deviation = (1.0 - self.halves(places).square().sum(-2)).clamp_min(0.0).sqrt().mT
        slopes = self.outcomes.link.slopes(self.mean(places).mT)
        median = self.middle(places).numpy() * self.outcomes.scale + self.outcomes.shift
        return median, (deviation * slopes).numpy() * self.outcomes.scale


class PosteriorSamples:
    """Samples of the standardised fitness at fixed known genomes, and at any new genome jointly with them.

    Args:
        posterior: What is sampled.
        known: Shape ``(r, dim)``.
        n: Number of samples.
        seed: Of the quasi-random base samples.
    """

    def __init__(self, posterior: Posterior, known: torch.Tensor, n: int, seed: int) -> None:
        self._posterior, self._known = posterior, known
        with torch.no_grad():
            mean, self._halves = posterior.mean(known), posterior.halves(known)
            m, r = mean.shape
            base = draw_sobol_normal_samples(m * (r + 1), n, dtype=torch.float64, seed=seed).reshape(n, m, r + 1)
            base = base.permute(1, 2, 0)  # (m, r + 1, n)
            self._base = base[:, :1]
            covariance = posterior.prior(known, known) - self._halves.mT @ self._halves
            self._root = psd_safe_cholesky(covariance, jitter=JITTER)
            self._solved = torch.linalg.solve_triangular(self._root.mT, base[:, 1:], upper=True)
            known_samples = mean[..., None] + self._root @ base[:, 1:]
        self.at_known = posterior.outcomes.link.fitness(known_samples.permute(2, 1, 0))
        """Shape ``(n, r, m)``."""

    def at(self, genomes: torch.Tensor) -> torch.Tensor:
        """Samples at genomes ``(b, dim)``, each joint with the known ones only, shape ``(n, b, m)``; differentiable."""
        halves = self._posterior.halves(genomes)
        cross = self._posterior.prior(genomes, self._known) - halves.mT @ self._halves  # (m, b, r)
        own = torch.linalg.solve_triangular(self._root, cross.mT, upper=False)
        variance = 1.0 - halves.square().sum(-2) - own.square().sum(-2)  # (m, b), given the samples at the known
        mean = self._posterior.mean(genomes)[..., None] + cross @ self._solved
        samples = mean + variance.clamp_min(MIN_VARIANCE).sqrt()[..., None] * self._base
        return self._posterior.outcomes.link.fitness(samples.permute(2, 1, 0))
