"""Scores from examples against their closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from searcher.candidate import Evaluation, Score

VALUES = st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), max_size=30)


@pytest.mark.parametrize(("k", "n"), [(1, 5), (3, 8), (7, 8), (1, 2)])
def test_zeros_and_ones_give_the_closed_form(k: int, n: int) -> None:
    """k of n right: mean p = k / n, standard error sqrt(p (1 - p) / (n - 1))."""
    score = Score.from_examples(np.repeat([1.0, 0.0], [k, n - k]))
    p = k / n
    assert score.value == pytest.approx(p, abs=1e-15)
    assert score.stderr == pytest.approx(math.sqrt(p * (1 - p) / (n - 1)), abs=1e-15)


@pytest.mark.parametrize(("k", "n"), [(0, 2), (2, 2), (0, 120), (120, 120)])
def test_examples_that_all_agree_do_not_claim_certainty(k: int, n: int) -> None:
    """The Beta(k + 1, n - k + 1) posterior's standard deviation, never 0."""
    score = Score.from_examples(np.repeat([1.0, 0.0], [k, n - k]))
    assert score.stderr == pytest.approx(math.sqrt((k + 1) * (n - k + 1) / ((n + 2) ** 2 * (n + 3))))
    assert math.isnan(Score.from_examples(np.full(n, 0.7)).stderr)


def test_an_arithmetic_sequence_gives_the_closed_form() -> None:
    """0 ... n - 1: mean (n - 1) / 2, sample variance n (n + 1) / 12."""
    n = 9
    score = Score.from_examples(np.arange(n, dtype=np.float64))
    assert score.value == (n - 1) / 2
    assert score.stderr == pytest.approx(math.sqrt((n + 1) / 12), rel=1e-14)


@pytest.mark.parametrize(("examples", "value"), [([], math.nan), ([math.nan, math.nan], math.nan), ([2.5], 2.5)])
def test_fewer_than_two_scored_examples_have_no_standard_error(examples: list[float], value: float) -> None:
    score = Score.from_examples(np.array(examples))
    assert score.value == pytest.approx(value, nan_ok=True)
    assert math.isnan(score.stderr)


@given(VALUES)
def test_unscored_examples_are_left_out_but_kept_in_place(values: list[float]) -> None:
    examples = np.array(values, dtype=np.float64)
    before = examples.copy()
    whole, scored = Score.from_examples(examples), Score.from_examples(examples[~np.isnan(examples)])
    assert whole.value == pytest.approx(scored.value, nan_ok=True)
    assert whole.stderr == pytest.approx(scored.stderr, nan_ok=True)
    np.testing.assert_array_equal(whole.example_scores, before)
    np.testing.assert_array_equal(examples, before)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20), st.floats(-100, 100))
def test_a_shift_moves_the_value_and_not_the_standard_error(values: list[float], shift: float) -> None:
    assume(np.ptp(values) > 1e-6)  # values that all agree are another case
    plain, moved = Score.from_examples(np.array(values)), Score.from_examples(np.array(values) + shift)
    assert moved.value == pytest.approx(plain.value + shift, abs=1e-9)
    assert moved.stderr == pytest.approx(plain.stderr, abs=1e-9)


def test_integers_become_floats() -> None:
    score = Score.from_examples(np.array([1, 2]))  # what a careless objective passes
    assert score.example_scores is not None
    assert score.example_scores.dtype == np.float64


def test_missing_is_nan_and_never_zero() -> None:
    assert math.isnan(Score(0.5).stderr)
    assert Evaluation(0, "search", error="OutOfMemory").scores == {}
