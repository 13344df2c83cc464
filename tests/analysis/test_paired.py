"""Paired errors against direct computation; which points are told apart."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.analysis.paired import critical, independent_stderr, paired_stderr, tells_apart


@given(st.integers(2, 6), st.integers(2, 40), st.integers(0, 1000))
def test_paired_errors_are_those_of_the_differences(p: int, n: int, seed: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(p, n))
    found = paired_stderr(rows)
    for i in range(p):
        for j in range(p):
            direct = np.std(rows[i] - rows[j], ddof=1) / math.sqrt(n)
            assert found[i, j] == pytest.approx(direct, abs=1e-9)
    assert np.array_equal(found, found.T)


def test_examples_that_a_point_lacks_are_left_out() -> None:
    rows = np.array([[1.0, 0.0, 1.0, math.nan], [0.0, 0.0, 1.0, 1.0]])
    assert paired_stderr(rows)[0, 1] == pytest.approx(np.std([1, 0, 0], ddof=1) / math.sqrt(3))
    assert np.isnan(paired_stderr(rows[:, 2:])).all()


def test_pairing_is_sharper_where_hard_examples_are_hard_for_all() -> None:
    rng = np.random.default_rng(0)
    hardness = rng.normal(size=500)
    rows = hardness + 0.1 * rng.normal(size=(2, 500))
    independent = independent_stderr(rows.std(axis=1, ddof=1) / math.sqrt(500))
    assert paired_stderr(rows)[0, 1] < 0.2 * independent[0, 1]
    assert independent[0, 0] == 0


def test_telling_apart() -> None:
    assert critical(1) == pytest.approx(1.959964, abs=1e-6)
    assert critical(2) == pytest.approx(2.241403, abs=1e-6)
    difference = np.array([[0.0, 0.21], [0.0, 0.23], [0.5, -0.23], [0.0, 9.0]])
    stderr = np.array([[0.0, 0.1], [0.0, 0.1], [0.0, 0.1], [math.nan, math.nan]])
    assert tells_apart(difference, stderr).tolist() == [[False, False], [False, True], [True, True], [False, False]]


def test_equal_models_are_told_apart_in_five_percent_of_pairs() -> None:
    rng = np.random.default_rng(1)
    apart = []
    for _ in range(400):
        rows = rng.normal(size=(2, 2, 60))  # objectives, points, examples
        stderr = np.array([paired_stderr(r)[0, 1] for r in rows])
        apart.append(tells_apart(rows.mean(axis=2) @ np.array([1.0, -1.0]), stderr).any())
    assert 0.02 < np.mean(apart) < 0.09
