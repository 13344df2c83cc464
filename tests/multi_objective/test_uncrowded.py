"""Uncrowded hypervolume improvement: closed forms, brute force, moocore and moarchiving."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from searcher.multi_objective.hypervolume import hypervolume, improvement
from searcher.multi_objective.uncrowded import local_bounds, uncrowded_improvement

fronts = st.integers(1, 4).flatmap(
    lambda m: st.tuples(
        arrays(np.float64, st.tuples(st.integers(0, 7), st.just(m)), elements=st.integers(-3, 8).map(float)),
        arrays(np.float64, m, elements=st.integers(-3, 8).map(float)),
    )
)


def test_closed_forms() -> None:
    front, zero = [[3.0, 1.0], [1.0, 3.0]], [0.0, 0.0]
    assert uncrowded_improvement([2.0, 2.0], front, zero) == 1.0
    assert uncrowded_improvement([4.0, 4.0], front, zero) == 11.0
    assert uncrowded_improvement([1.0, 1.0], front, zero) == 0.0  # a corner of the free region
    assert uncrowded_improvement([0.0, 0.5], front, zero) == -np.hypot(1.0, 0.5)
    assert uncrowded_improvement([5.0, -2.0], front, zero) == -2.0  # only the reference is missed
    assert uncrowded_improvement([-3.0, -4.0], [], zero) == -5.0
    assert uncrowded_improvement([2.0, 3.0], [], zero) == 6.0
    assert uncrowded_improvement([2.0], [[3.0], [1.0]], [0.0]) == -1.0


def test_local_bounds_of_two_objectives_are_the_staircase() -> None:
    found = local_bounds([[3.0, 1.0], [1.0, 3.0], [0.5, 0.5], [-1.0, 9.0]], [0.0, 0.0])
    assert sorted(found.tolist()) == [[0.0, 3.0], [1.0, 1.0], [3.0, 0.0]]


@given(fronts)
def test_improvement_is_the_difference_of_hypervolumes(case: tuple[Any, Any]) -> None:
    front, point = case
    zero = np.zeros(point.size)
    both = np.vstack([front, point])
    assert improvement(point, front, zero) == pytest.approx(hypervolume(both, zero) - hypervolume(front, zero))
    if point.size > 1:
        moocore: Any = pytest.importorskip("moocore")
        theirs = moocore.hypervolume(-both, ref=zero) - (moocore.hypervolume(-front, ref=zero) if len(front) else 0.0)
        assert improvement(point, front, zero) == pytest.approx(float(theirs))


@given(fronts)
def test_distance_is_that_of_the_nearest_free_point(case: tuple[Any, Any]) -> None:
    """All values are integers, so the nearest corner of the free region is one of a grid; try them all."""
    front, point = case
    zero = np.zeros(point.size)
    value = uncrowded_improvement(point, front, zero)
    axes = np.meshgrid(*[np.arange(9.0)] * point.size, indexing="ij")
    grid = np.stack([axis.ravel() for axis in axes], axis=1)
    is_free = np.ones(len(grid), dtype=bool)
    for member in front:
        is_free &= ~(grid < member).all(axis=1)  # on the boundary counts as free
    nearest = np.sqrt((np.maximum(grid[is_free] - point, 0.0) ** 2).sum(axis=1).min())
    if value <= 0:
        assert value == pytest.approx(-nearest)
    else:
        assert nearest == 0.0


@given(fronts)
def test_more_is_never_worse(case: tuple[Any, Any]) -> None:
    front, point = case
    zero = np.zeros(point.size)
    value = uncrowded_improvement(point, front, zero)
    assert uncrowded_improvement(point + 0.5, front, zero) >= value
    assert uncrowded_improvement(point, front[::-1], zero) == pytest.approx(value)
    assert uncrowded_improvement(point, front[:-1], zero) >= value


@pytest.mark.parametrize("m", [2, 3, 4])
def test_same_as_moarchiving(m: int) -> None:
    moarchiving = pytest.importorskip("moarchiving")
    rng = np.random.default_rng(m)
    for _ in range(30):
        front = rng.normal(size=(8, m)) + 0.5
        archive = moarchiving.get_mo_archive((-front).tolist(), reference_point=[0.0] * m)
        point = rng.normal(size=m) + 0.3
        if m > 2:  # its three- and four-objective archives ignore whether the reference is exceeded (1.1.0)
            point = np.abs(point)
        theirs = float(archive.hypervolume_improvement((-point).tolist()))
        assert uncrowded_improvement(point, front, np.zeros(m)) == pytest.approx(theirs)


@pytest.mark.parametrize("point", [[1.0], [1.0, np.nan], [[1.0, 2.0]]])
def test_bad_points_are_refused(point: Any) -> None:
    with pytest.raises(ValueError, match="finite point"):
        uncrowded_improvement(point, [[1.0, 1.0]], [0.0, 0.0])
