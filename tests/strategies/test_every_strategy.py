"""What every strategy must do: registered ones and a few of Optuna's samplers."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from searcher.candidate import Genome, Proposal, Trial
from searcher.multi_objective.hypervolume import hypervolume
from searcher.strategies.base import STRATEGIES, Problem, Strategy
from searcher.strategies.factory import make_strategy

Fitness = NDArray[np.float64]
Function = Callable[[Genome], Fitness | None]

NAMES = [*STRATEGIES.names(), "optuna:RandomSampler", "optuna:TPESampler"]
NEEDS_PACKAGE = {"optuna:CmaEsSampler": "cmaes"}
SINGLE_ONLY = {"optuna:CmaEsSampler"}
SLOW = ["bayes_opt", "bomf", "optuna:GPSampler"]
SLOW_BY_DEFAULT = ["coarse_to_fine"]  # with settings of their own they are quick
HOLDS_OPTUNA = ["auto", "portfolio"]  # among its members by default
SETTINGS: dict[str, dict[str, object]] = {
    "cma_es": {"population": 6},
    "coarse_to_fine": {"inner": {"name": "nsga2", "population": 6}},
    "nsga2": {"population": 6},
    "optuna:TPESampler": {"n_startup_trials": 4, "n_ei_candidates": 8},
    "optuna:GPSampler": {"n_startup_trials": 20},
}

CASES = [
    pytest.param(name, n_objectives, marks=[pytest.mark.slow] if name in SLOW else [], id=f"{name}-{n_objectives}")
    for name in dict.fromkeys([*NAMES, *NEEDS_PACKAGE, *SLOW])
    for n_objectives in (1, 2)
    if not (name in SINGLE_ONLY and n_objectives > 1)
]
every_strategy = pytest.mark.parametrize(("name", "n_objectives"), CASES)


def problem(n_objectives: int, *, dim: int = 4, budget: int = 60, seed: int = 3) -> Problem:
    genes = tuple(f"gene {i}" for i in range(dim))
    objectives = tuple(f"objective {i}" for i in range(n_objectives))
    return Problem(genes, objectives, budget, seed, work=1e6)  # cheap: auto would take Bayesian optimisation otherwise


def make(name: str, of: Problem, settings: Mapping[str, object] | None = None) -> Strategy:
    if name in NEEDS_PACKAGE:
        pytest.importorskip(NEEDS_PACKAGE[name])
    chosen = dict(SETTINGS.get(name, {}) if settings is None else settings)
    if name in ("cma_es", "mergekit_evolve") and of.n_objectives > 1:
        chosen["weights"] = (1.0,) * of.n_objectives
    return make_strategy(name, of, chosen)


def spheres(n_objectives: int) -> Function:
    """Negative squared distances to one corner-ish point per objective."""
    targets = np.linspace(0.2, 0.7, n_objectives)
    return lambda genome: -np.array([float(np.sum((genome - target) ** 2)) for target in targets])


@dataclass
class Log:
    """A driver of one strategy that keeps some proposals pending and records all calls."""

    strategy: Strategy
    function: Function
    events: list[tuple[str, object]]
    proposals: list[Proposal]
    n_baselines: int = 0

    @classmethod
    def of(cls, strategy: Strategy, function: Function, *, baselines: int = 3) -> Log:
        log = cls(strategy, function, [], [], baselines)
        rng = np.random.default_rng(99)
        dim = 4
        told = [Trial(0, None, (), function(np.full(dim, 0.5)))]
        told += [Trial(i, genome, (), function(genome)) for i, genome in enumerate(rng.random((baselines, dim)), 1)]
        log.tell(told)
        return log

    def ask(self, n: int) -> list[Proposal]:
        proposals = self.strategy.ask(n)
        assert 1 <= len(proposals) <= n
        self.events.append(("ask", n))
        self.proposals += proposals
        return proposals

    def tell(self, trials: list[Trial]) -> None:
        self.strategy.tell(trials)
        self.events.append(("tell", trials))

    def run(self, n: int, *, workers: int = 1, seed: int = 0, between: Callable[[], None] = lambda: None) -> Log:
        """Ask in random sizes; tell in random order and groups, always with fewer than ``workers`` left pending."""
        rng = np.random.default_rng(seed)
        pending: list[tuple[int, Proposal]] = []
        number = 100
        while number < 100 + n:
            for proposal in self.ask(int(rng.integers(1, workers + 1))):
                pending.append((number, proposal))
                number += 1
                between()
            while len(pending) >= workers:
                size = int(rng.integers(1, len(pending) + 1))
                done = [pending.pop(int(rng.integers(len(pending)))) for _ in range(size)]
                self.tell([Trial(i, p.genome.copy(), p.parents, self.function(p.genome)) for i, p in done])
                between()
        return self


def genomes(proposals: list[Proposal]) -> list[list[float]]:
    return [proposal.genome.tolist() for proposal in proposals]


def replay(strategy: Strategy, events: list[tuple[str, object]]) -> list[Proposal]:
    proposals: list[Proposal] = []
    for kind, what in events:
        if kind == "ask":
            assert isinstance(what, int)
            proposals += strategy.ask(what)
        else:
            assert isinstance(what, list)
            strategy.tell(what)
    return proposals


@every_strategy
@pytest.mark.parametrize("workers", [1, 5])
def test_stays_in_the_cube_and_replays(name: str, n_objectives: int, workers: int) -> None:
    log = Log.of(make(name, problem(n_objectives)), spheres(n_objectives)).run(25, workers=workers)
    for proposal in log.proposals:
        assert proposal.genome.shape == (4,)
        assert proposal.genome.dtype == np.float64
        assert ((proposal.genome >= 0.0) & (proposal.genome <= 1.0)).all()
    again = make(name, problem(n_objectives))
    assert genomes(replay(again, log.events)) == genomes(log.proposals)
    assert genomes(again.ask(3)) == genomes(log.strategy.ask(3))


@every_strategy
def test_seed_decides(name: str, n_objectives: int) -> None:
    runs = [Log.of(make(name, problem(n_objectives, seed=s)), spheres(n_objectives)).run(12) for s in (1, 1, 2)]
    assert genomes(runs[0].proposals) == genomes(runs[1].proposals)
    assert genomes(runs[0].proposals) != genomes(runs[2].proposals)


@every_strategy
def test_reseeding_global_generators_changes_nothing(name: str, n_objectives: int) -> None:
    import torch

    def reseed() -> None:
        random.seed(1234)
        np.random.seed(1234)  # noqa: NPY002
        torch.manual_seed(1234)

    plain = Log.of(make(name, problem(n_objectives)), spheres(n_objectives)).run(25)
    reseed()
    disturbed = Log.of(make(name, problem(n_objectives)), spheres(n_objectives)).run(25, between=reseed)
    assert genomes(plain.proposals) == genomes(disturbed.proposals)


@every_strategy
def test_leaves_global_generators_alone(name: str, n_objectives: int) -> None:
    import torch

    def states() -> tuple[object, ...]:
        return random.getstate(), repr(np.random.get_state(legacy=False)), torch.get_rng_state().tolist()  # noqa: NPY002

    before = states()
    Log.of(make(name, problem(n_objectives)), spheres(n_objectives)).run(15)
    assert states() == before


@every_strategy
@pytest.mark.parametrize("share", [0.1, 1.0])
@pytest.mark.parametrize("workers", [1, 4])
def test_failures_are_survived(name: str, n_objectives: int, share: float, workers: int) -> None:
    rng, count = np.random.default_rng(5), [0]
    good = spheres(n_objectives)

    def flaky(genome: Genome) -> Fitness | None:
        if rng.random() >= share:
            return good(genome)
        count[0] += 1
        values = np.zeros(n_objectives)
        values[-1] = [np.nan, np.inf, -np.inf][count[0] % 3]
        return None if count[0] % 2 else values

    log = Log.of(make(name, problem(n_objectives)), flaky).run(25, workers=workers)
    assert count[0] > 0
    assert all(np.isfinite(p.genome).all() and p.genome.min() >= 0 and p.genome.max() <= 1 for p in log.proposals)


@every_strategy
def test_failures_replay(name: str, n_objectives: int) -> None:
    good = spheres(n_objectives)
    log = Log.of(make(name, problem(n_objectives)), lambda g: None if g[0] > 0.8 else good(g)).run(25, workers=3)
    assert genomes(replay(make(name, problem(n_objectives)), log.events)) == genomes(log.proposals)


@every_strategy
def test_callers_arrays_are_unchanged(name: str, n_objectives: int) -> None:
    strategy, function = make(name, problem(n_objectives)), spheres(n_objectives)
    for number in range(16):
        proposal = strategy.ask(1)[0]
        genome = proposal.genome.copy()
        fitness = function(genome)
        assert fitness is not None
        stderr, examples = np.full(n_objectives, 0.1), np.arange(3.0)
        told = [array.copy() for array in (genome, fitness, stderr, examples)]
        for array in (genome, fitness, stderr, examples):
            array.setflags(write=False)
        strategy.tell([Trial(number, genome, (), fitness, stderr, (examples,) * n_objectives)])
        assert all(np.array_equal(a, b) for a, b in zip(told, (genome, fitness, stderr, examples), strict=True))
        proposal.genome.setflags(write=True)
        proposal.genome[:] = 0.0  # what the caller does with a proposal afterwards is no concern of the strategy
    assert strategy.ask(1)[0].genome.any()


@every_strategy
def test_constant_objective(name: str, n_objectives: int) -> None:
    log = Log.of(make(name, problem(n_objectives)), lambda _: np.full(n_objectives, 0.25)).run(25)
    assert len({tuple(genome) for genome in genomes(log.proposals)}) > 12


@every_strategy
def test_budget_of_one_and_unlimited(name: str, n_objectives: int) -> None:
    for budget in (1, None):
        of = Problem(("gene",) * 1, ("objective",) * n_objectives, budget, 0, work=1e6)
        strategy = make(name, of, {} if name in NAMES else None)
        genome = strategy.ask(1)[0].genome
        strategy.tell([Trial(0, genome, (), np.zeros(n_objectives))])
        assert genome.shape == (1,)
        assert strategy.ask(1)


@every_strategy
def test_describes_itself(name: str, n_objectives: int) -> None:
    text = make(name, problem(n_objectives)).describe()
    assert text
    assert "\n" not in text


def rastrigin(genome: Genome) -> Fitness:
    """Many local optima around the best at 0.37, where it is 0."""
    z = 4 * (genome - 0.37)
    return -np.array([np.sum(z**2 - 2 * np.cos(2 * np.pi * z) + 2)])


def zdt1(genome: Genome) -> Fitness:
    """Zitzler, Deb and Thiele 2000, T1, negated; the front is f2 = -(1 - sqrt(-f1))."""
    g = 1 + 9 * np.mean(genome[1:])
    return -np.array([genome[0], g * (1 - np.sqrt(genome[0] / g))])


def reached(name: str, function: Function, n_objectives: int, *, budget: int, seed: int) -> Fitness:
    of = problem(n_objectives, dim=6, budget=budget, seed=seed)
    strategy, fitness = make(name, of, {}), []
    for number in range(budget):
        genome = strategy.ask(1)[0].genome
        value = function(genome)
        assert value is not None
        fitness.append(value)
        strategy.tell([Trial(number, genome, (), value)])
    return np.array(fitness)


def slow_if_costly(name: str) -> object:
    return pytest.param(name, marks=[pytest.mark.slow] if is_costly(name) else [])


def is_costly(name: str) -> bool:
    """Whether a proposal takes so long that only a few can be afforded."""
    return name.startswith("optuna:") or name in (*SLOW, *SLOW_BY_DEFAULT, *HOLDS_OPTUNA)


GUIDED = [name for name in NAMES if name not in ("random", "optuna:RandomSampler")]


@pytest.mark.parametrize("function", [spheres(1), rastrigin], ids=["sphere", "rastrigin"])
@pytest.mark.parametrize("name", [slow_if_costly(name) for name in GUIDED])
def test_beats_random_search_on_one_objective(name: str, function: Function) -> None:
    budget = 80 if is_costly(name) else 200
    best = {
        n: [float(reached(n, function, 1, budget=budget, seed=s).max()) for s in range(3)] for n in (name, "random")
    }
    assert np.median(best[name]) > max(best["random"])


@pytest.mark.parametrize("name", [slow_if_costly(name) for name in GUIDED if name != "cma_es"])
def test_beats_random_search_on_zdt1(name: str) -> None:
    budget = 80 if is_costly(name) else 200
    volumes = {
        n: [hypervolume(reached(n, zdt1, 2, budget=budget, seed=s), [-1.1, -10.0]) for s in range(3)]
        for n in (name, "random")
    }
    assert np.median(volumes[name]) > max(volumes["random"])
