"""Quadratic fits: exact recovery, what must be refused, and leave-one-out errors against brute force."""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from searcher.quadratic_surrogate.box import Box
from searcher.quadratic_surrogate.quadratic import Terms, best_fit, features, fit_quadratic, n_unknowns

Floats = NDArray[np.float64]
seeds = st.integers(0, 2**32 - 1)
dims = st.integers(1, 6)


def random_quadratic(dim: int, rng: np.random.Generator, terms: Terms = "full") -> tuple[float, Floats, Floats]:
    a = rng.normal(size=(dim, dim))
    a = a + a.T if terms == "full" else np.diag(np.diag(a))
    return float(rng.normal()), rng.normal(size=dim), a


def value(quadratic: tuple[float, Floats, Floats], points: Floats) -> Floats:
    e, b, a = quadratic
    return np.asarray(e + points @ b + 0.5 * np.einsum("ni,ij,nj->n", points, a, points))


@pytest.mark.parametrize(("dim", "unknowns"), [(2, 6), (3, 10), (4, 15), (5, 21), (8, 45)])
def test_unknowns_are_those_of_the_paper(dim: int, unknowns: int) -> None:
    assert n_unknowns(dim, "full") == unknowns == features(np.zeros((1, dim))).shape[1]
    assert n_unknowns(dim, "separable") == 2 * dim + 1 == features(np.zeros((1, dim)), "separable").shape[1]


@given(dims, seeds)
def test_features_are_all_monomials_up_to_degree_two(dim: int, seed: int) -> None:
    point = np.random.default_rng(seed).random((1, dim))
    padded = [1.0, *point[0]]
    expected = [a * b for a, b in combinations_with_replacement(padded, 2)]
    np.testing.assert_allclose(np.sort(features(point)[0]), np.sort(expected), rtol=1e-15)


@given(dims, seeds, st.integers(0, 10), st.sampled_from(["full", "separable"]))
def test_quadratics_are_recovered_from_as_many_points_as_unknowns(dim: int, seed: int, more: int, terms: Terms) -> None:
    rng = np.random.default_rng(seed)
    truth, box = random_quadratic(dim, rng, terms), Box.of(0.1, 0.7, dim)
    points = box.at(np.concatenate([simplex_lattice(dim, terms), rng.random((more, dim))]))
    fit = fit_quadratic(points, value(truth, points), box=box, terms=terms)
    elsewhere = rng.random((50, dim))
    assert np.abs(fit.predict(elsewhere) - value(truth, elsewhere)).max() < 1e-8
    constant, slopes, curvature = fit.expansion()
    assert abs(constant - truth[0]) < 1e-8
    assert np.abs(slopes - truth[1]).max() < 1e-8
    assert np.abs(curvature - truth[2]).max() < 1e-8
    assert np.array_equal(curvature, curvature.T)


def simplex_lattice(dim: int, terms: Terms) -> Floats:
    """Exactly as many points as unknowns, in general position: 0, halves, ones and, if full, pairs of halves."""
    eye = np.eye(dim)
    pairs = [(eye[i] + eye[j]) / 2 for i in range(dim) for j in range(i)] if terms == "full" else []
    return np.array([np.zeros(dim), *(eye / 2), *eye, *pairs])


@given(dims, seeds, st.sampled_from([0.0, 0.1]))
def test_one_point_fewer_is_refused_and_so_are_repetitions(dim: int, seed: int, ridge: float) -> None:
    rng, box = np.random.default_rng(seed), Box.of(0.0, 1.0, dim)
    points = simplex_lattice(dim, "full")
    for few in (points[:-1], np.concatenate([points[:-1], points[:1]])):
        with pytest.raises(ValueError, match="general position"):
            fit_quadratic(few, rng.random(len(few)), box=box, ridge=ridge)


def test_points_on_a_line_do_not_determine_a_quadratic_of_two_genes() -> None:
    points = np.repeat(np.linspace(0, 1, 20)[:, None], 2, axis=1)
    with pytest.raises(ValueError, match="general position"):
        fit_quadratic(points, points[:, 0], box=Box.of(0.0, 1.0, 2))


