"""Maps from a group's genes to coefficients: total, and inverted by encode."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from searcher.spaces.base import SpaceContext
from searcher.spaces.coefficients import CoefficientGenes, Constraints, coefficient_genes
from tests.spaces.test_every_space import CONTEXTS, make_layout

NAMES = ("a", "b", "c", "d", "e")
SIMPLEX = Constraints(simplex=True)
CASES = [
    (0.0, 1.5, Constraints()),
    (-1.0, 1.0, Constraints(max_models=2)),
    (0.25, 1.0, Constraints(max_models=3)),
    (0.0, 1.0, SIMPLEX),
    (0.0, 1.0, Constraints(simplex=True, total=0.5)),
    (0.0, 1.0, Constraints(simplex=True, total=(0.0, 2.0))),
    (0.0, 1.0, Constraints(simplex=True, max_models=2)),
    (0.0, 1.0, Constraints(simplex=True, total=(0.5, 1.5), max_models=1)),
]
every_case = pytest.mark.parametrize(("low", "high", "constraints"), CASES)


def make(n: int = 5, low: float = 0.0, high: float = 1.0, constraints: Constraints = SIMPLEX) -> CoefficientGenes:
    return coefficient_genes(SpaceContext(make_layout(), NAMES[:n], "base", "ties"), low, high, constraints)


def encoded(genes: CoefficientGenes, rows: list[list[float]]) -> NDArray[np.float64]:
    found = genes.encode(np.array(rows))
    assert found is not None
    return found


@every_case
@given(data=st.data())
def test_the_cube_decodes_into_the_constraints_and_back(
    low: float, high: float, constraints: Constraints, data: st.DataObject
) -> None:
    found = make(5, low, high, constraints)
    gene = st.one_of(st.sampled_from([0.0, 0.5, 1.0, 1e-300, 1 - 1e-16]), st.floats(0, 1))
    row = st.lists(gene, min_size=len(found.heads), max_size=len(found.heads))
    coefficients = found.decode(np.array(data.draw(st.lists(row, min_size=1, max_size=3))))
    assert coefficients.shape[1] == 5
    assert np.all(np.isfinite(coefficients))
    if constraints.simplex:
        totals = np.array([constraints.total]).ravel()
        assert np.all(coefficients >= 0.0)
        assert np.all(coefficients.sum(axis=1) >= totals[0] - 1e-12)
        assert np.all(coefficients.sum(axis=1) <= totals[-1] + 1e-12)
    if constraints.max_models is not None:
        assert np.all(np.count_nonzero(coefficients, axis=1) <= constraints.max_models)
    stored = np.round(coefficients, 12)  # as in a recipe
    again = encoded(found, stored.tolist())
    assert np.all((again >= -1e-9) & (again <= 1 + 1e-9))
    np.testing.assert_allclose(found.decode(again.clip(0, 1)), stored, atol=1e-10)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_corners_and_centre_of_the_simplex_are_exact(n: int) -> None:
    rows = [*np.eye(n).tolist(), [1.0 / n] * n]
    for constraints in (SIMPLEX, Constraints(simplex=True, max_models=n), Constraints(simplex=True, total=(0.0, 1.0))):
        found = make(n, constraints=constraints)
        np.testing.assert_allclose(found.decode(encoded(found, rows)), rows, rtol=0, atol=1e-15)


def test_uniform_genes_are_uniform_on_the_simplex() -> None:
    """Dirichlet(1, ..., 1): mean 1/K, variance (K - 1) / (K^2 (K + 1)), the same for every model."""
    shares = make(4).decode(np.random.default_rng(0).random((200_000, 3)))
    np.testing.assert_allclose(shares.mean(axis=0), 1 / 4, atol=3e-3)
    np.testing.assert_allclose(shares.var(axis=0), 3 / (16 * 5), atol=1e-3)


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_of_the_largest_genes_the_order_of_models_does_not_matter(genes: list[float]) -> None:
    if len(set(genes)) < 4:
        return  # ties go to the earlier model
    for constraints in (Constraints(max_models=2), Constraints(simplex=True, max_models=2)):
        found = make(4, constraints=constraints)
        first = found.decode(np.array([genes]))[0]
        for order in permutations(range(4)):
            np.testing.assert_allclose(found.decode(np.array([genes])[:, order])[0], first[list(order)], atol=1e-15)


def test_the_largest_genes_are_kept() -> None:
    assert make(4, constraints=Constraints(max_models=2)).decode(np.array([[0.5, 0.5, 0.75, 0.5]])).tolist() == [
        [0.5, 0.0, 0.75, 0.0]
    ]
    shares = make(4, constraints=Constraints(simplex=True, max_models=2)).decode(np.array([[0.0, 0.2, 0.1, 0.6]]))
    np.testing.assert_allclose(shares, [[0.0, 0.25, 0.0, 0.75]])


@pytest.mark.parametrize(
    ("constraints", "row"),
    [
        (SIMPLEX, [0.5, 0.4, 0.0]),  # another sum
        (SIMPLEX, [1.2, -0.2, 0.0]),
        (Constraints(simplex=True, total=(0.5, 1.0)), [0.2, 0.2, 0.0]),
        (Constraints(simplex=True, max_models=1), [0.5, 0.5, 0.0]),
        (Constraints(max_models=1), [0.5, 0.5, 0.0]),
        (Constraints(max_models=1), [1.5, 0.0, 0.0]),
    ],
)
def test_what_breaks_a_constraint_is_not_encoded(constraints: Constraints, row: list[float]) -> None:
    assert make(3, constraints=constraints).encode(np.array([row])) is None


def test_fewer_models_than_necessary_need_a_zero_in_the_range() -> None:
    assert make(3, 0.5, 1.0, Constraints(max_models=2)).encode(np.array([[0.75, 0.0, 0.0]])) is None
    found = make(3, -1.0, 1.0, Constraints(max_models=2))
    row = [[-1.0, 0.0, 0.0]]
    assert found.decode(encoded(found, row)).tolist() == row


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        (Constraints(max_models=0), "max_models from 1 to 3"),
        (Constraints(max_models=4), "max_models from 1 to 3"),
        (Constraints(simplex=True, total=0.0), "total"),
        (Constraints(simplex=True, total=(1.0, 0.5)), "total"),
        (Constraints(simplex=True, total=(-1.0, 0.5)), "total"),
        (Constraints(total=2.0), "simplex"),
    ],
)
def test_wrong_constraints_are_refused(constraints: Constraints, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(3, constraints=constraints)


def test_a_simplex_has_no_range_and_a_position_no_simplex() -> None:
    with pytest.raises(ValueError, match="no range"):
        make(3, 0.0, 1.5)
    with pytest.raises(ValueError, match="add up to 1"):
        coefficient_genes(CONTEXTS["slerp of two"], 0.0, 1.0, SIMPLEX)
    with pytest.raises(ValueError, match="several models"):
        make(1)
