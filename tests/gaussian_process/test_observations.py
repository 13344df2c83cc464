"""Standardised outcomes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from searcher.gaussian_process.observations import Observations, standardize, winsorized

VALUES = arrays(np.float64, st.integers(1, 30), elements=st.floats(-1e6, 1e6))


@given(VALUES)
def test_only_the_lower_tail_is_pulled_in(values: NDArray[np.float64]) -> None:
    found = winsorized(values)
    assert (found >= values).all()
    kept = values >= np.quantile(values, 0.1)
    assert np.array_equal(found[kept], values[kept])
    assert (np.diff(found[np.argsort(values, kind="stable")]) >= 0).all()


@given(VALUES)
def test_standardized_values_have_mean_0_and_deviation_1_or_0(values: NDArray[np.float64]) -> None:
    n = len(values)
    found = standardize(Observations(np.zeros((n, 1)), values[:, None], np.full((n, 1), np.nan)))
    assert np.isfinite(found.values).all()
    assert abs(found.values.mean()) < 1e-3
    assert found.values.std() < 1 + 1e-6
    np.testing.assert_allclose(
        found.values * found.scale + found.shift, winsorized(values)[:, None], rtol=1e-9, atol=1e-6
    )


def test_broken_merges_do_not_decide_the_unit() -> None:
    values = np.array([*np.linspace(-3.2, -3.0, 19), -1e6])
    found = standardize(Observations(np.zeros((20, 1)), values[:, None], np.full((20, 1), 0.01)))
    assert np.ptp(found.values[:19]) > 0.5


def test_noise_that_is_unknown_for_some_is_the_median_of_the_known() -> None:
    stderr = np.array([[0.1, np.nan], [0.3, np.nan], [np.nan, 0.0], [0.2, np.nan]])
    found = standardize(Observations(np.zeros((4, 1)), np.arange(8.0).reshape(4, 2), stderr))
    np.testing.assert_allclose(np.sqrt(found.variances[:, 0]) * found.scale[0], [0.1, 0.3, 0.2, 0.2])
    assert np.isnan(found.variances[:, 1]).all()
