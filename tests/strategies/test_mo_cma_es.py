"""COMO-CMA-ES: the same samples as the authors' package, and what that leaves to its caller."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from searcher.candidate import Genome, Proposal, Trial
from searcher.errors import ConfigError
from searcher.strategies.base import Problem
from searcher.strategies.mo_cma_es import FEWEST, MOST, MoCmaEs

DIM = 5


def problem(n_objectives: int = 2, *, dim: int = DIM, budget: int | None = 400) -> Problem:
    return Problem(tuple(f"g{i}" for i in range(dim)), tuple(f"o{i}" for i in range(n_objectives)), budget, 11)


def spheres(genome: Genome) -> np.ndarray[Any, np.dtype[np.float64]]:
    return -np.array([np.sum((genome - 0.3) ** 2), np.sum((genome - 0.6) ** 2)])


def run(strategy: MoCmaEs, n: int, function: Callable[[Genome], Any] = spheres) -> list[Proposal]:
    proposals = []
    for number in range(n):
        proposals += strategy.ask(1)
        genome = proposals[-1].genome
        strategy.tell([Trial(number, genome, (), function(genome))])
    return proposals


def test_equals_comocma_step_by_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one reference point in the objectives' units, as there; its only random choice, the order, is fixed."""
    comocma = pytest.importorskip("comocma")
    monkeypatch.chdir(tmp_path)  # it makes a folder for its log
    monkeypatch.setattr(MoCmaEs, "_frame", lambda _: (np.array([-2.0, -2.0]), np.ones(2)))
    starts = [np.full(DIM, 0.35), np.full(DIM, 0.45), np.full(DIM, 0.55)]
    ours = MoCmaEs(problem(), kernels=3, population=6, variant="full")
    ours.tell([Trial(i, start, (), spheres(start)) for i, start in enumerate(starts)])

    rng = problem().rng()
    options = {"bounds": [0, 1], "popsize": 6, "randn": lambda *s: rng.standard_normal(s), "seed": np.nan}
    options |= {"verbose": -9, "verb_log": 0, "signals_filename": None}
    kernels = [comocma.CmaKernel(starts[i].tolist(), 0.2, dict(options)) for i in (0, 2, 1)]  # loneliest first
    settings = {"update_order": lambda i: i, "verb_log": 0, "archive": False}
    theirs = comocma.Sofomore(kernels, [2.0, 2.0], settings)
    for iteration in range(30):
        points = theirs.ask()
        n_means = len(kernels) if iteration == 0 else 1
        if iteration > 0:
            mean = ours.ask(1)[0].genome
            np.testing.assert_allclose(mean, points[0], atol=1e-9)
            ours.tell([Trial(0, mean, (), spheres(mean))])
        proposals = [ours.ask(1)[0] for _ in points[n_means:]]
        np.testing.assert_allclose([p.genome for p in proposals], points[n_means:], atol=1e-9)
        theirs.tell(points, [-spheres(np.asarray(x)) for x in points])
        ours.tell([Trial(0, p.genome, (), spheres(p.genome)) for p in proposals])


def test_kernels_spread_along_the_front() -> None:
    strategy = MoCmaEs(problem(budget=None), kernels=4)
    run(strategy, 1200)
    means = np.sort([kernel.mean.mean() for kernel in strategy._kernels])
    np.testing.assert_allclose([kernel.mean.std() for kernel in strategy._kernels], 0.0, atol=0.04)  # on the segment
    assert means[0] > 0.29
    assert means[-1] < 0.61
    assert np.diff(means).min() > 0.03


def test_starts_at_known_front_members_and_does_not_score_them_again() -> None:
    strategy = MoCmaEs(problem(), kernels=3, sigma0=1e-6)
    known = [np.full(DIM, value) for value in (0.3, 0.6, 0.95)]  # the last is dominated
    strategy.tell([Trial(i, genome, (), spheres(genome)) for i, genome in enumerate(known)])
    starts = [strategy.ask(strategy._population)[0].genome for _ in range(3)]
    assert [round(float(genome.mean()), 3) for genome in starts] == [0.3, 0.6, 0.3]


def test_without_known_merges_means_are_evaluated_first() -> None:
    strategy = MoCmaEs(problem(), kernels=3)
    proposals = run(strategy, 3)
    assert [k.fitness.tolist() for k in strategy._kernels if k.fitness is not None] == [
        spheres(p.genome).tolist() for p in proposals
    ]


def test_number_of_kernels_by_budget() -> None:
    assert MoCmaEs(problem(budget=20))._n_kernels == FEWEST
    assert MoCmaEs(problem(budget=480))._n_kernels == 480 // (8 * 9)
    assert MoCmaEs(problem(budget=99999))._n_kernels == MOST
    assert MoCmaEs(problem(budget=None))._n_kernels == MOST
    assert MoCmaEs(problem(1))._n_kernels == 1
    assert "5 kernels" in MoCmaEs(problem(), kernels=5).describe()


def test_idle_workers_get_the_generations_of_other_kernels_then_extra_samples() -> None:
    strategy = MoCmaEs(problem(), kernels=2, population=4)
    start = np.full(DIM, 0.5)
    strategy.tell([Trial(0, start, (), spheres(start))])
    proposals = strategy.ask(10)
    assert len(proposals) == 10
    assert [kernel.is_out for kernel in strategy._kernels] == [True, True]
    strategy.tell([Trial(i, p.genome, (), spheres(p.genome)) for i, p in enumerate(proposals)])
    assert [kernel._generation for kernel in strategy._kernels] == [1, 1]
    assert [len(kernel._results) for kernel in strategy._kernels] == [1, 1]  # the extra ones count in the next


def test_units_of_the_objectives_do_not_matter() -> None:
    factors = np.array([1024.0, 1 / 1024])  # powers of two: exact
    shifted = run(MoCmaEs(problem(), kernels=3), 120, lambda genome: spheres(genome) * factors)
    plain = run(MoCmaEs(problem(), kernels=3), 120)
    assert [p.genome.tolist() for p in plain] == [p.genome.tolist() for p in shifted]


def test_a_kernel_that_has_converged_begins_again_at_a_front_member() -> None:
    strategy = MoCmaEs(problem(), kernels=2, population=4)
    run(strategy, 400, lambda _: np.zeros(2))
    assert strategy._n_made > 2
    assert "restarts" in strategy.describe()


def test_finds_of_others_reach_the_nearest_kernel() -> None:
    strategy = MoCmaEs(problem(), kernels=2, population=4)
    strategy.tell([Trial(i, np.full(DIM, x), (), spheres(np.full(DIM, x))) for i, x in enumerate((0.2, 0.9))])
    strategy.ask(1)
    better, worse = np.full(DIM, 0.55), np.full(DIM, 0.99)
    strategy.tell([Trial(9, genome, (), spheres(genome)) for genome in (better, worse)])
    assert sum(len(kernel._results) for kernel in strategy._kernels) == 1


@pytest.mark.parametrize("settings", [{"kernels": 0}, {"population": 3}, {"sigma0": 2.0}, {"variant": "half"}])
def test_bad_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        MoCmaEs(problem(), **settings)
    assert f"strategy.{next(iter(settings))}" in str(caught.value)
