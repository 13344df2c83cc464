"""Reference directions against a count of the lattice and Deb and Jain's table."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.multi_objective.reference_directions import lattice, most_divisions, n_directions, reference_directions


@pytest.mark.parametrize(("divisions", "n_objectives"), [(1, 2), (12, 3), (3, 5), (4, 1)])
def test_directions_are_the_lattice_points(divisions: int, n_objectives: int) -> None:
    points = [p for p in itertools.product(range(divisions + 1), repeat=n_objectives) if sum(p) == divisions]
    assert n_directions(divisions, n_objectives) == len(points)


@pytest.mark.parametrize("n_objectives", range(2, 9))
@pytest.mark.parametrize("population", [4, 16, 50, 92])
def test_no_more_directions_than_members_unless_one_division_has_more(population: int, n_objectives: int) -> None:
    divisions = most_divisions(n_objectives, population)
    assert n_directions(divisions, n_objectives) <= max(population, n_objectives)
    assert n_directions(divisions + 1, n_objectives) > population


@given(st.integers(1, 6), st.integers(2, 5))
def test_lattices_have_all_points_once(divisions: int, m: int) -> None:
    points = lattice(divisions, m)
    assert len(points) == n_directions(divisions, m)
    assert len(np.unique(np.round(points * divisions), axis=0)) == len(points)
    np.testing.assert_allclose(points.sum(axis=1), 1.0)
    assert points.min() >= 0


@pytest.mark.parametrize("m", range(1, 11))
def test_directions_fit_and_reach_the_inside(m: int) -> None:
    found = reference_directions(m, 100)
    assert m <= len(found) <= 100
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    assert len(np.unique(np.round(found, 9), axis=0)) == len(found)
    assert (found > 0).all(axis=1).any()


def test_deb_and_jains_table() -> None:
    assert most_divisions(3, 92) == 12
    assert n_directions(12, 3) == len(reference_directions(3, 92)) == 91
    assert len(reference_directions(8, 156)) == 156  # 3 and 2 divisions
