"""MAP: how many evaluations it needs, what it proposes, what it notices, and what it refuses."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from searcher.candidate import Genome, Trial
from searcher.errors import ConfigError
from searcher.multi_objective.hypervolume import hypervolume
from searcher.strategies.base import Problem
from searcher.strategies.map import Map

Floats = NDArray[np.float64]
Function = Callable[[Genome], Floats]


def problem(n_objectives: int = 2, *, dim: int = 4, budget: int | None = 100, seed: int = 0) -> Problem:
    return Problem(tuple(f"g{i}" for i in range(dim)), tuple(f"o{i}" for i in range(n_objectives)), budget, seed)


def spheres(genome: Genome) -> Floats:
    """Two concave quadratics; the front is the segment between (0.3, ..., 0.3) and (0.6, ..., 0.6)."""
    return -np.array([np.sum((genome - 0.3) ** 2), np.sum((genome - 0.6) ** 2)])


def gap_to_front(genomes: Floats) -> Floats:
    """How much longer than the segment the way between its ends is over each genome, shape ``(n,)``; 0 on the front."""
    return np.array([np.sqrt(-spheres(genome)).sum() - 0.6 for genome in genomes])


def run(strategy: Map, function: Function, n: int, *, noise: float = 0.0, stderr: float | None = None) -> Floats:
    """Genomes proposed one after the other, shape ``(n, dim)``."""
    rng, found = np.random.default_rng(7), []
    for number in range(n):
        genome = strategy.ask(1)[0].genome
        fitness = function(genome)
        known = np.full(fitness.shape, noise or np.nan if stderr is None else stderr)
        strategy.tell([Trial(number, genome, (), fitness + noise * rng.normal(size=fitness.shape), known)])
        found.append(genome)
    return np.array(found)


def test_the_number_of_evaluations_is_stated_before_the_run() -> None:
    assert "15 unknowns per objective; 30 scored points" in Map(problem()).describe()
    assert "20 scored points" in Map(problem(budget=60)).describe()
    assert "instead of 30, because the budget is 60" in Map(problem(budget=60)).describe()
    assert "separable" in Map(problem(dim=12, budget=60)).describe()
    assert "only spread evenly" in Map(problem(dim=12, budget=20)).describe()


def test_baselines_inside_the_box_are_points_of_the_fit() -> None:
    strategy = Map(problem(), verify=5)
    told = np.random.default_rng(0).random((12, 4))
    strategy.tell([Trial(0, None, (), np.zeros(2)), *(Trial(i, g, (), spheres(g)) for i, g in enumerate(told, 1))])
    genomes = run(strategy, spheres, 23)
    assert (gap_to_front(genomes[18:]) < 1e-2).all()  # 12 + 18 = 30 points, then the front
    assert (gap_to_front(genomes[:18]) > 0.05).mean() > 0.8


def test_the_front_of_two_quadratics_is_proposed() -> None:
    strategy = Map(problem())
    genomes = run(strategy, spheres, 50)
    verified = genomes[30:]
    assert (gap_to_front(verified) < 1e-2).all()
    for end in (0.3, 0.6):
        assert np.abs(verified - end).max(axis=1).min() < 1e-3
    assert "0 of 40 measurements beyond" in strategy.describe()
    assert "leave-one-out R2 o0 1.00, o1 1.00" in strategy.describe()
    assert "shrunk" not in strategy.describe()


def test_no_genome_outside_the_box_is_proposed() -> None:
    for settings in ({"box": (0.1, 0.5)}, {"box": (0.1, 0.5), "variant": "bayesian"}):
        strategy = Map(problem(), **settings)
        strategy.tell([Trial(0, np.full(4, 0.9), (), spheres(np.full(4, 0.9)))])
        genomes = run(strategy, spheres, 60)
        assert genomes.min() >= 0.1
        assert genomes.max() <= 0.5


def test_measurements_beyond_two_standard_errors_are_noticed_and_the_box_shrinks() -> None:
    def rippled(genome: Genome) -> Floats:
        return np.asarray(spheres(genome) - 0.3 * np.cos(9 * genome).sum())

    strategy = Map(problem(budget=100))
    run(strategy, rippled, 80, noise=0.001)
    text = strategy.describe()
    assert "box shrunk" in text
    found = re.search(r"(\d+) of (\d+) measurements beyond", text)
    assert found is not None
    assert int(found[1]) > int(found[2]) / 4


def test_noise_alone_does_not_shrink_the_box() -> None:
    strategy = Map(problem(budget=100))
    run(strategy, spheres, 90, noise=0.05)
    assert "shrunk" not in strategy.describe()


def test_a_wide_box_is_survived() -> None:
    """Section d.3 of the method's notes: a good fit to the bad region, which the box must leave."""

    def cliff(genome: Genome) -> Floats:
        return np.array([np.exp(-30 * np.sum((genome - c) ** 2)) for c in (0.15, 0.25)])

    volumes = []
    for seed in range(3):
        genomes = run(Map(problem(dim=3, budget=80, seed=seed)), cliff, 80, noise=1e-4)
        volumes.append(hypervolume(np.array([cliff(g) for g in genomes]), np.zeros(2)))
    t = np.linspace(0.15, 0.25, 50)[:, None] * np.ones(3)
    assert np.median(volumes) > 0.9 * hypervolume(np.array([cliff(g) for g in t]), np.zeros(2))


