"""Reference points, orders of importance and bounds as one number: closed forms and what the order must be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from searcher.candidate import Trial
from searcher.errors import ConfigError
from searcher.strategies.base import Problem
from searcher.strategies.bounds import FitnessBounds
from searcher.strategies.factory import make_strategy
from searcher.strategies.one_number import Scalar
from searcher.strategies.optuna_sampler import OptunaSampler
from searcher.strategies.preference import Achievement, Constrained, Lexicographic
from searcher.strategies.scalar import make_scalar

values = st.floats(-10, 10, allow_nan=False)
pairs = st.tuples(arrays(np.float64, 3, elements=values), arrays(np.float64, 3, elements=values))


def problem(*directions: str) -> Problem:
    return Problem(("a",), ("x", "y", "z"), 10, 0, directions)


def number(scalar: Scalar, *fitness: float) -> float:
    found = scalar.value(Trial(0, None, (), np.array(fitness)))
    assert found is not None
    return found


def test_the_worst_shortfall_and_a_little_of_all() -> None:
    scalar = Achievement(problem(), (1.0, 2.0, 0.0), {"at_least": {"x": 0.9}, "at_most": {"y": 1.5}})
    assert number(scalar, 0.8, -1.7, 99.0) == pytest.approx(-0.4 + 0.05 * (-0.1 - 0.4))
    assert number(scalar, 1.0, -1.4, 99.0) == pytest.approx(0.1 + 0.05 * (0.1 + 0.2))


@given(pairs)
def test_dominance_is_respected(case: tuple[Any, Any]) -> None:
    better, worse = np.maximum(*case), np.minimum(*case)
    scalar = Achievement(problem(), None, {"at_least": {"x": 0.0, "y": 1.0, "z": -1.0}})
    if (better > worse + 1e-9).any():
        assert scalar.combined(better) > scalar.combined(worse)


@given(pairs)
def test_an_order_compares_bands_and_then_the_next(case: tuple[Any, Any]) -> None:
    a, b = (np.round(fitness, 1) for fitness in case)
    scalar = Lexicographic(problem(), ("y", "x", "z"), (0.5, 2.0))

    def key(fitness: Any) -> tuple[float, ...]:
        return np.floor(fitness[1] / 0.5 + 1e-9), np.floor(fitness[0] / 2.0 + 1e-9), fitness[2]

    assert np.sign(scalar.combined(a) - scalar.combined(b)) == int(key(a) > key(b)) - int(key(a) < key(b))


def test_a_value_at_the_edge_of_a_band_belongs_to_it() -> None:
    scalar = Lexicographic(problem(), ("x", "y"), (0.1,))
    assert number(scalar, 0.3, 0.0, 0.0) == number(scalar, 0.35, 0.0, 0.0)
    assert number(scalar, 0.3, 0.0, 0.0) > number(scalar, 0.29, 9.0, 0.0)


@given(pairs)
def test_what_respects_the_bounds_is_better(case: tuple[Any, Any]) -> None:
    inner = make_scalar(problem(), "sum", (1.0, 1.0, 1.0))
    scalar = Constrained(problem(), inner, FitnessBounds(problem(), {"at_least": {"x": 2.0}, "at_most": {"y": 4.0}}))
    a, b = case
    lacking = [max(0.0, 2 - f[0]) / 2 + max(0.0, -4 - f[1]) / 4 for f in (a, b)]
    if lacking[0] == lacking[1] == 0:
        assert np.sign(scalar.combined(a) - scalar.combined(b)) in (np.sign(a.sum() - b.sum()), 0)
    elif lacking[0] < lacking[1]:
        assert scalar.combined(a) > scalar.combined(b)


def test_bounds_are_in_the_unit_and_direction_of_the_objective() -> None:
    given_bounds = {"at_least": {"x": 0.9}, "at_most": {"y": 1.5}}
    assert FitnessBounds(problem(), given_bounds).pairs == ((0, 0.9), (1, -1.5))
    assert FitnessBounds(problem("maximize", "minimize", "maximize"), given_bounds).pairs == ((0, 0.9), (1, -1.5))
    with pytest.raises(ConfigError, match=r"(?s)y is maximized.*strategy\.constraints\.at_most.*at_least"):
        FitnessBounds(problem("maximize", "maximize", "maximize"), given_bounds)


def baseline(name: str, *fitness: float) -> Trial:
    return Trial(0, None, fitness=np.array(fitness) if fitness else None, name=name)


def test_bounds_may_be_shares_of_what_a_baseline_scores() -> None:
    bounds = FitnessBounds(problem(), {"at_least": {"x": "0.9 * base"}, "at_most": {"y": "1.1*expert of y", "z": "2"}})
    bounds.learn([baseline("base", 0.5, -4.0, 0.0), baseline("expert of y", 0.1, -2.0, 0.0), baseline("", 9, 9, 9)])
    assert bounds.pairs == ((0, 0.9 * 0.5), (1, 1.1 * -2.0), (2, -2.0))
    assert len(bounds) == 3
    assert bounds.objectives == {0, 1, 2}


@pytest.mark.parametrize(
    "told", [[], [baseline("other", 1, 1, 1)], [baseline("base")], [baseline("base", np.nan, 1, 1)]]
)
def test_a_share_of_a_baseline_without_a_score_is_refused_when_it_is_needed(told: list[Trial]) -> None:
    bounds = FitnessBounds(problem(), {"at_least": {"x": "0.9 * base"}})
    bounds.learn(told)
    with pytest.raises(ConfigError, match=r"(?s)'base'.*strategy\.constraints.*Name a baseline"):
        _ = bounds.pairs


def test_the_reference_point_may_refer_to_baselines_too() -> None:
    wished = {"at_least": {name: f"1.0 * {name}" for name in "xyz"}}
    scalar = make_scalar(
        problem(), "chebyshev", None, reference_point=wished, constraints={"at_least": {"x": "0.5 * x"}}
    )
    known = [baseline("x", 0.9, 0.0, 0.0), baseline("y", 0.0, 0.8, 0.0), baseline("z", 0.0, 0.0, 0.7)]
    scalar.learn(known)
    plain = Achievement(problem(), None, {"at_least": {"x": 0.9, "y": 0.8, "z": 0.7}})
    a, b = np.array([0.8, 0.8, 0.8]), np.array([0.9, 0.7, 0.6])
    assert (scalar.combined(a) > scalar.combined(b)) == (plain.combined(a) > plain.combined(b))
    assert scalar.combined(np.array([0.44, 1.0, 1.0])) < 0


@pytest.mark.parametrize("name", ["cma_es", "bayes_opt", "optuna:TPESampler"])
def test_strategies_learn_the_baselines_scores_before_they_use_them(name: str) -> None:
    settings = {"scalarize": "worst", "constraints": {"at_least": {"x": "0.9 * late"}}}
    strategy = make_strategy(name, Problem(("a", "b"), ("x", "y", "z"), 30, 0), settings)
    inside = Trial(0, np.array([0.5, 0.5]), fitness=np.array([0.5, 0.5, 0.5]), stderr=np.full(3, 0.1))
    strategy.tell([inside, baseline("late", 0.6, 0.1, 0.1)])
    for number in range(2, 12):
        genome = strategy.ask(1)[0].genome
        fitness = np.array([genome[0], genome[1], 1.0 - genome[0]])
        strategy.tell([Trial(number, genome, fitness=fitness, stderr=np.full(3, 0.1))])


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"scalarize": "worst", "constraints": {"at_least": {"x": "base * 0.9"}}}, "constraints"),
        ({"scalarize": "worst", "constraints": {"at_least": {"x": "inf * base"}}}, "constraints"),
        ({"scalarize": "chebyshev"}, "reference_point"),
        ({"scalarize": "chebyshev", "reference_point": {"at_least": {"x": 1.0}}}, "reference_point"),
        ({"scalarize": "chebyshev", "reference_point": {"at_last": {"x": 1.0}}}, "reference_point"),
        ({"scalarize": "chebyshev", "reference_point": {"at_least": {"w": 1.0}}}, "reference_point"),
        ({"scalarize": "worst", "reference_point": {"at_least": {"x": 1.0}}}, "reference_point"),
        ({"scalarize": "lexicographic"}, "order"),
        ({"scalarize": "lexicographic", "order": ["x", "x"], "tolerance": [1.0]}, "order"),
        ({"scalarize": "lexicographic", "order": ["x", "w"], "tolerance": [1.0]}, "order"),
        ({"scalarize": "lexicographic", "order": ["x", "y"]}, "tolerance"),
        ({"scalarize": "lexicographic", "order": ["x", "y"], "tolerance": [0.0]}, "tolerance"),
        ({"scalarize": "lexicographic", "order": ["x", "y"], "tolerance": [1.0], "weights": [1, 1, 1]}, "weights"),
        ({"scalarize": "worst", "order": ["x", "y"]}, "order"),
        ({"scalarize": "worst", "constraints": {"at_least": {"x": np.nan}}}, "constraints"),
        ({"scalarize": "best"}, "scalarize"),
    ],
)
def test_what_cannot_be_used_is_refused(settings: dict[str, Any], where: str) -> None:
    given_settings = {"weights": None, **settings}
    with pytest.raises(ConfigError) as caught:
        make_scalar(problem(), given_settings.pop("scalarize"), given_settings.pop("weights"), **given_settings)
    assert f"strategy.{where}" in str(caught.value)
    with pytest.raises(ConfigError):
        OptunaSampler(problem(), sampler="TPESampler", settings=settings)


def test_optuna_samplers_take_preferences() -> None:
    settings = {"scalarize": "chebyshev", "reference_point": {"at_least": {"x": 0, "y": 0, "z": 0}}}
    sampler = OptunaSampler(problem(), sampler="TPESampler", settings=settings)
    sampler.tell([Trial(0, np.array([0.5]), (), np.array([1.0, 2.0, 4.0]))])
    assert sampler._study.trials[0].values == [pytest.approx(1.0 + 0.05 * 7.0)]
