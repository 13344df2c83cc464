"""Crowding distance on fronts small enough to compute by hand."""

from __future__ import annotations

import numpy as np
import pytest

from searcher.multi_objective.crowding import crowding_distance

INF = float("inf")


def test_evenly_and_unevenly_spaced_points() -> None:
    front = [[0.0, 10.0], [1.0, 8.0], [4.0, 3.0], [5.0, 0.0]]
    # second: (4 - 0) / 5 + (10 - 3) / 10; third: (5 - 1) / 5 + (8 - 0) / 10
    assert crowding_distance(front).tolist() == pytest.approx([INF, 0.8 + 0.7, 0.8 + 0.8, INF])


def test_units_and_order_do_not_matter() -> None:
    rng = np.random.default_rng(0)
    front = rng.random((20, 3)).round(1)
    order = rng.permutation(20)
    distances = crowding_distance(front)
    assert sorted(crowding_distance(front[order])) == sorted(distances)
    assert crowding_distance(front * [1.0, 1024.0, 0.5]).tolist() == distances.tolist()


def test_duplicates_share_one_place() -> None:
    front = [[0.0, 2.0], [1.0, 1.0], [1.0, 1.0], [2.0, 0.0]]
    assert crowding_distance(front).tolist() == [INF, 2.0, 0.0, INF]


def test_constant_objective_adds_nothing() -> None:
    front = [[0.0, 7.0], [1.0, 7.0], [3.0, 7.0]]
    assert crowding_distance(front).tolist() == [INF, 1.0, INF]


def test_small_and_broken_fronts() -> None:
    assert crowding_distance(np.empty((0, 2))).tolist() == []
    assert crowding_distance([[1.0, 2.0]]).tolist() == [INF]
    assert crowding_distance([[1.0, 2.0], [1.0, 2.0]]).tolist() == [INF, 0.0]
    assert crowding_distance([[1.0, np.nan], [1.0, 2.0], [INF, 0.0]]).tolist() == [0.0, INF, 0.0]
