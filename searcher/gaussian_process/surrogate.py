"""Fits the hyperparameters of one independent Gaussian process per objective.

Matern-5/2 kernels with one lengthscale per gene and the dimension-scaled log-normal prior of Hvarfner, Hellsten and
Nardi 2024, "Vanilla Bayesian optimization performs great in high dimensions", which expects smoother functions the
more genes there are. Inputs are the genes and means of tied ones (:mod:`searcher.gaussian_process.features`). Model, priors and
start are those of BoTorch's ``SingleTaskGP``, whose marginal likelihood is the reference in the tests.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from linear_operator.utils.cholesky import psd_safe_cholesky
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch.distributions import LogNormal

from searcher.gaussian_process.features import averages, features, prior_dim
from searcher.gaussian_process.isolation import isolated
from searcher.gaussian_process.observations import Observations, standardize
from searcher.gaussian_process.posterior import JITTER, Hyperparameters, Posterior, matern

FIT_STEPS = 100  # of L-BFGS; later ones change lengthscales by less than their uncertainty
LENGTHSCALES = (0.025, 1e3)  # of the cube's side; no objective is rougher, and none beyond is told from constant
NOISE = (1e-4, 10.0)  # variances, standardised
NOISE_PRIOR = (-4.0, 1.0)  # log-normal


class Surrogates:
    """Posteriors given a growing list of observations.

    Hyperparameters are fitted anew each time the list has grown by a tenth, always from the same start, so that
    a posterior is a function of the observations and not of the posteriors before it; in between the new
    observations are only conditioned on.
    """

    def __init__(self) -> None:
        self._fitted: tuple[int, Hyperparameters] | None = None
        self._latest: Posterior | None = None

    def of(self, observations: Observations) -> Posterior:
        """The posterior given at least one observation; those of the last call must be the first of these."""
        if self._latest is None or len(self._latest.genomes) != len(observations):
            n = n_fitted(len(observations))
            if self._fitted is None or self._fitted[0] != n:
                self._fitted = n, fit(observations.first(n))
            with isolated(0), torch.no_grad():
                self._latest = Posterior(observations, self._fitted[1])
        return self._latest


def mean_fitness(posterior: Posterior, genomes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Posterior means of the fitness in its own units, shape ``(p, m)``, at genomes of shape ``(p, dim)``."""
    with isolated(0), torch.no_grad():
        return posterior.fitness(genomes)[0]


def n_fitted(n: int) -> int:
    """To how many of ``n`` observations the hyperparameters are fitted."""
    k = 1
    while (following := k + max(1, k // 10)) <= n:
        k = following
    return k


def fit(observations: Observations) -> Hyperparameters:
    """The most probable hyperparameters; a function of the observations alone."""
    outcomes = standardize(observations)
    genomes = torch.tensor(observations.genomes, dtype=torch.float64)
    seen = features(genomes, torch.tensor(averages(observations.levels, genomes.shape[1])))
    dim = prior_dim(observations.levels, seen.shape[1])
    columns = zip(outcomes.values.T, outcomes.variances.T, strict=True)
    with isolated(0):
        found = np.array([_fit_one(seen, values, variances, dim) for values, variances in columns])
    return Hyperparameters(*(torch.tensor(part) for part in (np.exp(found[:, 2:]), found[:, 1], np.exp(found[:, 0]))))


def negative_log_posterior(
    parameters: torch.Tensor, genomes: torch.Tensor, values: torch.Tensor, variances: torch.Tensor, dim: float = 0
) -> torch.Tensor:
    """Minus the log of marginal likelihood times priors, per observation.

    Args:
        parameters: Log noise variance, prior mean, log lengthscales; shape ``(2 + dim,)``.
        genomes: Shape ``(n, dim)``.
        values: Standardised, shape ``(n,)``.
        variances: Of the noise, shape ``(n,)``; nan where the one in ``parameters`` is to be used, else that is idle.
        dim: Number of genes that the prior of the lengthscales is scaled for; 0 for all.
    """
    noise, lengthscales = parameters[0].exp(), parameters[2:].exp()
    is_inferred = bool(variances.isnan().any())
    diagonal = noise.expand(len(values)) if is_inferred else variances
    root = psd_safe_cholesky(matern(genomes, genomes, lengthscales[None])[0] + diagonal.diag(), jitter=JITTER)
    residuals = torch.linalg.solve_triangular(root, (values - parameters[1])[:, None], upper=False)
    found = 0.5 * residuals.square().sum() + root.diagonal().log().sum() + 0.5 * len(values) * math.log(2 * math.pi)
    found = found - _lengthscale_prior(dim or genomes.shape[1]).log_prob(lengthscales).sum()
    if is_inferred:
        found = found - LogNormal(*NOISE_PRIOR).log_prob(noise)
    return found / len(values)


def _fit_one(
    genomes: torch.Tensor, values: NDArray[np.float64], variances: NDArray[np.float64], dim: float
) -> NDArray[np.float64]:
    """Parameters as of :func:`negative_log_posterior`, from the modes of the priors."""
    targets, noise = torch.tensor(values), torch.tensor(variances)

    def loss(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        parameters = torch.tensor(point, requires_grad=True)
        found = negative_log_posterior(parameters, genomes, targets, noise, dim)
        (slopes,) = torch.autograd.grad(found, parameters)
        return found.item(), slopes.numpy()

    n, mode = genomes.shape[1], math.log(float(_lengthscale_prior(dim).mode))
    start = np.array([NOISE_PRIOR[0] - NOISE_PRIOR[1] ** 2, 0.0, *[mode] * n])
    bounds = [np.log(NOISE), (None, None), *[np.log(LENGTHSCALES)] * n]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": FIT_STEPS}).x
    return np.asarray(found if np.isfinite(found).all() else start, dtype=np.float64)


def _lengthscale_prior(dim: float) -> LogNormal:
    return LogNormal(torch.tensor(math.sqrt(2.0) + 0.5 * math.log(dim), dtype=torch.float64), math.sqrt(3.0))
