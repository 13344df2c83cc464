"""Brute force: lines, grids, even points, zoom."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from searcher.candidate import Trial
from searcher.errors import ConfigError
from searcher.strategies.base import Problem
from searcher.strategies.grid import Grid, bisected_line, even_points


def problem(dim: int, budget: int | None, n_objectives: int = 1) -> Problem:
    return Problem(tuple("abcdef"[:dim]), ("o", "p")[:n_objectives], budget, 0)


def asked(strategy: Grid, n: int) -> np.ndarray:
    return np.stack([p.genome for p in strategy.ask(n)])


def test_a_line_is_even_at_any_length() -> None:
    assert [float(g[0]) for g in islice(bisected_line(), 9)] == [0, 1, 0.5, 0.25, 0.75, 0.125, 0.375, 0.625, 0.875]
    line = asked(Grid(problem(1, 100), zoom=False), 65)[:, 0]
    np.testing.assert_array_equal(np.sort(line), np.arange(65) / 64)


def test_a_full_grid_holds_every_combination_once() -> None:
    strategy = Grid(problem(2, 30), zoom=False)
    grid = asked(strategy, 25)
    assert len(np.unique(grid, axis=0)) == 25
    np.testing.assert_array_equal(np.unique(grid), np.linspace(0, 1, 5))
    assert "full grid of 5 values per gene" in strategy.describe()
    assert (asked(strategy, 20) >= 0.0).all()  # what is left of the budget is spread evenly


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_even_points_fill_the_cube_better_than_random_ones(dim: int) -> None:
    """Largest error of the share of points in boxes at the origin."""

    def worst(points: np.ndarray) -> float:
        corners = np.random.default_rng(1).random((200, dim))
        shares = (points[None] < corners[:, None]).all(axis=2).mean(axis=1)
        return float(np.abs(shares - corners.prod(axis=1)).max())

    rng = np.random.default_rng(0)
    even = np.stack(list(islice(even_points(dim, rng.random(dim)), 500)))
    assert worst(even) < np.median([worst(rng.random((500, dim))) for _ in range(9)])


def test_without_zoom_results_have_no_influence() -> None:
    told, silent = Grid(problem(4, 60), zoom=False), Grid(problem(4, 60), zoom=False)
    for number in range(60):
        genome = told.ask(1)[0].genome
        np.testing.assert_array_equal(genome, silent.ask(1)[0].genome)
        told.tell([Trial(number, genome, (), np.array([-np.sum(genome)]))])


def test_zoom_closes_in_on_the_best() -> None:
    strategy, target = Grid(problem(3, 90)), np.array([0.3, 0.9, 0.5])
    distances = []
    for number in range(90):
        genome = strategy.ask(1)[0].genome
        distances.append(np.abs(genome - target).max())
        strategy.tell([Trial(number, genome, (), np.array([-np.sum((genome - target) ** 2)]))])
    assert max(distances[-12:]) < 0.2
    assert min(distances) < 0.02


def test_zoom_visits_the_whole_front() -> None:
    strategy = Grid(problem(2, 30, 2))
    ends = np.array([[0.1, 0.1], [0.9, 0.9]])
    strategy.ask(10)
    strategy.tell([Trial(i, genome, (), np.array([i, -i], dtype=float)) for i, genome in enumerate(ends)])
    near = asked(strategy, 8)
    assert (np.abs(near - ends[[0, 1] * 4]).max(axis=1) <= 0.25).all()


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="zoom"):
        Grid(problem(2, 30), zoom="no")  # type: ignore[arg-type]
