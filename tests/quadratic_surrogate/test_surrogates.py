"""Surrogates of noisy objectives, and when a measurement contradicts a prediction."""

from __future__ import annotations

import numpy as np
import pytest

from searcher.quadratic_surrogate.box import Box
from searcher.quadratic_surrogate.surrogates import Measured, fit_surrogates, is_beyond, refitted

BOX = Box.of(0.0, 1.0, 2)


def noisy(rng: np.random.Generator, n: int) -> tuple[Measured, np.ndarray]:
    points = rng.random((n, 2))
    truth = 1 - ((points - 0.4) ** 2).sum(axis=1, keepdims=True)
    stderr = rng.uniform(0.02, 0.2, (n, 1))
    return Measured(points, truth + stderr * rng.normal(size=(n, 1)), stderr), truth


def test_weights_follow_the_standard_errors() -> None:
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(40):
        data, truth = noisy(rng, 30)
        blind = Measured(data.points, data.fitness, np.full((30, 1), np.nan))
        found = [fit_surrogates(d, BOX, ("none",), "full").predict(data.points) for d in (data, blind)]
        errors.append([float(np.mean((f - truth) ** 2)) for f in found])
    weighted, equal = np.mean(errors, axis=0)
    assert weighted < 0.8 * equal


def test_predictions_of_right_surrogates_are_beyond_two_standard_errors_once_in_twenty() -> None:
    rng, n_beyond = np.random.default_rng(1), []
    for _ in range(60):
        data, _ = noisy(rng, 40)
        fitted = fit_surrogates(data.rows(np.arange(20)), BOX, ("none",), "full")
        rest = data.rows(np.arange(20, 40))
        apart = np.hypot(fitted.stderr(rest.points), rest.stderr)
        n_beyond.append(is_beyond(rest.fitness, fitted.predict(rest.points), apart, fitted.scale).mean())
    assert 0.02 < np.mean(n_beyond) < 0.08


@pytest.mark.parametrize("stderr", [0.0, np.nan])
def test_unknown_standard_errors_are_taken_from_the_residuals(stderr: float) -> None:
    data, _ = noisy(np.random.default_rng(2), 200)
    blind = Measured(data.points, data.fitness, np.full((200, 1), stderr))
    noise = fit_surrogates(blind, BOX, ("none",), "full").noise(BOX.centre[None])[0, 0]
    assert noise == pytest.approx(np.sqrt(np.mean(data.stderr**2)), rel=0.15)


def test_one_standard_error_of_nothing_does_not_outweigh_all_others() -> None:
    rng = np.random.default_rng(3)
    data, _ = noisy(rng, 30)
    stderr = data.stderr.copy()
    stderr[0] = 1e-12
    fitness = data.fitness.copy()
    fitness[0] += 0.3
    fitted = fit_surrogates(Measured(data.points, fitness, stderr), BOX, ("none",), "full")
    assert fitted.each[0].fit.weights.max() < 150 * np.median(fitted.each[0].fit.weights)


def test_points_outside_the_box_fade() -> None:
    rng = np.random.default_rng(4)
    points = rng.random((300, 2))
    fitness = np.sin(6 * points[:, :1])
    data, small = Measured(points, fitness, np.full((300, 1), np.nan)), Box.of(0.1, 0.3, 2)
    inside = points[small.contains(points)]
    errors = [
        np.abs(fit_surrogates(data, box, ("none",), "full").predict(inside) - np.sin(6 * inside[:, :1])).max()
        for box in (small, BOX)
    ]
    assert errors[0] < 0.3 * errors[1]


def test_refits_to_all_points_change_next_to_nothing() -> None:
    data, _ = noisy(np.random.default_rng(5), 40)
    fitted = fit_surrogates(data.rows(np.arange(40)), BOX, ("none",), "full")
    again = refitted(fitted, data, np.arange(40))
    np.testing.assert_allclose(again.predict(data.points), fitted.predict(data.points), atol=0.05)


def test_a_difference_of_rounding_is_none() -> None:
    assert not is_beyond(np.array([1.0 + 1e-12]), np.array([1.0]), np.zeros(1), np.ones(1)).any()
    assert is_beyond(np.array([1.1]), np.array([1.0]), np.array([0.04]), np.ones(1)).all()
