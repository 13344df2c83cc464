"""MAP-Elites: cells, elites, parents."""

from __future__ import annotations

import numpy as np
import pytest

from searcher.candidate import Trial
from searcher.errors import ConfigError
from searcher.strategies.base import Problem
from searcher.strategies.map_elites import MapElites

NICHE = ("split", "ratio", "first", "second")


def problem(n_objectives: int = 2, budget: int | None = 100) -> Problem:
    return Problem(NICHE, ("low", "high", "more")[:n_objectives], budget, 0)


def trial(number: int, *fitness: float) -> Trial:
    return Trial(number, None, (), np.array(fitness))


def test_a_cell_keeps_the_better_and_the_perfect_one_is_kept() -> None:
    """The authors' code loses a measure of exactly 1: its index lies beyond the grid."""
    strategy = MapElites(problem(3))
    strategy.tell([trial(0, 0.25, 0.31, 0.1), trial(1, 0.29, 0.39, 0.0), trial(2, 0.21, 0.35, 0.5)])
    assert strategy.elites == {(2, 3): 2}
    strategy.tell([trial(3, 1.0, 0.0, 0.0), trial(4, 1.0, 1.0, 1.0), trial(5, 0.95, 0.99, 1.0)])
    assert strategy.elites == {(2, 3): 2, (9, 0): 3, (9, 9): 4}
    assert "3 of them held" in strategy.describe()


def test_one_objective_is_measured_on_the_halves_of_its_examples() -> None:
    strategy = MapElites(problem(1), bins=4)
    scores = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 0.0])
    strategy.tell([Trial(0, None, (), scores.mean(keepdims=True), None, (scores,))])
    assert strategy.elites == {(2, 1): 0}  # 2 of 3 even ones, 1 of 3 odd ones
    scalar = MapElites(problem(1), bins=4)
    scalar.tell([trial(0, 0.3), trial(1, 0.9)])
    assert scalar.elites == {(1, 1): 0, (3, 3): 1}


def test_scores_in_other_units_are_put_in_cells_anew_when_their_range_grows() -> None:
    strategy = MapElites(problem(), bins=2)
    strategy.tell([trial(0, -1.0, 0.9), trial(1, -2.0, 0.1)])
    assert strategy.elites == {(1, 1): 0, (0, 0): 1}
    strategy.tell([trial(2, -9.0, 0.1)])
    assert strategy.elites == {(1, 1): 0, (1, 0): 1, (0, 0): 2}
    strategy.tell([trial(3, -4.0, 0.45), trial(4, np.nan, 0.2), Trial(5, None, error="X")])
    assert strategy.elites == {(1, 1): 0, (1, 0): 3, (0, 0): 2}  # 3 is better than 1 on the mean


def test_parents_differ_and_are_drawn_by_quality() -> None:
    strategy = MapElites(problem(), warm_up=0)
    strategy.tell([trial(0, 0.9, 0.9), trial(1, 0.2, 0.2), trial(2, 0.0, 0.0)])
    pairs = [p.parents for p in strategy.ask(400)]
    assert set(pairs) == {(0, 1), (1, 0)}  # 2 has no quality
    assert np.mean([pair == (0, 1) for pair in pairs]) == pytest.approx(0.9 / 1.1, abs=0.06)
    alone = MapElites(problem(), warm_up=0)
    alone.tell([trial(0, 0.9, 0.9)])
    assert alone.ask(1)[0].parents == (0, 0)
    nothing = MapElites(problem(), warm_up=0)
    nothing.tell([trial(0, 0.0, 0.0), trial(1, 0.0, 0.15), trial(2, -0.0, 0.0)])
    assert all(len(set(p.parents)) == 2 for p in nothing.ask(20))


def test_the_warm_up_fills_what_the_baselines_leave() -> None:
    strategy = MapElites(problem(budget=50))
    strategy.tell([trial(i, 0.1 * i, 0.5) for i in range(3)])
    assert [bool(p.parents) for p in strategy.ask(15)] == [i >= 10 for i in range(15)]


@pytest.mark.parametrize("settings", [{"bins": 0}, {"warm_up": -1}, {"mutation": float("nan")}])
def test_wrong_settings_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError) as caught:
        MapElites(problem(), **settings)  # type: ignore[arg-type]
    assert f"strategy.{next(iter(settings))}" in str(caught.value)
