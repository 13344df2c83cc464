"""Bayesian optimisation: what it finds, and what it survives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from searcher.candidate import Genome, Trial
from searcher.errors import ConfigError
from searcher.strategies.base import Problem, Strategy
from searcher.strategies.bayes_opt import BayesOpt
from searcher.strategies.random import RandomSearch

Floats = NDArray[np.float64]


def problem(n_objectives: int = 1, *, dim: int = 5, budget: int | None = 30, seed: int = 0) -> Problem:
    return Problem(tuple(f"g{i}" for i in range(dim)), tuple(f"o{i}" for i in range(n_objectives)), budget, seed)


def quadratic(genome: Genome) -> Floats:
    return -np.array([np.sum((genome - 0.3) ** 2)])


def four_tasks(genome: Genome) -> Floats:
    """Four accuracies, each with its own best merge."""
    targets = 0.2 + 0.6 * np.random.default_rng(0).random((4, len(genome)))
    return np.asarray(0.8 - 1.2 * np.mean((targets - genome) ** 2, axis=1), dtype=np.float64)


def worst(fitness: Floats) -> Floats:
    return np.asarray(fitness.min(axis=1) + 0.25 * fitness.mean(axis=1), dtype=np.float64)


def run(strategy: Strategy, function: Callable[[Genome], Floats], n: int, *, stderr: float = 0.0) -> Floats:
    """True fitness of ``n`` proposals that were told with noise, shape ``(n, m)``."""
    rng, found = np.random.default_rng(7), []
    for number in range(n):
        genome = strategy.ask(1)[0].genome
        fitness = function(genome)
        found.append(fitness)
        noise = np.full(len(fitness), stderr or np.nan)
        strategy.tell([Trial(number, genome, (), fitness + stderr * rng.normal(size=len(fitness)), noise)])
    return np.array(found)


def test_beats_random_search_on_a_quadratic() -> None:
    best = {cls: [run(cls(problem(seed=s)), quadratic, 30).max() for s in range(5)] for cls in (BayesOpt, RandomSearch)}
    assert np.median(best[BayesOpt]) > max(best[RandomSearch])
    assert np.median(best[BayesOpt]) > -0.01


def test_the_worst_of_four_tasks_is_lifted_better_than_by_random_search_or_one_scalar() -> None:
    """The composite learns four smooth functions, the alternative their minimum, told as one noisy objective."""
    composite, scalar, random = [], [], []
    for seed in range(3):
        chosen = BayesOpt(
            problem(4, seed=seed), scalarize="worst", link="linear"
        )  # the tasks are quadratics, not their log odds
        composite.append(worst(run(chosen, four_tasks, 30, stderr=0.03)))
        random.append(worst(run(RandomSearch(problem(4, seed=seed)), four_tasks, 30)))
        scalar.append(told_as_one(BayesOpt(problem(1, seed=seed), link="linear"), 30))
    assert np.median([values.max() for values in composite]) > np.median([values.max() for values in random])
    last = [float(np.mean([values[-10:] for values in found])) for found in (composite, scalar, random)]
    assert last[0] > last[1] + 0.005
    assert last[0] > last[2] + 0.05


def told_as_one(strategy: Strategy, n: int) -> Floats:
    """The true worst task of each proposal when only the noisy number itself is told, shape ``(n,)``."""
    rng, found = np.random.default_rng(7), []
    for number in range(n):
        genome = strategy.ask(1)[0].genome
        fitness = four_tasks(genome)[None]
        found.append(worst(fitness)[0])
        strategy.tell([Trial(number, genome, (), worst(fitness + 0.03 * rng.normal(size=4)))])
    return np.array(found)


def test_baselines_inside_the_space_replace_sobol_points() -> None:
    """60 evaluations, 15 of them baselines; the ones outside the space say nothing about genes."""
    outside = [Trial(i, None, (), np.zeros(4)) for i in range(3)]
    inside = [Trial(3 + i, genome, (), four_tasks(genome)) for i, genome in enumerate(np.eye(12))]
    with_baselines, without = (BayesOpt(problem(4, dim=12, budget=60), scalarize="worst") for _ in range(2))
    with_baselines.tell([*outside, *inside])
    without.tell(outside)
    with_baselines.ask(1)
    without.ask(1)
    assert "3 Sobol points" in with_baselines.describe()
    assert "14 Sobol points" in without.describe()


def test_pending_genomes_are_avoided() -> None:
    strategy = BayesOpt(problem(2, dim=3))
    run(strategy, lambda g: np.array([quadratic(g)[0], -np.sum((g - 0.8) ** 2)]), 12)
    genomes = np.array([p.genome for p in strategy.ask(4)])
    gaps = [np.abs(a - b).max() for i, a in enumerate(genomes) for b in genomes[:i]]
    assert min(gaps) > 0.01


def test_a_reference_point_decides_where_the_front_is_met() -> None:
    """Two parabolas on a line; shortfalls from (0, 0.5) are equal at 3/4."""
    wished = {"at_least": {"o0": 0.0, "o1": 0.5}}
    strategy, genomes = BayesOpt(problem(2, dim=1), reference_point=wished), []
    for number in range(14):
        genome = strategy.ask(1)[0].genome
        genomes.append(genome[0])
        strategy.tell([Trial(number, genome, (), np.array([-(genome[0] ** 2), -((1 - genome[0]) ** 2)]))])
    distances = np.sort(np.abs(np.array(genomes) - 0.75))
    assert distances[0] < 0.01
    assert distances[3] < 0.06  # it comes back
    assert "against the reference point" in strategy.describe()


def test_an_order_of_importance_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"(?s)strategy\.scalarize.*cma_es"):
        BayesOpt(problem(2), scalarize="lexicographic")  # type: ignore[arg-type]


def test_constraints_are_respected() -> None:
    """The best of the first objective, at 1, violates the bound on the second, which holds up to 0.5."""

    def function(genome: Genome) -> Floats:
        return np.array([genome.sum(), -genome.max()])

    strategy = BayesOpt(problem(2, dim=2), scalarize="sum", weights=(1.0, 0.0), constraints={"at_most": {"o1": 0.5}})
    found = run(strategy, function, 22)
    feasible = found[found[:, 1] >= -0.5]
    assert feasible[:, 0].max() > 0.9
    assert (found[12:, 1] >= -0.6).mean() > 0.7
    assert "1 constraints" in strategy.describe()


def test_ask_is_a_function_of_history_and_leaves_no_trace() -> None:
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    results = []
    for n_threads in (1, 2):
        torch.set_num_threads(n_threads)
        strategy = BayesOpt(problem(2))
        run(strategy, lambda g: np.array([quadratic(g)[0], g[0]]), 14)
        results.append([p.genome.tolist() for p in strategy.ask(2)])
        torch.manual_seed(n_threads)
        assert torch.get_num_threads() == n_threads
    torch.set_num_threads(threads)
    torch.set_rng_state(state)
    assert results[0] == results[1]


def test_torch_without_gradients_makes_no_difference() -> None:
    strategies = [BayesOpt(problem()) for _ in range(2)]
    for strategy in strategies:
        run(strategy, quadratic, 12)
    plain = strategies[0].ask(1)[0].genome
    with torch.no_grad():
        assert np.array_equal(strategies[1].ask(1)[0].genome, plain)


def test_failed_genomes_are_not_proposed_again() -> None:
    """A third of the space fails; the best of the rest is at its border."""
    strategy, genomes = BayesOpt(problem(dim=2)), []
    for number in range(25):
        genome = strategy.ask(1)[0].genome
        genomes.append(genome.copy())
        fitness = None if genome[0] > 0.65 else -np.array([np.sum((genome - 0.6) ** 2)])
        strategy.tell([Trial(number, genome, (), fitness)])
    found = np.array(genomes)
    gaps = np.abs(found[:, None] - found).max(axis=2) + np.eye(25)
    assert gaps.min() > 0.004
    assert np.mean(found[12:, 0] > 0.65) < 0.35


def test_when_all_fails_it_goes_on() -> None:
    strategy = BayesOpt(problem(2))
    for number in range(20):
        genome = strategy.ask(1)[0].genome
        strategy.tell([Trial(number, genome, (), np.array([np.nan, 0.0]) if number % 2 else None)])
    assert np.isfinite(strategy.ask(1)[0].genome).all()


def test_duplicates_and_constants_are_survived() -> None:
    scalarizations: tuple[Literal["front", "worst"], ...] = ("front", "worst")
    for scalarize in scalarizations:
        strategy = BayesOpt(problem(2, dim=3), scalarize=scalarize)
        strategy.tell([Trial(i, np.full(3, 0.5), (), np.full(2, 0.25), np.zeros(2)) for i in range(8)])
        found = [strategy.ask(1)[0].genome for _ in range(6)]
        assert len({tuple(genome) for genome in found}) == 6


def test_trust_region_beyond_twenty_genes_and_where_levels_are() -> None:
    grouped = replace(problem(2, dim=4), levels=((0, 1, 0, 1),))
    assert "trust region" in BayesOpt(grouped).describe()
    assert "trust region" in BayesOpt(replace(problem(2), is_refined=True)).describe()
    assert "trust region" in BayesOpt(problem(2, dim=21)).describe()
    assert "trust region" not in BayesOpt(problem(2, dim=20)).describe()
    assert "trust region" in BayesOpt(problem(2), trust_region="always").describe()
    assert "trust region" not in BayesOpt(problem(2, dim=21), trust_region="never").describe()


def test_trust_region_stays_near_the_best() -> None:
    strategy = BayesOpt(problem(dim=24, budget=40), trust_region="always")
    run(strategy, quadratic, 22)
    assert strategy._region is not None
    strategy._region.length = 0.1
    spread = np.array([p.genome for p in strategy.ask(2)])
    best = strategy._data.observations().genomes
    assert min(np.abs(spread[0] - genome).max() for genome in best) < 0.4


def test_six_objectives_need_one_number() -> None:
    with pytest.raises(ConfigError) as caught:
        BayesOpt(problem(6))
    assert "worst" in str(caught.value)
    assert "worst of 6" in BayesOpt(problem(6), scalarize="worst").describe()


@pytest.mark.parametrize(
    "settings",
    [
        {"scalarize": "best"},
        {"weights": (1.0,)},
        {"weights": (1.0, 1.0), "scalarize": "front"},
        {"initial": 0},
        {"trust_region": "sometimes"},
        {"link": "logit"},
        {"bounded_by": "best"},
        {"constraints": {"at_leest": {"o0": 1.0}}},
        {"constraints": {"at_least": {"o7": 1.0}}},
        {"constraints": {"at_least": {"o0": float("nan")}}},
    ],
)
def test_bad_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        BayesOpt(problem(2), **settings)  # type: ignore[arg-type]
    assert f"strategy.{next(iter(settings))}" in str(caught.value)
