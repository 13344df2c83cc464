"""CMA-ES: the same numbers as pycma, and what pycma leaves to its caller."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from searcher.candidate import Genome, Proposal, Trial
from searcher.errors import ConfigError
from searcher.strategies.base import Problem
from searcher.strategies.cma_es import CmaEs

DIM = 5


def problem(n_objectives: int = 1, dim: int = DIM) -> Problem:
    return Problem(tuple(f"g{i}" for i in range(dim)), tuple(f"o{i}" for i in range(n_objectives)), 500, 11)


def ellipsoid(genome: Genome) -> float:
    return -float(np.sum(10.0 ** np.arange(genome.size) * (genome - 0.3) ** 2))


def trial(number: int, genome: Genome | None, value: float | None) -> Trial:
    return Trial(number, genome, (), None if value is None else np.array([value]))


def generation(strategy: CmaEs) -> list[Proposal]:
    proposals: list[Proposal] = []
    while len(proposals) < strategy._population:
        proposals += strategy.ask(strategy._population - len(proposals))
    return proposals


def test_equals_pycma_step_by_step() -> None:
    import cma

    rng = problem().rng()
    options = {"bounds": [0, 1], "popsize": 8, "randn": lambda *s: rng.standard_normal(s), "seed": np.nan}
    options |= {"verbose": -9, "verb_log": 0, "signals_filename": ""}
    theirs = cma.CMAEvolutionStrategy([0.7] * DIM, 0.2, options)
    ours = CmaEs(problem(), population=8)
    ours.tell([trial(0, np.full(DIM, 0.1), -90.0), trial(1, np.full(DIM, 0.7), -80.0), trial(2, None, 0.0)])
    for _ in range(25):
        points = theirs.ask()
        proposals = generation(ours)
        assert [p.genome.tolist() for p in proposals] == [np.clip(x, 0, 1).tolist() for x in points]
        theirs.tell(points, [-ellipsoid(np.asarray(x)) for x in points])
        ours.tell([trial(3, p.genome, ellipsoid(p.genome)) for p in proposals])


def test_one_at_a_time_is_the_same_as_by_generations() -> None:
    whole, steady = CmaEs(problem()), CmaEs(problem())
    for _ in range(6):
        proposals = generation(whole)
        whole.tell([trial(0, p.genome, ellipsoid(p.genome)) for p in proposals])
        for proposal in proposals:
            mine = steady.ask(1)[0]
            assert mine.genome.tolist() == proposal.genome.tolist()
            steady.tell([trial(0, mine.genome, ellipsoid(mine.genome))])


def test_order_and_grouping_within_a_generation_do_not_matter() -> None:
    plain, shuffled = CmaEs(problem(), population=7), CmaEs(problem(), population=7)
    rng = np.random.default_rng(0)
    for _ in range(6):
        proposals, others = generation(plain), generation(shuffled)
        assert [p.genome.tolist() for p in proposals] == [p.genome.tolist() for p in others]
        trials = [trial(0, p.genome, ellipsoid(p.genome)) for p in proposals]
        plain.tell(trials)
        order = rng.permutation(7)
        shuffled.tell([trials[i] for i in order[:3]])
        shuffled.tell([trials[i] for i in order[3:]])


def test_idle_workers_get_extra_samples_and_late_results_count() -> None:
    strategy = CmaEs(problem(), population=6)
    first = generation(strategy)
    extra = strategy.ask(4)
    assert len(extra) == 4
    assert len({tuple(p.genome) for p in [*first, *extra]}) == 10
    done, late = [*first[:4], *extra[:2]], [*first[4:], *extra[2:]]
    strategy.tell([trial(0, p.genome, ellipsoid(p.genome)) for p in done])
    assert strategy._generation == 1
    strategy.tell([trial(0, p.genome, ellipsoid(p.genome)) for p in late])
    assert len(strategy._results) == 4
    second = strategy.ask(2)
    strategy.tell([trial(0, p.genome, ellipsoid(p.genome)) for p in second])
    assert strategy._generation == 2


def test_starts_at_the_best_baseline_inside_the_space() -> None:
    strategy = CmaEs(problem(2), sigma0=1e-6, weights=(1.0, 3.0))
    values = {0.2: (9.0, 0.0), 0.4: (1.0, 3.0), 0.6: (0.0, 3.2), 0.8: (np.nan, 99.0)}
    strategy.tell([Trial(i, np.full(DIM, g), (), np.array(v)) for i, (g, v) in enumerate(values.items())])
    strategy.tell([Trial(4, None, (), np.array([99.0, 99.0])), Trial(5, np.full(DIM, 0.9))])
    assert np.abs(strategy.ask(1)[0].genome - 0.4).max() < 1e-4
    assert "candidate 1" in strategy.describe()


def test_without_baselines_it_starts_at_the_centre() -> None:
    strategy = CmaEs(problem(), sigma0=1e-6)
    assert np.abs(strategy.ask(1)[0].genome - 0.5).max() < 1e-4
    assert "centre" in strategy.describe()


def test_baseline_in_a_corner() -> None:
    strategy = CmaEs(problem())
    strategy.tell([trial(0, np.array([0.0, 1.0, 0.0, 1.0, 0.0]), 1.0)])
    for _ in range(10):
        proposals = generation(strategy)
        strategy.tell([trial(0, p.genome, float(p.genome.sum())) for p in proposals])
        assert all(p.genome.min() >= 0.0 and p.genome.max() <= 1.0 for p in proposals)
    assert proposals[0].genome.sum() > 4


def test_failed_trials_rank_behind_all_others() -> None:
    """Failure is the same as a value worse than every value seen."""
    failing, scored = CmaEs(problem(), population=8), CmaEs(problem(), population=8)
    for _ in range(8):
        for strategy, bad in ((failing, None), (scored, -1e6)):
            proposals = generation(strategy)
            strategy.tell([trial(0, p.genome, bad if p.genome[0] > 0.6 else ellipsoid(p.genome)) for p in proposals])
    assert failing.ask(1)[0].genome.tolist() == scored.ask(1)[0].genome.tolist()


def test_a_generation_of_failures_leaves_the_distribution_as_it_is() -> None:
    strategy = CmaEs(problem(), sigma0=0.1, population=6)
    for _ in range(50):
        strategy.tell([trial(0, p.genome, None) for p in generation(strategy)])
    genomes = np.stack([p.genome for _ in range(30) for p in self_failing(strategy)])
    assert np.abs(genomes.mean(axis=0) - 0.5).max() < 0.05
    assert np.abs(genomes.std(axis=0) - 0.1).max() < 0.03


def self_failing(strategy: CmaEs) -> list[Proposal]:
    proposals = generation(strategy)
    strategy.tell([trial(0, p.genome, None) for p in proposals])
    return proposals


def test_restarts_double_the_population_and_end() -> None:
    strategy = CmaEs(problem(), population=5, restarts=2)
    populations = []
    for _ in range(60):
        proposals = generation(strategy)
        populations.append(len(proposals))
        strategy.tell([trial(0, p.genome, 1.0) for p in proposals])  # flat: each generation stops
    assert sorted(set(populations)) == [5, 10, 20]
    assert populations == sorted(populations)
    assert "2 restarts" in strategy.describe()


def test_no_restart_without_a_stopping_rule() -> None:
    strategy = CmaEs(problem(), population=6)
    for _ in range(30):
        strategy.tell([trial(0, p.genome, ellipsoid(p.genome)) for p in generation(strategy)])
    assert strategy._population == 6


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("value", [lambda g: 1.0, lambda g: round(ellipsoid(g), 1)], ids=["flat", "plateaus"])
def test_goes_on_after_convergence_when_restarts_are_used_up(dim: int, value: Callable[[Genome], float]) -> None:
    strategy = CmaEs(problem(dim=dim), population=4, restarts=0)
    for _ in range(250):
        proposals = generation(strategy)
        assert all(np.isfinite(p.genome).all() for p in proposals)
        strategy.tell([trial(0, p.genome, value(p.genome)) for p in proposals])


def test_begins_anew_when_the_numbers_are_lost() -> None:
    strategy = CmaEs(problem(), population=6, restarts=0)
    proposals = generation(strategy)
    strategy._distribution._es.sigma = 1e-14  # type: ignore[union-attr]
    strategy.tell([trial(0, p.genome, ellipsoid(p.genome)) for p in proposals])
    genomes = np.stack([p.genome for p in generation(strategy)])
    assert np.isfinite(genomes).all()
    assert genomes.std() > 0.05


def test_one_gene() -> None:
    strategy = CmaEs(problem(dim=1))
    best = -math.inf
    for _ in range(15):
        proposals = generation(strategy)
        assert all(p.genome.shape == (1,) for p in proposals)
        best = max(best, *(ellipsoid(p.genome) for p in proposals))
        strategy.tell([trial(0, p.genome, ellipsoid(p.genome)) for p in proposals])
    assert best > -1e-5


def test_several_objectives_need_weights_and_the_error_says_what_else_to_do() -> None:
    with pytest.raises(ConfigError) as caught:
        CmaEs(problem(3))
    text = str(caught.value)
    assert "weights: [1.0, 1.0, 1.0]" in text
    assert "nsga2" in text
    assert "auto" in text


@pytest.mark.parametrize(
    "settings",
    [
        {"population": 3},
        {"sigma0": 0.0},
        {"sigma0": 1.5},
        {"sigma0": math.nan},
        {"restarts": -1},
        {"weights": (1.0, 2.0)},
        {"weights": (-1.0,)},
        {"weights": (0.0,)},
        {"weights": (math.inf,)},
    ],
)
def test_bad_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        CmaEs(problem(), **settings)  # type: ignore[arg-type]
    assert f"strategy.{next(iter(settings))}" in str(caught.value)


def test_pycma_reads_no_signals_and_writes_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cma_signals.in").write_text('{"timeout": 0}')
    strategy = CmaEs(problem(), population=6)
    for _ in range(12):
        strategy.tell([trial(0, p.genome, ellipsoid(p.genome)) for p in generation(strategy)])
    assert strategy._population == 6
    assert [path.name for path in tmp_path.iterdir()] == ["cma_signals.in"]


def test_is_quiet(capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder) -> None:
    strategy = CmaEs(problem(dim=1), population=4, restarts=1)
    for _ in range(20):
        strategy.tell([trial(0, p.genome, 1.0) for p in generation(strategy)])
    assert capsys.readouterr() == ("", "")
    assert not recwarn.list


def test_the_worst_objective_is_lifted() -> None:
    """Three objectives pull to three corners; lifting the worst leads to the point between them."""
    strategy = CmaEs(problem(3, dim=3), scalarize="worst")
    for number in range(400):
        genome = strategy.ask(1)[0].genome
        strategy.tell([Trial(number, genome, (), -np.array([np.sum((genome - row) ** 2) for row in np.eye(3)]))])
    np.testing.assert_allclose(strategy.ask(1)[0].genome, np.full(3, 1 / 3), atol=0.05)


@pytest.mark.parametrize(
    ("dim", "budget", "expected"),
    [(5, 100, "full"), (5, 99, "separable"), (29, 580, "full"), (30, 10**6, "vkd"), (30, 10, "vkd"), (5, None, "full")],
)
def test_the_covariance_follows_from_genes_and_budget(dim: int, budget: int | None, expected: str) -> None:
    strategy = CmaEs(Problem(tuple(f"g{i}" for i in range(dim)), ("o",), budget, 0))
    assert strategy._variant == expected
    assert (f"{expected} covariance (" in strategy.describe()) == (expected != "full")


@pytest.mark.parametrize("variant", ["full", "separable", "vkd"])
@pytest.mark.parametrize("workers", [1, 4])
def test_every_variant_converges_whatever_the_order_of_results(variant: Any, workers: int) -> None:
    strategy, rng = CmaEs(problem(), variant=variant), np.random.default_rng(0)
    pending: list[Proposal] = []
    for _ in range(600):
        pending += strategy.ask(1)
        if len(pending) >= workers:
            done = pending.pop(int(rng.integers(len(pending))))
            strategy.tell([trial(0, done.genome, -float(np.sum((done.genome - 0.3) ** 2)))])
    assert np.abs(strategy.ask(1)[0].genome - 0.3).max() < 0.02


def test_the_last_evaluation_is_the_mean() -> None:
    strategy = CmaEs(Problem(tuple("abc"), ("o",), 41, 3))
    told = [trial(0, np.full(3, 0.5), ellipsoid(np.full(3, 0.5))), trial(1, None, 0.0)]
    strategy.tell(told)
    for number in range(2, 40):
        genome = strategy.ask(1)[0].genome
        strategy.tell([trial(number, genome, ellipsoid(genome))])
    mean = strategy._distribution.mean  # type: ignore[union-attr]
    assert strategy.ask(1)[0].genome.tolist() == mean.tolist()
    again = strategy.ask(3)  # a longer budget than the first: the search goes on
    assert all(p.genome.tolist() != mean.tolist() for p in again)


def test_several_workers_get_the_mean_among_their_last() -> None:
    strategy = CmaEs(Problem(tuple("abc"), ("o",), 34, 3), population=6)
    for _ in range(5):
        strategy.tell([trial(0, p.genome, ellipsoid(p.genome)) for p in generation(strategy)])
    mean = strategy._distribution.mean  # type: ignore[union-attr]
    assert [p.genome.tolist() for p in strategy.ask(4)].index(mean.tolist()) == 3


def test_the_final_mean_is_that_of_the_best_restart() -> None:
    def proposed(last: float) -> list[float]:
        strategy = CmaEs(Problem(tuple("abc"), ("o",), 21, 3), population=5, restarts=1)
        best = [p for _ in range(2) for p in told(strategy, 0.0)]
        before = strategy._distribution.mean.tolist()  # type: ignore[union-attr]
        strategy._restart()
        rest = told(strategy, last)
        assert len(best) + len(rest) == 20
        after = strategy._distribution.mean.tolist()  # type: ignore[union-attr]
        found = strategy.ask(1)[0].genome.tolist()
        assert found in (before, after)
        return [float(found == before)]

    def told(strategy: CmaEs, value: float) -> list[Proposal]:
        proposals = generation(strategy)
        strategy.tell([trial(0, p.genome, value + ellipsoid(p.genome) * 1e-9) for p in proposals])
        return proposals

    assert proposed(-1.0) == [1.0]
    assert proposed(1.0) == [0.0]


def test_without_final_mean_it_samples_to_the_end() -> None:
    strategy = CmaEs(Problem(tuple("abc"), ("o",), 21, 3), final_mean=False, population=10)
    for _ in range(2):
        strategy.tell([trial(0, p.genome, ellipsoid(p.genome)) for p in generation(strategy)])
    mean = strategy._distribution.mean  # type: ignore[union-attr]
    assert strategy.ask(1)[0].genome.tolist() != mean.tolist()


def test_finds_of_other_strategies_pull_the_mean() -> None:
    taught, alone = (CmaEs(problem(), population=6, sigma0=0.05, final_mean=False) for _ in range(2))
    for _ in range(6):
        for strategy in (taught, alone):
            proposals = strategy.ask(5)
            if strategy is taught:
                better = np.clip(strategy._distribution.mean + 0.2, 0, 0.9)  # type: ignore[union-attr]
                strategy.tell([trial(0, better, float(better.sum()))])
                strategy.tell([trial(0, np.zeros(DIM), -9.0)])  # worse than known: of no use
            strategy.tell([trial(0, p.genome, float(p.genome.sum())) for p in proposals])
    means = [strategy._distribution.mean.sum() for strategy in (taught, alone)]  # type: ignore[union-attr]
    assert means[0] > means[1] + 0.3


@pytest.mark.parametrize("gap", [0.0, 0.5, -0.5])
def test_the_reference_point_decides_where_the_front_is_met(gap: float) -> None:
    """Two parabolas on a line: their shortfalls from the point (0, gap) are equal where x^2 = (1 - x)^2 + gap."""
    wished = {"at_least": {"o0": 0.0, "o1": gap}}
    strategy = CmaEs(problem(2, dim=1), scalarize="chebyshev", reference_point=wished)
    for number in range(200):
        genome = strategy.ask(1)[0].genome
        strategy.tell([Trial(number, genome, (), np.array([-(genome[0] ** 2), -((1 - genome[0]) ** 2)]))])
    assert genome[0] == pytest.approx((1 + gap) / 2, abs=0.01)


def test_constraints_come_first() -> None:
    strategy = CmaEs(problem(2, dim=2), weights=(1.0, 0.0), constraints={"at_least": {"o1": -0.04}})
    for number in range(300):
        genome = strategy.ask(1)[0].genome
        strategy.tell([Trial(number, genome, (), np.array([genome.sum(), -float(np.sum((genome - 0.3) ** 2))]))])
    np.testing.assert_allclose(genome, 0.3 + 0.2 / np.sqrt(2), atol=0.02)  # where the disc of radius 0.2 ends
