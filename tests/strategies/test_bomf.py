"""BOMF: fusion of checkpoints in the space that its documentation names."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from searcher.candidate import Genome, Trial
from searcher.errors import ConfigError
from searcher.gaussian_process.sobol import sobol_points
from searcher.multi_objective.hypervolume import hypervolume
from searcher.recipe import Recipe
from searcher.spaces.base import Space, SpaceContext
from searcher.spaces.model_wise import ModelWise
from searcher.strategies.base import Problem
from searcher.strategies.bayes_opt import BayesOpt
from searcher.strategies.bomf import Bomf
from tests.toy import LAYOUT

Floats = NDArray[np.float64]
NAMES = ("a", "b", "c")
BEST = np.array([0.5, 0.15, 0.35])


def checkpoints() -> Space:
    return ModelWise(SpaceContext(LAYOUT, NAMES, None, "linear", fixed={"normalize": False}), simplex=True)


def weights(space: Space, genome: Genome) -> Floats:
    return np.asarray(space.decode(genome).coefficients[0], dtype=np.float64)


def metric_and_loss(w: Floats) -> Floats:
    """Both best near each other, as those of one fine-tuning run, but not at the same place."""
    return np.array([0.9 - np.sum((w - BEST) ** 2), -0.3 - 2.0 * np.sum((w - BEST + np.array([0.05, 0, -0.05])) ** 2)])


def problem(n_objectives: int = 2, *, seed: int = 0, budget: int = 32) -> Problem:
    names = ("accuracy", "loss", "f1")[:n_objectives]
    return Problem(checkpoints().names, names, budget, seed)


def known(space: Space) -> list[Trial]:
    """The single checkpoints and their average, as a run evaluates them first."""
    rows = [*np.eye(3), np.full(3, 1 / 3)]
    settings = {"normalize": False}
    recipes = [Recipe("linear", NAMES, None, np.array([0, 30]), np.array([row]), settings) for row in rows]
    return [Trial(i, space.encode(r), (), metric_and_loss(rows[i])) for i, r in enumerate(recipes)]


def run(strategy: Bomf, evaluate: Callable[[Genome], Floats], n: int, first: int = 4) -> Floats:
    found = []
    for number in range(first, first + n):
        genome = strategy.ask(1)[0].genome
        found.append(evaluate(genome))
        strategy.tell([Trial(number, genome, (), found[-1], np.full(2, 0.001))])
    return np.array(found)


def test_the_space_has_no_redundant_gene_and_holds_every_checkpoint_and_the_average() -> None:
    space = checkpoints()
    assert len(space.names) == 2
    for trial, expected in zip(known(space), [*np.eye(3), np.full(3, 1 / 3)], strict=True):
        assert trial.genome is not None
        np.testing.assert_allclose(weights(space, trial.genome), expected, atol=1e-12)
    genomes = np.random.default_rng(0).uniform(0.05, 0.95, (200, 2))
    merges = np.array([weights(space, genome) for genome in genomes])
    np.testing.assert_allclose(merges.sum(axis=1), 1.0)
    apart = np.abs(genomes[:, None] - genomes).max(axis=2) + np.eye(200)
    assert (np.abs(merges[:, None] - merges).max(axis=2) + np.eye(200) > 0.01 * apart).all()  # no ridge


def test_as_many_sobol_points_as_checkpoints_come_first() -> None:
    strategy = Bomf(problem())
    strategy.tell(known(checkpoints()))
    first = [strategy.ask(1)[0].genome for _ in range(3)]
    seed = int(problem().rng().integers(2**31))
    np.testing.assert_array_equal(first, sobol_points(2, 3, seed))
    assert "3 Sobol points" in strategy.describe()


@pytest.mark.slow
def test_a_quadratic_of_three_checkpoints_is_found_and_better_than_by_sobol_points() -> None:
    space = checkpoints()
    best, even = [], []
    for seed in range(10):
        strategy = Bomf(problem(seed=seed))
        strategy.tell(known(space))
        best.append(run(strategy, lambda g: metric_and_loss(weights(space, g)), 28)[:, 0].max())
        points = sobol_points(2, 28, seed)
        even.append(max(metric_and_loss(weights(space, g))[0] for g in points))
    gap = 0.9 - metric_and_loss(np.full(3, 1 / 3))[0]
    assert 0.9 - np.median(best) < 0.01 * gap
    assert np.median(best) > np.median(even)


def test_the_hypervolume_over_the_worst_values_grows() -> None:
    space = checkpoints()
    strategy = Bomf(problem())
    told = known(space)
    strategy.tell(told)
    found = run(strategy, lambda g: metric_and_loss(weights(space, g)), 10)
    start = np.array([t.fitness for t in told])
    scale = np.concatenate([start, found]).min(axis=0), np.ptp(np.concatenate([start, found]), axis=0)
    volumes = [hypervolume((np.concatenate([start, found[:n]]) - scale[0]) / scale[1], np.zeros(2)) for n in range(11)]
    assert (np.diff(volumes) >= 0).all()
    assert volumes[-1] > volumes[0]


def test_scales_of_the_objectives_do_not_matter() -> None:
    """Objectives scaled to [0, 1] have the same hypervolume improvements up to a factor."""
    space, genomes = checkpoints(), []
    for unit in (1.0, 1024.0):
        strategy = Bomf(problem())
        factor = np.array([1.0, unit])
        strategy.tell(
            [Trial(t.candidate, t.genome, (), factor * t.fitness) for t in known(space) if t.fitness is not None]
        )
        for number in range(4, 9):
            genome = strategy.ask(1)[0].genome
            strategy.tell([Trial(number, genome, (), factor * metric_and_loss(weights(space, genome)))])
        genomes.append(genome)
    np.testing.assert_allclose(genomes[0], genomes[1], atol=0.02)


def test_the_pick_is_the_front_member_that_the_posterior_likes_best() -> None:
    space, rng = checkpoints(), np.random.default_rng(1)
    strategy = Bomf(problem())
    assert strategy.pick() is None
    genomes = rng.random((40, 2))
    truth = np.array([metric_and_loss(weights(space, g)) for g in genomes])
    noisy = truth + 0.05 * rng.normal(size=truth.shape)
    strategy.tell([Trial(i, g, (), f, np.full(2, 0.05)) for i, (g, f) in enumerate(zip(genomes, noisy, strict=True))])
    strategy.tell([Trial(40, np.zeros(2)), Trial(41, None, (), np.ones(2))])
    picked = strategy.pick()
    assert picked is not None
    assert not ((noisy > noisy[picked]).all(axis=1)).any()
    assert truth[picked, 0] >= truth[int(np.argmax(noisy[:, 0])), 0]
    assert f"candidate {picked}" in strategy.describe()
    by_loss = Bomf(problem(), metric="loss")
    assert "loss" in by_loss.describe() or by_loss.pick() is None


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="accuracy, loss") as caught:
        Bomf(problem(), metric="f1")
    assert len(str(caught.value).splitlines()) == 3
    with pytest.raises(ConfigError, match="1 or more Sobol"):
        Bomf(problem(), initial=0)
    with pytest.raises(ConfigError, match="Unknown bounded_by"):
        BayesOpt(problem(), bounded_by="best")  # type: ignore[arg-type]
