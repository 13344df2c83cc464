"""Log odds: closed forms, the way back, and what the posterior of an accuracy gains from them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from searcher.gaussian_process.goal import Goal
from searcher.gaussian_process.link import MARGIN, are_fractions, log_odds, log_odds_stderr
from searcher.gaussian_process.observations import Observations, standardize
from searcher.gaussian_process.posterior import PosteriorSamples
from searcher.gaussian_process.proposal import Known, propose
from searcher.gaussian_process.surrogate import Surrogates

fractions = arrays(np.float64, st.tuples(st.integers(2, 12), st.integers(1, 3)), elements=st.floats(0, 1))


def curve(genomes: np.ndarray) -> np.ndarray:
    """An accuracy that is flat at 0 and 1 and steep between, and a loss; shape ``(n, 2)``."""
    accuracy = 1 / (1 + np.exp(-25 * (genomes[:, 0] - 0.5)))
    return np.column_stack([accuracy, -3.0 + genomes[:, 1]])


def observed(n: int, *, links: bool, seed: int = 0) -> Observations:
    genomes = np.random.default_rng(seed).random((n, 2))
    return Observations(genomes, curve(genomes), np.full((n, 2), 0.01), links)


@given(fractions, st.data())
def test_standardised_fitness_comes_back(fitness: np.ndarray, data: st.DataObject) -> None:
    stderr = np.full(fitness.shape, data.draw(st.sampled_from([np.nan, 0.01])))
    found = standardize(Observations(np.zeros((len(fitness), 1)), fitness, stderr, links=True))
    back = found.link.fitness(torch.tensor(found.values)).numpy() * found.scale + found.shift
    is_linked = are_fractions(fitness)
    np.testing.assert_allclose(back[:, is_linked], fitness[:, is_linked], atol=1e-9)
    np.testing.assert_allclose(found.values.mean(axis=0), 0, atol=1e-9)


def test_standard_errors_follow_the_slope() -> None:
    p, step = np.array([0.0, 0.2, 0.5, 0.99, 1.0]), 1e-6
    slope = (log_odds(p + step) - log_odds(p - step)) / (2 * step)
    np.testing.assert_allclose(log_odds_stderr(p, np.full(5, 0.03)), 0.03 * slope, rtol=1e-6)
    assert log_odds(np.array([0.5]))[0] == 0
    assert log_odds(np.array([1.0]))[0] == pytest.approx(np.log((1 + MARGIN) / MARGIN))


def test_slopes_are_derivatives() -> None:
    link = standardize(observed(20, links=True)).link
    places = torch.linspace(-2, 2, 18, dtype=torch.float64).reshape(9, 2).requires_grad_()
    (expected,) = torch.autograd.grad(link.fitness(places).sum(), places)
    torch.testing.assert_close(link.slopes(places.detach()), expected)


@pytest.mark.parametrize("column", [[0.2, 1.3], [-0.1, 0.5], [-0.9, -0.2], [0.4, 0.4]])
def test_other_scores_are_modelled_as_they_are(column: list[float]) -> None:
    fitness = np.array(column)[:, None]
    plain, linked = (
        standardize(Observations(np.zeros((2, 1)), fitness, np.full((2, 1), 0.1), links)) for links in (False, True)
    )
    assert not linked.link.is_fraction.any()
    np.testing.assert_array_equal(linked.values, plain.values)
    np.testing.assert_array_equal(linked.variances, plain.variances)
    values = torch.tensor(linked.values)
    assert linked.link.fitness(values) is values


def test_an_accuracy_is_predicted_better_and_a_loss_as_before() -> None:
    new = np.random.default_rng(1).random((200, 2))
    errors = {}
    for links in (False, True):
        median, deviation = Surrogates().of(observed(25, links=links)).fitness(new)
        errors[links] = np.sqrt(np.square(median - curve(new)).mean(axis=0))
        assert (deviation >= 0).all()
        assert (median[:, 0] > -MARGIN).all() or not links
    assert errors[True][0] < 0.5 * errors[False][0]
    assert errors[True][1] == pytest.approx(errors[False][1], rel=1e-6)


def test_samples_are_fitness_in_standard_units() -> None:
    posterior = Surrogates().of(observed(12, links=True))
    samples = PosteriorSamples(posterior, posterior.genomes[:4], 256, 3)
    found = samples.at_known.numpy() * posterior.outcomes.scale + posterior.outcomes.shift
    assert (found[..., 0] > -MARGIN).all()
    assert (found[..., 0] < 1 + MARGIN).all()
    np.testing.assert_allclose(np.median(found, axis=0), curve(posterior.genomes[:4].numpy()), atol=0.02)
    new = posterior.genomes[4:6]
    assert samples.at(new).shape == (256, 2, 2)


def test_bounds_are_those_of_the_fitness() -> None:
    posterior = Surrogates().of(observed(25, links=True))
    goal = Goal("sum", (0.0, 1.0), at_least=((0, 0.8),))
    nothing = np.zeros((0, 2))
    box = np.array([[0.0, 0.0], [0.9, 0.98]])
    found = propose(posterior, goal, Known(nothing, nothing), box, seed=2)
    assert curve(found[None])[0, 0] > 0.75  # the sum alone does not care for the first gene
    assert found[1] > 0.9
