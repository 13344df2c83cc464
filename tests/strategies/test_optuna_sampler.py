"""The adapter: names, settings, silence, what Optuna is told."""

from __future__ import annotations

import logging
import sys

import numpy as np
import pytest

from searcher.candidate import Trial
from searcher.errors import ConfigError, UnknownNameError
from searcher.strategies.base import Problem
from searcher.strategies.optuna_sampler import OptunaSampler, known_samplers, resolve

ONE = Problem(("b", "a"), ("score",), 50, 0)
TWO = Problem(("b", "a", "c"), ("low", "high"), 50, 0)


def test_known_samplers() -> None:
    known = known_samplers()
    assert {"optuna:TPESampler", "optuna:GPSampler", "optuna:NSGAIIISampler", "optuna:QMCSampler"} <= set(known)
    assert not {"optuna:BaseSampler", "optuna:BaseGASampler", "optuna:GridSampler"} & set(known)


@pytest.mark.parametrize("name", ["optuna:TPESampler", "optuna:RandomSampler", "optuna:QMCSampler"])
def test_resolve_makes_the_sampler(name: str) -> None:
    if name == "optuna:QMCSampler":
        pytest.importorskip("scipy")
    strategy = resolve(name)(TWO, {})
    assert isinstance(strategy, OptunaSampler)
    assert strategy.ask(1)[0].genome.shape == (3,)
    assert name.removeprefix("optuna:") in strategy.describe()


@pytest.mark.parametrize(("name", "hint"), [("optuna:TPESamplr", "TPESampler"), ("optuna:NSGA2Sampler", "NSGAII")])
def test_unknown_sampler_names_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(UnknownNameError, match=f"Did you mean 'optuna:{hint}") as caught:
        resolve(name)
    assert "optuna:GPSampler" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("sampler", "settings", "expected"),
    [
        ("TPESampler", {"multivariat": True}, "Did you mean 'multivariate'"),
        ("TPESampler", {"seed": 3}, "top of the config"),
        ("TPESampler", {"gamma": 5}, "Python function"),
        ("NSGAIISampler", {"population_size": 1}, "population"),
        ("NSGAIISampler", {"population_size": "many"}, "refuses"),
        ("NSGAIISampler", {"crossover": "SBXCrossovr"}, "Did you mean 'SBXCrossover'"),
        ("NSGAIISampler", {"mutation_prob": 2.0}, "mutation_prob"),
    ],
)
def test_bad_settings_are_refused(sampler: str, settings: dict[str, object], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        OptunaSampler(TWO, sampler=sampler, settings=settings)
    assert expected in str(caught.value)
    assert len(str(caught.value).splitlines()) == 3


def test_a_sampler_for_one_objective_refuses_several() -> None:
    with pytest.raises(ConfigError, match="2 objectives") as caught:
        OptunaSampler(TWO, sampler="CmaEsSampler", settings={})
    assert "scalarize: worst" in caught.value.fix


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cmaes", None)
    with pytest.raises(ConfigError, match="cmaes"):
        OptunaSampler(ONE, sampler="CmaEsSampler", settings={})


def test_operators_are_given_by_class_name() -> None:
    settings = {"population_size": 4, "crossover": "SBXCrossover", "mutation": "PolynomialMutation"}
    strategy = OptunaSampler(TWO, sampler="NSGAIISampler", settings=settings)
    for number in range(12):
        genome = strategy.ask(1)[0].genome
        strategy.tell([Trial(number, genome, (), genome[:2])])
    assert strategy.describe() == (
        "Optuna NSGAIISampler (population_size 4, crossover SBXCrossover, mutation PolynomialMutation)"
    )


def test_what_optuna_is_told() -> None:
    strategy = OptunaSampler(TWO, sampler="RandomSampler", settings={})
    baseline = np.array([0.25, 0.5, 0.75])
    strategy.tell([Trial(0, None, (), np.array([9.0, 9.0])), Trial(1, baseline, (), np.array([1.0, 2.0]))])
    first, second, third = strategy.ask(3)
    strategy.tell([Trial(4, third.genome, (), np.array([0.5, np.inf])), Trial(2, first.genome, (), np.array([3.0, 4]))])
    strategy.tell([Trial(3, second.genome, (), None, error="NonFiniteWeights")])
    trials = strategy._study.trials
    assert [t.state.name for t in trials] == ["COMPLETE", "COMPLETE", "FAIL", "FAIL"]
    assert [t.values for t in trials[:2]] == [[1.0, 2.0], [3.0, 4.0]]
    assert trials[0].params == {"b": 0.25, "a": 0.5, "c": 0.75}
    assert [d.name for d in strategy._study.directions] == ["MAXIMIZE", "MAXIMIZE"]


def test_equal_genomes_are_told_apart_from_baselines() -> None:
    strategy = OptunaSampler(ONE, sampler="RandomSampler", settings={})
    genome = strategy.ask(1)[0].genome
    strategy.tell([Trial(0, genome, (), np.array([1.0])), Trial(1, genome, (), np.array([1.0]))])
    assert [t.state.name for t in strategy._study.trials] == ["COMPLETE", "COMPLETE"]


def test_is_quiet_and_leaves_logging_as_it_was(
    capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    recwarn.clear()
    settings = {"multivariate": True, "group": True, "constant_liar": True, "n_startup_trials": 2}
    strategy = OptunaSampler(ONE, sampler="TPESampler", settings=settings)
    for number in range(5):
        genome = strategy.ask(1)[0].genome
        strategy.tell([Trial(number, genome, (), None if number % 2 else np.array([np.nan if number == 2 else 1.0]))])
    assert capsys.readouterr() == ("", "")
    assert not recwarn.list
    assert optuna.logging.get_verbosity() == logging.DEBUG
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def test_a_scalarisation_gives_a_sampler_one_number() -> None:
    settings = {"scalarize": "worst", "n_startup_trials": 2}
    strategy = OptunaSampler(TWO, sampler="TPESampler", settings=settings)
    told = [Trial(i, np.full(3, 0.1 * i), (), np.array([0.25 * i, 0.5])) for i in range(3)]
    strategy.tell([*told, Trial(3, np.full(3, 0.9), (), np.array([np.nan, 1.0])), Trial(4, np.full(3, 0.8))])
    trials = strategy._study.trials
    assert [t.values for t in trials[:3]] == [[0.0625], [0.25 + 0.25 * 0.375], [0.5 + 0.25 * 0.5]]
    assert [t.state.name for t in trials[3:]] == ["FAIL", "FAIL"]
    assert strategy.describe() == "Optuna TPESampler (scalarize worst, n_startup_trials 2)"
    assert strategy.ask(1)[0].genome.shape == (3,)


def test_a_weighted_sum_is_one_number_too() -> None:
    settings = {"scalarize": "sum", "weights": [1.0, 3.0]}
    strategy = OptunaSampler(TWO, sampler="TPESampler", settings=settings)
    strategy.tell([Trial(0, np.full(3, 0.5), (), np.array([1.0, 2.0]))])
    assert strategy._study.trials[0].values == [7.0]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"scalarize": "sum"}, "scalarize: worst"),
        ({"scalarize": "wurst"}, "wurst"),
        ({"scalarize": "worst", "weights": [1.0]}, "2 weights"),
        ({"weights": [1.0, 1.0]}, "Python function"),  # a setting of TPE
    ],
)
def test_bad_scalarisations_are_refused(settings: dict[str, object], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        OptunaSampler(TWO, sampler="TPESampler", settings=settings)
    assert expected in str(caught.value)
    assert len(str(caught.value).splitlines()) == 3
