"""Estimates from a part of the examples."""

from __future__ import annotations

import math

import numpy as np
import pytest

from searcher.racing.estimate import paired_estimate


def test_it_is_unbiased_and_its_standard_error_is_true() -> None:
    rng = np.random.default_rng(0)
    rival, candidate = (rng.random((2, 100)) < [[0.7], [0.5]]).astype(np.float64)
    found = []
    for _ in range(4000):
        order = rng.permutation(100)
        found.append(paired_estimate(rival[order], candidate[order][:40], (-9.0, 9.0)))
    values, errors = np.array(found).T
    assert values.mean() == pytest.approx(candidate.mean(), abs=4 * values.std() / math.sqrt(4000))
    assert np.sqrt((errors**2).mean()) == pytest.approx(values.std(), rel=0.05)


def test_all_examples_leave_no_error() -> None:
    rival, candidate = np.array([1.0, 0.0, 1.0]), np.array([0.0, 0.0, 1.0])
    value, stderr = paired_estimate(rival, candidate, (0.0, 1.0))
    assert value == pytest.approx(1 / 3)
    assert stderr == 0.0


def test_it_stays_in_range_and_agreement_proves_nothing() -> None:
    value, stderr = paired_estimate(np.array([1.0, 1.0, 0.0, 0.0]), np.array([0.0, 0.0]), (0.0, 1.0))
    assert value == 0.0
    assert math.isnan(stderr)
    assert math.isnan(paired_estimate(np.ones(4), np.zeros(1), (0.0, 1.0))[1])