def test_one_objective_finds_its_maximum_at_once() -> None:
    def function(genome: Genome) -> Floats:
        return -np.array([(genome - 0.37) @ np.array([[2.0, 0.5], [0.5, 1.0]]) @ (genome - 0.37)])

    genomes = run(Map(problem(1, dim=2, budget=60)), function, 13)
    np.testing.assert_allclose(genomes[12], 0.37, atol=1e-8)


def test_links() -> None:
    def accuracy(genome: Genome) -> Floats:
        return 1 / (1 + np.exp(-2 - 3 * spheres(genome)))

    distances = []
    for link in ("sigmoid", "none"):
        strategy = Map(problem(), link={"o0": link, "o1": link})
        distances.append(gap_to_front(run(strategy, accuracy, 35)[30:]).max())
    assert distances[0] < 0.01 < distances[1]


def test_a_link_that_the_values_cannot_have_is_refused() -> None:
    strategy = Map(problem(), link="sigmoid")
    with pytest.raises(ConfigError, match=r"fitness of -1 in o1") as caught:
        strategy.tell([Trial(5, np.zeros(4), (), np.array([0.3, -1.0]))])
    assert len(str(caught.value).splitlines()) == 3


def test_failures_and_repetitions_only_cost_evaluations() -> None:
    strategy, genomes = Map(problem()), []
    for number in range(60):
        genome = strategy.ask(1)[0].genome
        genomes.append(genome)
        fitness = None if number % 4 == 3 else spheres(genome)
        strategy.tell([Trial(number, genome, (), fitness), Trial(1000 + number, genomes[0], (), spheres(genomes[0]))])
    assert (gap_to_front(np.array(genomes[50:])) < 1e-2).all()


def test_estimates_are_fitted_with_their_standard_errors_but_do_not_direct_the_box() -> None:
    strategy = Map(problem(1, dim=2, budget=60), verify=4)
    lucky = Trial(0, np.full(2, 0.9), (), np.array([5.0]), np.array([10.0]), is_estimate=True)
    strategy.tell([lucky])
    genomes = run(strategy, lambda g: -np.array([np.sum((g - 0.3) ** 2)]), 30, noise=1e-4)
    assert np.abs(genomes[-10:] - 0.3).max() < 0.2


