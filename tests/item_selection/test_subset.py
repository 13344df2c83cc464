"""Estimates of full scores: exact for all items, honest about their errors for few."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from searcher.item_selection.irt import sigmoid
from searcher.item_selection.subset import METHODS, ItemSubset, estimate, select_items

Array = NDArray[np.float64]
OFFERED = ("anchors", "irt", "stratified")


def skills(n_models: int, n_items: int, seed: int, *, n_skills: int = 4, n_first: int = 0, sharp: float = 1) -> Array:
    """Answers of models that differ in several skills; the first ``n_first`` have mostly one of them each.

    The sharper, the less is left to chance.
    """
    rng = np.random.default_rng(seed)
    skill = rng.integers(n_skills, size=n_items)
    abilities = rng.normal(0.3, 1.2, (n_models, n_skills))
    for k in range(n_first):
        abilities[k] = np.where(np.arange(n_skills) == k % n_skills, 2.0, -1.5)
    chances = sigmoid(sharp * (abilities[:, skill] - rng.normal(0, 1, n_items)))
    return (rng.random(chances.shape) < chances).astype(np.float64)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_all_items_give_the_exact_score_without_error(method: str) -> None:
    responses = skills(6, 40, 0)
    for m in (40, 100):
        subset = select_items(responses, m, method)
        for answers in responses:
            assert subset.estimate(answers) == (answers.mean(), 0.0)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_identical_respondents_whose_candidate_is_one_of_them(method: str) -> None:
    one = (np.arange(60) % 3 == 0).astype(np.float64)
    subset = select_items(np.tile(one, (5, 1)), 20, method, seed=3)
    value, error = estimate(subset, one[subset.indices])
    assert abs(value - one.mean()) < max(3 * error, 0.02)
    if method in ("anchors", "stratified", "medoids"):
        assert value == pytest.approx(one.mean(), abs=0.02)  # 20 out of two strata of 20 and 40


@pytest.mark.parametrize("method", sorted(METHODS))
@given(data=st.data())
def test_estimates_are_finite_and_repeatable(method: str, data: st.DataObject) -> None:
    n = data.draw(st.integers(3, 25))
    m = data.draw(st.integers(1, n))
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    responses = (rng.random((data.draw(st.integers(0, 4)), n)) < rng.random(n)).astype(np.float64)
    answers = (rng.random(n) < 0.5).astype(np.float64)
    subset, again = (select_items(responses, m, method, seed=5) for _ in range(2))
    np.testing.assert_array_equal(subset.indices, again.indices)
    value, error = subset.estimate(answers[subset.indices])
    assert (value, error) == again.estimate(answers[again.indices])
    assert np.isfinite([value, error]).all()
    assert (error > 0) == (m < n)
    assert subset.weights.sum() == pytest.approx(1)


@pytest.mark.parametrize("method", OFFERED)
def test_error_bars_hold_by_simulation(method: str) -> None:
    """Candidates unlike the baselines: estimates are unbiased, 95 % intervals cover at least 90 % of the truths."""
    errors, bars = [], []
    for seed in range(8):
        responses = skills(52, 300, seed, n_first=4)
        subset = select_items(responses[:12], 60, method, seed, np.arange(4))
        for answers in responses[12:]:
            value, bar = subset.estimate(answers[subset.indices])
            errors.append(value - answers.mean())
            bars.append(bar)
    z = np.array(errors) / np.array(bars)
    assert np.mean(np.abs(z) < 1.96) > 0.9
    assert 0.6 < np.sqrt(np.mean(z**2)) < 1.2
    assert abs(np.mean(errors)) < 0.01


def test_anchors_err_less_than_random_items() -> None:
    def error(method: str) -> float:
        found = []
        for seed in range(20):
            responses = skills(52, 300, seed, n_first=4, sharp=5)
            subset = select_items(responses[:12], 30, method, seed)
            found += [subset.estimate(a[subset.indices])[0] - a.mean() for a in responses[12:]]
        return float(np.mean(np.abs(found)))

    assert error("anchors") < 0.8 * error("random")


def test_a_model_of_the_items_errs_less_than_random_items_where_it_is_true() -> None:
    """Simulated 2PL data, as in MERGE3: mp-IRT against the mean of the same random items."""
    rng = np.random.default_rng(0)
    abilities = rng.standard_normal((80, 2))
    a, b = rng.normal(0, 1.5, (600, 2)), rng.normal(0, 1, 600)
    chances = sigmoid(abilities @ a.T - b)
    responses = (rng.random(chances.shape) < chances).astype(np.float64)
    by_method = {}
    for method in ("random", "mp-IRT"):
        subset = select_items(responses[:40], 50, method, 1)
        found = [subset.estimate(r[subset.indices])[0] - r.mean() for r in responses[40:]]
        by_method[method] = float(np.sqrt(np.mean(np.square(found))))
    assert by_method["mp-IRT"] < 0.8 * by_method["random"]


def test_the_shares_of_mean_and_model_are_the_ends_of_one_line() -> None:
    subset = select_items(skills(8, 100, 1), 30, "irt")
    assert subset.model is not None
    answers = skills(9, 100, 2)[8][subset.indices]
    ends = (float(subset.weights @ answers), subset.model(answers))
    for share in (0.0, 0.3, 1.0):
        changed = ItemSubset(subset.indices, subset.weights, 100, subset.neighbours, subset.model, share)
        assert changed.estimate(answers)[0] == pytest.approx(share * ends[0] + (1 - share) * ends[1])


def test_graded_scores_are_estimated_too() -> None:
    rng = np.random.default_rng(4)
    kinds = rng.integers(5, size=200)
    models = rng.normal(0, 3, (30, 5))[:, kinds] + rng.normal(0, 0.3, (30, 200)) - 40
    subset = select_items(models[:10], 40, "anchors")
    z = []
    for answers in models[10:]:
        value, error = subset.estimate(answers[subset.indices])
        assert error < 0.25 * answers.std() / np.sqrt(40) * 2
        z.append((value - answers.mean()) / error)
    assert np.sqrt(np.mean(np.square(z))) < 1.6


def test_an_error_is_never_claimed_smaller_than_neighbours_differences_explain() -> None:
    one = (np.arange(50) % 2).astype(np.float64)
    subset = select_items(np.tile(one, (6, 1)), 20, "anchors")  # estimates every baseline without error
    assert subset.error_ratio == 1.0
    assert subset.estimate(one[subset.indices])[1] > 0


def test_without_baselines_items_are_drawn_at_random() -> None:
    subset = select_items(np.empty((0, 80)), 16, "anchors", seed=2)
    np.testing.assert_allclose(subset.weights, 1 / 16)
    value, error = subset.estimate(np.repeat([0.0, 1.0], 8))
    assert value == 0.5
    assert 0.03 < error < 0.2


@pytest.mark.parametrize(
    ("responses", "m"),
    [(np.zeros((2, 0)), 1), (np.zeros(4), 1), (np.zeros((2, 4)), 0), (np.full((2, 4), np.nan), 2)],
)
def test_unusable_arguments_are_refused(responses: Array, m: int) -> None:
    with pytest.raises(ValueError, match="finite responses"):
        select_items(responses, m)


def test_answers_of_another_shape_or_not_finite_are_refused() -> None:
    subset = select_items(skills(4, 30, 0), 10)
    for answers in (np.zeros(9), np.full(10, np.nan)):
        with pytest.raises(ValueError, match="finite answers"):
            subset.estimate(answers)
    with pytest.raises(KeyError):
        select_items(skills(4, 30, 0), 10, "nope")
