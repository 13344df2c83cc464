"""Item-response theory: a simulated model is found again; few respondents give the prior, never an overflow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from searcher.item_selection.irt import IrtModel, fit_irt, sigmoid

Array = NDArray[np.float64]


def simulated(n_respondents: int, n_items: int, seed: int = 0, n_dimensions: int = 1) -> tuple[IrtModel, Array]:
    """A model and answers drawn from it."""
    rng = np.random.default_rng(seed)
    a = np.exp(rng.normal(0, 0.4, (n_items, n_dimensions)))
    if n_dimensions > 1:
        a *= rng.choice([-1.0, 1.0], (n_items, n_dimensions))
    model = IrtModel(a, rng.normal(0, 1, n_items), rng.standard_normal((n_respondents, n_dimensions)))
    chances = sigmoid(model.abilities @ a.T - model.difficulties)
    return model, (rng.random(chances.shape) < chances).astype(np.float64)


def test_a_simulated_model_is_found_again() -> None:
    truth, responses = simulated(600, 80)
    found = fit_irt(responses)
    assert np.corrcoef(found.abilities[:, 0], truth.abilities[:, 0])[0, 1] > 0.95
    assert np.corrcoef(found.difficulties, truth.difficulties)[0, 1] > 0.97
    assert np.corrcoef(found.discriminations[:, 0], truth.discriminations[:, 0])[0, 1] > 0.8
    errors = [
        found.probabilities(t) - truth.probabilities(s) for t, s in zip(found.abilities, truth.abilities, strict=True)
    ]
    assert np.sqrt(np.mean(np.square(errors))) < 0.07
    assert found.is_informative
    assert not fit_irt(responses[:14]).is_informative


def test_two_dimensions_are_found_where_there_are_two() -> None:
    truth, responses = simulated(400, 80, n_dimensions=2)
    expected = sigmoid(truth.abilities @ truth.discriminations.T - truth.difficulties)

    def error(n_dimensions: int) -> float:
        found = fit_irt(responses, n_dimensions)
        return float(
            np.sqrt(np.mean((sigmoid(found.abilities @ found.discriminations.T - found.difficulties) - expected) ** 2))
        )

    assert error(2) < 0.6 * error(1)


def test_an_ability_is_estimated_from_some_answers() -> None:
    truth, _ = simulated(1, 2000)
    rng = np.random.default_rng(1)
    for ability in (-1.0, 0.0, 1.5):
        answers = (rng.random(2000) < truth.probabilities(np.array([ability]))).astype(np.float64)
        assert truth.ability(np.arange(2000), answers) == pytest.approx([ability], abs=0.15)
        few = np.arange(0, 2000, 10)
        assert truth.ability(few, answers[few]) == pytest.approx([ability], abs=0.5)


def test_without_answers_an_ability_is_the_priors_mean() -> None:
    truth, _ = simulated(3, 10)
    nothing = np.empty(0, dtype=np.int64)
    np.testing.assert_allclose(truth.ability(nothing, np.empty(0)), 0, atol=1e-9)
    middle = truth.abilities[:2].mean(axis=0)
    np.testing.assert_allclose(truth.interpolated_ability(nothing, np.empty(0), np.array([0, 1])), middle)


def test_a_merge_that_answers_like_an_endpoint_gets_its_chances() -> None:
    truth, _ = simulated(3, 3000, n_dimensions=2)
    items = np.arange(3000)
    for k in range(3):
        answers = truth.probabilities(truth.abilities[k])  # fractions count as shares of a right answer
        found = truth.interpolated_ability(items, answers, np.arange(3))
        np.testing.assert_allclose(truth.probabilities(found), answers, atol=0.02)


def test_an_item_that_does_not_discriminate_has_one_chance() -> None:
    model = IrtModel(np.zeros((3, 2)), np.array([0.0, 1.0, -1.0]), np.zeros((1, 2)))
    for ability in (np.zeros(2), np.array([5.0, -9.0])):
        np.testing.assert_allclose(model.probabilities(ability), sigmoid(np.array([0.0, -1.0, 1.0])))


@given(st.integers(1, 6), st.integers(1, 12), st.integers(1, 3), st.integers(0, 10**6))
def test_any_answers_give_finite_parameters(n_respondents: int, n_items: int, n_dimensions: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    responses = (rng.random((n_respondents, n_items)) < rng.random(n_items)).astype(np.float64)
    found = fit_irt(responses, n_dimensions)
    for values in (found.discriminations, found.difficulties, found.abilities):
        assert np.isfinite(values).all()
    assert found.discriminations.shape == (n_items, n_dimensions)
    assert found.abilities.shape == (n_respondents, n_dimensions)


def test_logits_do_not_overflow() -> None:
    with np.errstate(over="raise"):
        assert 0 < sigmoid(np.array([-1e300]))[0] < 1e-12
        assert sigmoid(np.array([1e300]))[0] > 1 - 1e-12


@pytest.mark.parametrize("responses", [np.zeros((0, 3)), np.array([[0.0, 2.0]]), np.array([[np.nan]]), np.zeros(3)])
def test_what_is_no_answer_is_refused(responses: Array) -> None:
    with pytest.raises(ValueError, match=r"answers in \[0, 1\]"):
        fit_irt(responses)
