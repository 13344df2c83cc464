"""Links between quadratics and fitness."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.quadratic_surrogate.box import Box
from searcher.quadratic_surrogate.link import LINKS, Link, fitness_of, is_in_range, latent, slope
from searcher.quadratic_surrogate.surrogates import Measured, fit_surrogates


@pytest.mark.parametrize("link", LINKS)
@given(st.floats(-4.5, 4.5))
def test_there_and_back(link: Link, z: float) -> None:
    latents = np.array([z])
    fitness = fitness_of(latents, link)
    assert is_in_range(fitness, link)
    np.testing.assert_allclose(latent(fitness, link), latents, atol=1e-8)
    assert fitness_of(latents + 1e-3, link) > fitness
    numeric = (fitness_of(latents + 1e-6, link) - fitness_of(latents - 1e-6, link)) / 2e-6
    np.testing.assert_allclose(slope(latents, link), numeric, rtol=1e-5)


def test_ends_are_finite() -> None:
    assert np.isfinite(latent(np.array([0.0, 1.0]), "sigmoid")).all()
    assert np.isfinite(latent(np.array([0.0, -800.0]), "softplus")).all()
    assert not is_in_range(np.array([0.5, 1.2]), "sigmoid")
    assert not is_in_range(np.array([0.1]), "softplus")


@pytest.mark.parametrize("link", LINKS)
def test_a_quadratic_behind_its_link_is_recovered(link: Link) -> None:
    rng = np.random.default_rng(0)
    points, elsewhere = rng.random((20, 2)), rng.random((9, 2))

    def truth(at: np.ndarray) -> np.ndarray:
        return fitness_of(1.0 - 3 * (at[:, 0] - 0.4) ** 2 + at[:, 0] * at[:, 1], link)[:, None]

    measured = Measured(points, truth(points), np.full((20, 1), np.nan))
    surrogates = fit_surrogates(measured, Box.of(0.0, 1.0, 2), (link,), "full")
    np.testing.assert_allclose(surrogates.predict(elsewhere), truth(elsewhere), atol=1e-8)


def test_with_the_wrong_link_it_is_not() -> None:
    rng = np.random.default_rng(0)
    points = rng.random((40, 2))
    fitness = fitness_of(8 * (points[:, :1] - 0.5), "sigmoid")
    measured = Measured(points, fitness, np.full((40, 1), np.nan))
    r2 = [fit_surrogates(measured, Box.of(0.0, 1.0, 2), (link,), "full").r2[0] for link in LINKS[:2]]
    assert r2[0] < 0.99 < r2[1]
