"""Fractions that make mergekit, which rounds down, keep as many elements as this project does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.export.mergekit_counts import (
    mergekit_band,
    mergekit_density,
    mergekit_n_kept,
    mergekit_outliers,
    truncated,
)
from searcher.merge.operators.trimming import n_kept


@given(st.floats(0.0, 1.0), st.sets(st.integers(1, 10**7), min_size=1, max_size=8))
def test_the_written_density_keeps_as_many_elements_as_ours(density: float, sizes: set[int]) -> None:
    written = mergekit_density(density, sizes)
    for size in sizes:
        assert mergekit_n_kept(written(size), size) == n_kept(density, size)


def test_a_density_that_serves_all_sizes_is_kept() -> None:
    assert {mergekit_density(0.5, (8, 64))(size) for size in (8, 64)} == {0.5}
    assert mergekit_density(1.0, (3, 7))(3) == 1.0


def test_one_density_is_preferred_to_one_per_size() -> None:
    written = mergekit_density(0.38, (64, 128))  # rounding keeps 24 and 49, truncating 24 and 48
    assert written(64) == written(128) != 0.38


@given(st.floats(0.0, 1.0), st.sets(st.integers(1, 10**7), min_size=1, max_size=8))
def test_fractions_of_breadcrumbs_count_as_ours(fraction: float, sizes: set[int]) -> None:
    density, gamma = mergekit_band(fraction, sizes), mergekit_outliers(fraction, sizes)
    for size in sizes:
        assert 0.0 <= density(size) <= 1.0
        assert truncated(density(size), size) == n_kept(fraction, size)
        assert truncated(gamma(size), size) == round(fraction * size)


@pytest.mark.parametrize(
    ("density", "rounded_down", "n"),
    [(0.0, 0, 0), (1e-12, 0, 1), (0.1, 0, 1), (0.25, 2, 2), (0.3, 2, 2), (0.999, 7, 7), (1.0, 8, 8), (1.5, 8, 8)],
)
def test_ties_of_mergekit_keeps_one_element_at_least_unless_the_density_is_zero(
    density: float, rounded_down: int, n: int
) -> None:
    assert truncated(density, 8) == rounded_down
    assert mergekit_n_kept(density, 8) == n


def test_a_density_too_small_for_breadcrumbs_keeps_one_element_all_the_same() -> None:
    """mergekit's breadcrumbs would keep none; ours keeps at least one, so more must be written."""
    written = mergekit_band(1e-3, (8, 64))
    assert [truncated(written(size), size) for size in (8, 64)] == [1, 1]
    assert mergekit_outliers(1e-3, (8, 64))(8) == 1e-3  # no outlier here is none there


def test_sizes_that_no_one_fraction_serves_get_their_own() -> None:
    written = mergekit_density(0.5, (3, 5, 1000))  # 2 of 3, 2 of 5 and 500 of 1000: from 2/3, and below 3/5
    assert len({written(size) for size in (3, 5, 1000)}) == 3
    assert [mergekit_n_kept(written(size), size) for size in (3, 5, 1000)] == [2, 2, 500]


def test_empty_tensors_and_no_tensors_ask_for_nothing() -> None:
    assert mergekit_density(0.3, ())(0) == 0.3
    assert mergekit_density(0.38, (0, 64))(0) == mergekit_density(0.38, (64,))(64)
