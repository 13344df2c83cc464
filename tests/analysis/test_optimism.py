"""The winner's curse: found where it is, not found where it is not; its error covers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from searcher.analysis.optimism import excess_gap, gap_of_examples, gap_of_scores


def test_one_point_is_the_difference_of_two_means() -> None:
    search, held_out = np.array([[1.0, 0.0, 1.0, 1.0]]), np.array([[0.0, 1.0]])
    gap = gap_of_examples(search, held_out)
    assert gap.value == pytest.approx(0.25)
    assert gap.stderr == pytest.approx(math.hypot(np.std([1, 0, 1, 1], ddof=1) / 2, np.std([0, 1], ddof=1) / 2**0.5))
    assert gap.interval == pytest.approx((0.25 - 1.96 * gap.stderr, 0.25 + 1.96 * gap.stderr))


def test_points_that_share_their_examples_do_not_average_errors_away() -> None:
    rng = np.random.default_rng(0)
    hardness = rng.normal(size=200)
    many = hardness + 0.01 * rng.normal(size=(50, 200))
    one, fifty = gap_of_examples(many[:1], many[:1, :100]), gap_of_examples(many, many[:, :100])
    assert fifty.stderr == pytest.approx(one.stderr, rel=0.05)


def test_choosing_the_best_of_many_equal_models_flatters_and_the_interval_covers() -> None:
    rng = np.random.default_rng(1)
    gaps, covered = [], []
    for _ in range(300):
        search, held_out = (rng.binomial(1, 0.7, (40, n)).astype(np.float64) for n in (100, 60))
        best = np.argsort(-search.mean(axis=1))[:1]
        gaps.append(gap_of_examples(search[best], held_out[best]).value)
        low, high = gap_of_examples(search[:1], held_out[:1]).interval  # not chosen: no gap
        covered.append(low <= 0 <= high)
    assert np.mean(gaps) > 0.07
    assert 0.9 < np.mean(covered) < 0.99


def test_an_easier_part_lifts_all_and_cancels_in_the_excess() -> None:
    rng = np.random.default_rng(2)
    easy, hard = rng.normal(0.5, 1, 300), rng.normal(0.0, 1, 200)
    points, others = ([easy + 0.01 * rng.normal(size=300), hard + 0.01 * rng.normal(size=200)] for _ in range(2))
    arrays = [np.array([row]) for row in (*points, *others)]
    assert gap_of_examples(arrays[0], arrays[1]).value > 0.3
    excess = excess_gap(*arrays)
    assert abs(excess.value) < 4 * excess.stderr < 0.05


def test_without_examples_the_error_is_a_bound() -> None:
    gap = gap_of_scores(np.array([0.8, 0.9]), np.array([0.7, 0.8]), np.array([0.03, 0.03]), np.array([0.04, 0.04]))
    assert gap.value == pytest.approx(0.1)
    assert gap.stderr == pytest.approx(0.05)
    assert gap.is_bound


def test_missing_examples() -> None:
    rows = np.array([[1.0, math.nan, 0.0], [1.0, 1.0, 0.0]])
    assert gap_of_examples(rows, rows).value == 0
    assert math.isnan(gap_of_examples(rows[:, 1:2], rows).value)
