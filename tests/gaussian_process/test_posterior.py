"""The posterior and its fit against BoTorch and GPyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.models.utils.gpytorch_modules import get_covar_module_with_dim_scaled_prior

from searcher.gaussian_process.observations import Observations, standardize
from searcher.gaussian_process.posterior import Hyperparameters, Posterior, PosteriorSamples
from searcher.gaussian_process.surrogate import Surrogates, fit, n_fitted, negative_log_posterior

gpytorch: Any = pytest.importorskip("gpytorch")


def observations(n: int = 25, dim: int = 4) -> Observations:
    """Two objectives: the noise of the first is known, that of the second is not; one genome comes twice."""
    rng = np.random.default_rng(0)
    genomes = rng.random((n, dim))
    genomes[3] = genomes[4]
    fitness = np.stack([np.sin(3 * genomes).sum(1), (genomes**2).sum(1)], axis=1) + 0.1 * rng.normal(size=(n, 2))
    return Observations(genomes, fitness, np.stack([np.full(n, 0.1), np.full(n, np.nan)], axis=1))


def botorch_model(of: Observations, objective: int) -> Any:
    outcomes = standardize(of)
    variances = torch.tensor(outcomes.variances[:, objective, None])
    return SingleTaskGP(
        torch.tensor(of.genomes),
        torch.tensor(outcomes.values[:, objective, None]),
        None if variances.isnan().any() else variances,
        covar_module=get_covar_module_with_dim_scaled_prior(of.genomes.shape[1], use_rbf_kernel=False),
        outcome_transform=None,
    )


@pytest.mark.parametrize("objective", [0, 1])
def test_likelihood_and_priors_are_botorchs(objective: int) -> None:
    of = observations()
    gp, outcomes = botorch_model(of, objective), standardize(of)
    parameters = torch.tensor([np.log(0.02), 0.1, *np.log([0.3, 0.5, 0.7, 2.0])])
    gp.covar_module.lengthscale = parameters[2:].exp()
    gp.mean_module.constant.data.fill_(0.1)
    if objective == 1:
        gp.likelihood.noise = 0.02
    gp.train()
    expected = -gpytorch.mlls.ExactMarginalLogLikelihood(gp.likelihood, gp)(
        gp(torch.tensor(of.genomes)), gp.train_targets
    )
    values, variances = torch.tensor(outcomes.values[:, objective]), torch.tensor(outcomes.variances[:, objective])
    found = negative_log_posterior(parameters, torch.tensor(of.genomes), values, variances)
    assert found.item() == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.parametrize("objective", [0, 1])
def test_fit_and_posterior_are_botorchs(objective: int) -> None:
    of = observations()
    gp, found = botorch_model(of, objective), fit(of)
    fit_gpytorch_mll(gpytorch.mlls.ExactMarginalLogLikelihood(gp.likelihood, gp))
    np.testing.assert_allclose(found.lengthscales[objective], gp.covar_module.lengthscale.detach()[0], rtol=1e-2)
    new = torch.rand(7, 4, dtype=torch.float64)
    expected, posterior = gp.posterior(new), Posterior(of, found)
    np.testing.assert_allclose(posterior.mean(new)[objective], expected.mean.detach()[:, 0], atol=2e-3)
    variances = posterior.covariance(new).diagonal(dim1=1, dim2=2)[objective]
    np.testing.assert_allclose(variances, expected.variance.detach()[:, 0], rtol=1e-2)


def test_samples_have_the_posterior_mean_and_covariance() -> None:
    posterior = Surrogates().of(observations())
    known, new = torch.rand(5, 4, dtype=torch.float64), torch.rand(2, 4, dtype=torch.float64)
    samples = PosteriorSamples(posterior, known, 8192, 0)
    joint = torch.cat([samples.at_known, samples.at(new)[:, :1]], dim=1)  # the new ones are joint with the known only
    places = torch.cat([known, new[:1]])
    np.testing.assert_allclose(joint.mean(0).mT, posterior.mean(places), atol=2e-3)
    for objective in range(2):
        found = torch.cov(joint[:, :, objective].mT)
        np.testing.assert_allclose(found, posterior.covariance(places)[objective], atol=1e-2)


def test_samples_at_a_known_genome_are_those_already_drawn() -> None:
    posterior = Surrogates().of(observations())
    known = torch.rand(5, 4, dtype=torch.float64)
    samples = PosteriorSamples(posterior, known, 64, 0)
    np.testing.assert_allclose(samples.at(known), samples.at_known, atol=1e-4)


def test_observed_noise_is_used() -> None:
    """An exact observation pins the posterior, a noisy one of the same value hardly moves it."""
    genomes, fitness = np.array([[0.2], [0.8]]), np.array([[-1.0], [1.0]])
    priors = Hyperparameters(torch.full((1, 1), 0.2), torch.zeros(1), torch.full((1,), 0.01))
    priors = Hyperparameters(*(part.double() for part in (priors.lengthscales, priors.constants, priors.noise)))
    exact, vague = (
        Posterior(Observations(genomes, fitness, np.array([[stderr], [1e-3]])), priors).fitness(genomes)
        for stderr in (1e-3, 10.0)
    )
    assert exact[0][0, 0] == pytest.approx(-1.0, abs=1e-2)
    assert abs(vague[0][0, 0]) < 0.2
    assert exact[1][0, 0] < 0.05
    assert vague[1][0, 0] > 0.9
    assert vague[0][1, 0] == pytest.approx(1.0, abs=1e-2)


def test_unknown_noise_is_inferred() -> None:
    rng = np.random.default_rng(1)
    genomes = rng.random((60, 1))
    for stderr in (0.05, 0.5):
        fitness = np.sin(6 * genomes) + stderr * rng.normal(size=(60, 1))
        for unknown in (np.nan, 0.0):
            of = Observations(genomes, fitness, np.full((60, 1), unknown))
            found = np.sqrt(fit(of).noise[0].item()) * standardize(of).scale[0]
            assert 0.6 * stderr < found < 1.6 * stderr


@pytest.mark.parametrize("value", [0.0, 0.25, -1e6])
def test_constant_outcomes_and_duplicates(value: float) -> None:
    genomes = np.repeat(np.random.default_rng(0).random((3, 2)), 4, axis=0)
    for stderr in (0.0, np.nan, 1e-9, 0.1):
        of = Observations(genomes, np.full((12, 1), value), np.full((12, 1), stderr))
        mean, deviation = Surrogates().of(of).fitness(genomes)
        np.testing.assert_allclose(mean, value, atol=1e-3)
        assert np.isfinite(deviation).all()


def test_hyperparameters_are_fitted_when_a_tenth_is_new_and_do_not_depend_on_the_past() -> None:
    counts = [n_fitted(n) for n in range(1, 400)]
    assert all(n_fitted(n) <= n < 1.12 * n_fitted(n) + 1 for n in range(1, 400))
    assert counts == sorted(counts)
    of, growing = observations(33), Surrogates()
    for n in range(1, 34):
        last = growing.of(of.first(n))
    places = torch.rand(4, 4, dtype=torch.float64)
    assert torch.equal(last.mean(places), Surrogates().of(of).mean(places))
