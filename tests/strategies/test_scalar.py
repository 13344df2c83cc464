"""Weighted sums of fitness."""

from __future__ import annotations

import numpy as np
import pytest

from searcher.candidate import Trial
from searcher.errors import ConfigError
from searcher.strategies.base import Problem
from searcher.strategies.scalar import WeightedSum


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
