"""Kernels that see means of tied genes: which means, and against the same kernel on the means as inputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from searcher.gaussian_process.features import averages, features, prior_dim
from searcher.gaussian_process.observations import Observations
from searcher.gaussian_process.posterior import Posterior, matern
from searcher.gaussian_process.surrogate import Surrogates, fit, negative_log_posterior

LEVELS = ((0, 1, 0, 1, 0, 1), (0, 1, 0, 1, 2, 3))


def observations(levels: tuple[tuple[int, ...], ...]) -> Observations:
    """Six genes of which the fitness knows the sum of one model's only."""
    rng = np.random.default_rng(3)
    genomes = rng.random((30, 6))
    fitness = np.sin(2 * genomes[:, ::2].sum(1, keepdims=True)) + 0.01 * rng.normal(size=(30, 1))
    return Observations(genomes, fitness, np.full((30, 1), 0.01), levels=levels)


def test_means_are_those_of_genes_that_move_together() -> None:
    weights = averages(LEVELS, 6)
    expected = [[1, 0, 1, 0, 1, 0], [0, 1, 0, 1, 0, 1], [1, 0, 1, 0, 0, 0], [0, 1, 0, 1, 0, 0]]
    np.testing.assert_array_equal(weights.T > 0, np.array(expected) > 0)
    np.testing.assert_allclose(weights.sum(0), 1.0)


@given(st.lists(st.lists(st.integers(0, 5), min_size=6, max_size=6), max_size=3))
def test_means_of_equal_genes_are_the_genes(levels: Sequence[Sequence[int]]) -> None:
    equal = torch.full((2, 6), 0.3, dtype=torch.float64)
    seen = features(equal, torch.tensor(averages(levels, 6)))
    torch.testing.assert_close(seen, torch.full_like(seen, 0.3))


def test_the_posterior_is_that_of_means_as_genes() -> None:
    tied = observations(LEVELS)
    seen = features(torch.tensor(tied.genomes), torch.tensor(averages(LEVELS, 6))).numpy()
    plain = Observations(seen, tied.fitness, tied.stderr)
    found = fit(tied)
    new = np.random.default_rng(0).random((7, 6))
    places = features(torch.tensor(new), torch.tensor(averages(LEVELS, 6))).numpy()
    for got, wanted in zip(Posterior(tied, found).fitness(new), Posterior(plain, found).fitness(places), strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-9)


@pytest.mark.parametrize("levels", [(), LEVELS])
def test_lengthscales_along_single_genes(levels: tuple[tuple[int, ...], ...]) -> None:
    """The prior correlation of two genomes that differ in one gene, for the trust region's shape."""
    posterior = Surrogates().of(observations(levels))
    places = torch.cat([torch.zeros(1, 6), torch.eye(6) * 0.4]).double()
    found = posterior.prior(places[:1], places[1:])[0, 0]
    expected = [matern(torch.zeros(1, 1).double(), torch.full((1, 1), 0.4).double() , length[None, None])[0, 0, 0]
                for length in posterior.lengthscales[0]]  # fmt: skip
    torch.testing.assert_close(found, torch.stack(expected))


def test_a_function_of_the_mean_is_learned_from_fewer_genomes() -> None:
    new = np.random.default_rng(1).random((200, 6))
    truth = np.sin(2 * new[:, ::2].sum(1))
    with_means, without = (
        np.abs(Surrogates().of(observations(levels)).fitness(new)[0][:, 0] - truth).mean() for levels in (LEVELS, ())
    )
    assert with_means < 0.6 * without


def test_the_prior_is_scaled_for_fewer_genes_where_levels_tie_them() -> None:
    assert prior_dim((), 6) == 6
    assert prior_dim(LEVELS, 18) == pytest.approx(6)  # of 2 and 18


def test_scaling_moves_the_prior_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    genomes, values = torch.tensor(rng.random((9, 5))), torch.tensor(rng.normal(size=9))
    parameters, noise = torch.tensor(rng.normal(size=7)), torch.full((9,), 0.1, dtype=torch.float64)
    found = [9 * negative_log_posterior(parameters, genomes, values, noise, dim).item() for dim in (0.0, 5.0, 2.5)]
    assert found[0] == found[1]
    priors = [stats.lognorm(np.sqrt(3), scale=np.exp(np.sqrt(2) + np.log(dim) / 2)) for dim in (5.0, 2.5)]
    whole, half = (prior.logpdf(np.exp(parameters[2:].numpy())).sum() for prior in priors)
    assert found[2] - found[1] == pytest.approx(whole - half)