@given(st.integers(1, 4), seeds, st.sampled_from([0.0, 1e-3, 1.0]), st.booleans())
def test_leave_one_out_errors_are_those_of_refits(dim: int, seed: int, ridge: float, is_weighted: bool) -> None:
    rng, box = np.random.default_rng(seed), Box.of(0.0, 1.0, dim)
    points = np.concatenate([simplex_lattice(dim, "full"), rng.random((n_unknowns(dim, "full") + 3, dim))])
    values = rng.normal(size=len(points))
    weights = rng.uniform(0.2, 5.0, len(points)) if is_weighted else np.ones(len(points))
    fit = fit_quadratic(points, values, box=box, weights=weights, ridge=ridge)
    for i in range(len(points)):
        kept = np.arange(len(points)) != i
        without = fit_quadratic(points[kept], values[kept], box=box, weights=weights[kept], ridge=ridge)
        expected = values[i] - without.predict(points[i : i + 1])[0]
        assert abs(fit.loo[i] - expected) < 1e-7 * max(1.0, abs(expected))


def test_leave_one_out_is_unknown_where_every_point_decides_its_own_prediction() -> None:
    points = simplex_lattice(2, "full")
    fit = fit_quadratic(points, np.arange(6.0), box=Box.of(0.0, 1.0, 2))
    assert np.isnan(fit.loo).all()
    assert np.isnan(fit.noise)
    assert np.isnan(fit.r2)


def test_the_ridge_is_chosen_by_leave_one_out_and_none_is_best_for_a_quadratic() -> None:
    rng, box = np.random.default_rng(0), Box.of(0.0, 1.0, 3)
    points = rng.random((24, 3))
    exact = value(random_quadratic(3, rng), points)
    fit = best_fit(points, exact, box=box)
    assert fit.r2 > 1 - 1e-12
    noise = rng.normal(size=24)
    loo = [fit_quadratic(points, noise, box=box, ridge=ridge).loo for ridge in (0.0, 0.1, 1.0)]
    assert float(np.sum(best_fit(points, noise, box=box, ridges=(0.0, 0.1, 1.0)).loo ** 2)) == pytest.approx(
        min(float(np.sum(errors**2)) for errors in loo)
    )


def test_standard_errors_are_those_of_repeated_experiments() -> None:
    rng, box = np.random.default_rng(1), Box.of(0.0, 1.0, 2)
    points, probe = rng.random((20, 2)), np.array([[0.3, 0.9], [0.5, 0.5]])
    deviation = rng.uniform(0.05, 0.3, 20)
    truth = random_quadratic(2, rng)
    found = []
    for _ in range(1500):
        values = value(truth, points) + deviation * rng.normal(size=20)
        found.append(fit_quadratic(points, values, box=box, weights=1 / deviation**2).predict(probe))
    fit = fit_quadratic(points, value(truth, points), box=box, weights=1 / deviation**2)
    np.testing.assert_allclose(fit.spread(probe), np.std(found, axis=0), rtol=0.05)


def test_noise_is_estimated_from_the_residuals() -> None:
    rng, box = np.random.default_rng(2), Box.of(0.0, 1.0, 2)
    points = rng.random((400, 2))
    fit = fit_quadratic(points, value(random_quadratic(2, rng), points) + 0.1 * rng.normal(size=400), box=box)
    assert fit.noise == pytest.approx(0.01, rel=0.2)


def test_weights_count_like_repetitions() -> None:
    rng, box = np.random.default_rng(3), Box.of(0.0, 1.0, 2)
    points, values = rng.random((9, 2)), rng.random(9)
    weights = np.array([3.0, *[1.0] * 8])
    weighted = fit_quadratic(points, values, box=box, weights=weights)
    repeated = fit_quadratic(np.concatenate([points, points[[0, 0]]]), np.append(values, values[[0, 0]]), box=box)
    np.testing.assert_allclose(weighted.coefficients, repeated.coefficients, atol=1e-10)
