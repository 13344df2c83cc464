"""Weighted sums of fitness, and the worst of several."""

from __future__ import annotations

import numpy as np
import pytest

from searcher.candidate import Trial
from searcher.errors import ConfigError
from searcher.strategies.base import Problem
from searcher.strategies.scalar import WeightedSum, WorstObjective, make_scalar


def problem(n_objectives: int) -> Problem:
    return Problem(("a",), tuple("xyz"[:n_objectives]), 10, 0)


def test_value() -> None:
    weighted = WeightedSum(problem(3), (1.0, 0.0, 2.0))
    assert weighted.value(Trial(0, None, (), np.array([1.0, 5.0, 0.25]))) == 1.5
    assert WeightedSum(problem(1), None).value(Trial(0, None, (), np.array([0.75]))) == 0.75


@pytest.mark.parametrize("fitness", [None, [1.0, np.nan], [np.inf, 1.0], [1e308, 1e308]])
def test_failed_and_unscored_trials_have_none(fitness: list[float] | None) -> None:
    told = None if fitness is None else np.array(fitness)
    with np.errstate(over="ignore"):
        assert WeightedSum(problem(2), (1.0, 1.0)).value(Trial(0, None, (), told)) is None


@pytest.mark.parametrize("weights", [None, (1.0,), (1.0, 2.0, 3.0), (1.0, -1.0), (0.0, 0.0), (1.0, np.nan)])
def test_bad_weights_are_refused(weights: tuple[float, ...] | None) -> None:
    with pytest.raises(ConfigError, match=r"strategy\.weights"):
        WeightedSum(problem(2), weights)


def test_the_worst_and_a_quarter_of_the_mean() -> None:
    worst = WorstObjective(problem(3), None)
    assert worst.value(Trial(0, None, (), np.array([0.5, 0.25, 0.75]))) == 0.25 + 0.25 * 0.5
    assert worst.value(Trial(0, None, (), np.array([0.25, 0.25, 0.25]))) == 0.25 * 1.25
    assert WorstObjective(problem(1), None).value(Trial(0, None, (), np.array([-0.5]))) == -0.5 * 1.25


def test_weights_scale_what_is_compared_and_zero_leaves_out() -> None:
    worst = WorstObjective(problem(3), (1.0, 4.0, 0.0))
    assert worst.value(Trial(0, None, (), np.array([0.5, 0.25, -9.0]))) == 0.5 + 0.25 * 0.75


@pytest.mark.parametrize("fitness", [None, [1.0, np.nan], [np.inf, 1.0]])
def test_the_worst_of_failed_and_unscored_trials_is_none(fitness: list[float] | None) -> None:
    told = None if fitness is None else np.array(fitness)
    assert WorstObjective(problem(2), None).value(Trial(0, None, (), told)) is None


def test_make_scalar() -> None:
    assert isinstance(make_scalar(problem(2), "worst", None), WorstObjective)
    assert isinstance(make_scalar(problem(1), "sum", None), WeightedSum)
    with pytest.raises(ConfigError, match=r"scalarize: worst"):
        make_scalar(problem(2), "sum", None)
    with pytest.raises(ConfigError, match=r"strategy\.scalarize"):
        make_scalar(problem(2), "wurst", None)
    with pytest.raises(ConfigError, match=r"strategy\.weights"):
        make_scalar(problem(2), "worst", "heavy")  # type: ignore[arg-type]