@pytest.mark.parametrize("workers", [1, 4])
def test_nested_with_two_models_is_plain(workers: int) -> None:
    def function(genome: Genome) -> Floats:
        return -np.array(
            [(genome[0] - 0.6) ** 2 + genome[1] ** 2, genome[0] ** 2 + (genome[1] - 0.5) ** 2 + genome[0] ** 3]
        )

    found = []
    for variant in ("plain", "nested"):
        strategy, genomes = Map(problem(dim=2, budget=40), variant=variant), []
        strategy.tell([Trial(i, g, (), function(g)) for i, g in enumerate(np.array([[0.0, 0.0], [0.4, 0.4]]))])
        for _ in range(36 // workers):
            asked = strategy.ask(workers)
            genomes += [p.genome.tolist() for p in asked]
            strategy.tell([Trial(9, p.genome, (), function(p.genome), np.full(2, 0.01)) for p in reversed(asked)])
        found.append(genomes)
    assert found[0] == found[1]


def tasks(genome: Genome) -> Floats:
    """Five models; each helps its own task and harms the others a little."""
    return np.asarray(0.5 + 0.4 * genome - 0.2 * genome**2 - 0.05 * (genome.sum() - genome) - 0.02 * np.arange(5))


def test_nested_merges_the_most_similar_pairs_and_ends_with_one_merge_of_all() -> None:
    strategy = Map(problem(5, dim=5, budget=120), variant="nested")
    strategy.tell([Trial(0, np.zeros(5), (), tasks(np.zeros(5)))])
    genomes = run(strategy, tasks, 110)
    np.testing.assert_array_equal(genomes[:5], np.eye(5))
    assert ((genomes[5:25] > 0).sum(axis=1) <= 2).all()
    text = strategy.describe()
    assert "merged: " in text
    assert "now" in text
    assert text.count(" + ") >= 3
    assert (genomes[-20:] > 0.2).sum(axis=1).max() == 5
    line = max(tasks(np.full(5, scale)).mean() for scale in (0.2, 0.4, 0.6, 0.8, 1.0))
    assert max(tasks(g).mean() for g in genomes) >= line - 0.01


def test_nested_with_workers_and_failures() -> None:
    strategy, number = Map(problem(4, dim=4, budget=None), variant="nested"), 0
    waiting: list[Genome] = []
    rng = np.random.default_rng(0)
    while number < 150:
        waiting += [p.genome for p in strategy.ask(3)]
        while len(waiting) > 3:
            genome = waiting.pop(int(rng.integers(len(waiting))))
            number += 1
            strategy.tell([Trial(number, genome, (), None if number % 5 == 2 else tasks(np.append(genome, 0))[:4])])
    assert "merged" in strategy.describe()


def test_auto_is_nested_where_plain_has_too_few_points() -> None:
    assert "(nested)" in Map(problem(20, dim=20, budget=450)).describe()
    assert "(plain)" in Map(problem(20, dim=20, budget=900)).describe()
    assert "(plain)" in Map(problem(2, dim=20, budget=450)).describe()


def test_bayesian_needs_no_more_points_and_predicts_as_well() -> None:
    strategy = Map(problem(), variant="bayesian")
    genomes = run(strategy, spheres, 50)
    assert "(bayesian)" in strategy.describe()
    assert (gap_to_front(genomes[30:]) < 1e-2).all()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"points": 14}, "15 points"),
        ({"points": 101}, "the budget"),
        ({"terms": "cubic"}, "terms"),
        ({"variant": "double"}, "variant"),
        ({"variant": "nested"}, "one gene and one objective per model"),
        ({"box": (0.5, 0.5)}, "low < high"),
        ({"box": (0.0, 1.5)}, "low < high"),
        ({"verify": 0}, "1 or more"),
        ({"link": "probit"}, "none, sigmoid, softplus"),
        ({"link": {"accuracy": "sigmoid"}}, "o0, o1"),
        ({"weights": (1.0, 1.0)}, "Only nested"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Map(problem(), **settings)
    assert expected in str(caught.value)
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("of", "settings", "expected"),
    [
        (problem(dim=12, budget=100), {"terms": "full"}, "91 unknowns"),
        (problem(dim=7, budget=None), {"variant": "bayesian"}, "2 to 6 genes"),
        (problem(6, dim=6, budget=60), {"variant": "nested"}, "106 evaluations"),
        (problem(3, dim=3, budget=90), {"variant": "nested", "box": (0.1, 1.0)}, "begins at 0.1"),
        (problem(3, dim=3, budget=90), {"variant": "nested", "points": 20}, "of their own"),
        (problem(3, dim=3, budget=90), {"variant": "nested", "weights": (1.0, 0.0, 1.0)}, "weights above 0"),
    ],
)
def test_what_cannot_be_done_is_said(of: Problem, settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Map(of, **settings)
    assert expected in str(caught.value)
