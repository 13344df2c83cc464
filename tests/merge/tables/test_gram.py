from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from searcher.merge.tables.gram import BLOCK, STRETCH, Gram, column_gram, gram, row_gram

SIZES = [0, 1, 3, BLOCK - 1, BLOCK, BLOCK + 1, 300 * BLOCK + 77]


def draw(n: int, size: int, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [0.02 * torch.randn(size, generator=generator) for _ in range(n)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("n", [1, 3, 6])
def test_equals_float64(n: int, size: int) -> None:
    vectors = draw(n, size)
    exact = np.array([v.double().numpy() for v in vectors]).reshape(n, size)
    products = gram(vectors)
    assert products.shape == (n, n)
    assert np.array_equal(products, products.T)
    scale = max(1e-300, float(np.max(exact**2 @ np.ones(size))))
    assert np.allclose(products, exact @ exact.T, rtol=0, atol=1e-13 * scale)


def test_small_whole_numbers_are_exact() -> None:
    generator = torch.Generator().manual_seed(1)
    vectors = [torch.randint(-9, 10, (1_000_003,), generator=generator).float() for _ in range(3)]
    exact = np.array([v.long().numpy() for v in vectors])
    assert np.array_equal(gram(vectors), exact @ exact.T)


@given(shape=st.lists(st.integers(0, 7), max_size=4).map(tuple), n=st.integers(1, 4), seed=st.integers(0, 99))
def test_rows_and_columns_of_every_shape(shape: tuple[int, ...], n: int, seed: int) -> None:
    flat = draw(n, int(np.prod(shape)), seed)
    full = np.array([v.double().numpy().reshape(shape) for v in flat]).reshape(n, *shape)
    axes = shape if shape else (1,)
    last = full.reshape(n, int(np.prod(axes[:-1])), axes[-1])
    first = full.reshape(n, axes[0], int(np.prod(axes[1:])))
    rows, columns = Gram.of(None, flat, shape, "last"), Gram.of(None, flat, shape, "first")
    assert np.allclose(rows.weights(), np.einsum("krl,jrl->rkj", last, last), rtol=1e-13, atol=1e-18)
    assert np.allclose(columns.weights(), np.einsum("klc,jlc->ckj", first, first), rtol=1e-13, atol=1e-18)
    whole = Gram.of(None, flat, shape).weights()
    assert whole.shape == (1, n, n)
    assert np.allclose(whole[0], rows.weights().sum(axis=0), rtol=1e-12, atol=1e-17)


def test_many_rows_and_long_rows() -> None:
    vectors = draw(2, 2 * (STRETCH + 8))
    exact = np.array([v.double().numpy() for v in vectors])
    for n_rows in (2, (STRETCH + 8) // 4):
        expected = np.einsum("krl,jrl->rkj", *[exact.reshape(2, n_rows, -1)] * 2)
        assert np.allclose(row_gram(vectors, n_rows), expected, rtol=1e-12, atol=1e-16)
        expected = np.einsum("klc,jlc->ckj", *[exact.reshape(2, -1, n_rows)] * 2)
        assert np.allclose(column_gram(vectors, n_rows), expected, rtol=1e-12, atol=1e-16)


def test_bits_do_not_depend_on_threads(threads: Any) -> None:
    vectors = draw(4, 576 * 1537)
    results = []
    for n in (1, 2, 3):
        with threads(n):
            results.append([gram(vectors), row_gram(vectors, 1537), column_gram(vectors, 1537)])
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("axis", [None, "last", "first"])
def test_weights_follow_from_task_vectors(axis: Any) -> None:
    base, *taus = draw(4, 60)
    table = Gram.of(base, taus, (6, 10), axis)
    n_rows = {None: 1, "last": 6, "first": 10}[axis]
    thetas = np.array([base.double().numpy(), *[(base.double() + tau.double()).numpy() for tau in taus]])
    rows = thetas.reshape(4, 6, 10)
    rows = {None: thetas[:, None, :], "last": rows, "first": rows.transpose(0, 2, 1)}[axis]
    expected = np.einsum("krl,jrl->rkj", rows, rows)
    assert table.deltas().shape == (n_rows, 3, 3)
    assert np.allclose(table.weights(with_base=True), expected, rtol=1e-13, atol=1e-18)
    assert np.array_equal(table.weights(), table.weights(with_base=True)[:, 1:, 1:])


def test_angles_between_near_identical_siblings() -> None:
    """Task vectors of 1e-4 of the base: the norm of a difference, whose square is 1e-8 of the products."""
    base, *taus = draw(3, 50_000)
    table = Gram.of(base, [1e-4 * tau for tau in taus], (50_000,))
    deltas = table.deltas()[0]
    difference = deltas[0, 0] + deltas[1, 1] - 2 * deltas[0, 1]
    exact = float((1e-4 * taus[0] - 1e-4 * taus[1]).double().square().sum())
    assert difference == pytest.approx(exact, rel=1e-7)
    weights = table.weights()[0]
    assert weights[0, 0] + weights[1, 1] - 2 * weights[0, 1] == pytest.approx(exact, rel=1e-6)


def test_a_missing_base_is_an_error() -> None:
    table = Gram.of(None, draw(2, 5), (5,))
    assert table.weights().shape == (1, 2, 2)
    with pytest.raises(ValueError, match="include a base"):
        table.deltas()
    with pytest.raises(ValueError, match="include a base"):
        table.weights(with_base=True)


@pytest.mark.parametrize("has_base", [True, False])
def test_round_trip_through_arrays(has_base: bool) -> None:
    base, *others = draw(5, 24)
    table = Gram.of(base if has_base else None, others, (4, 6), "last")
    arrays = table.to_arrays()
    again = Gram.from_arrays(arrays)
    assert np.array_equal(again.products, table.products)
    assert again.has_base is has_base
    for broken in ({}, {**arrays, "products": np.zeros((2, 4))}, {**arrays, "has_base": np.zeros(2, np.uint8)}):
        with pytest.raises(ValueError, match="Expected"):
            Gram.from_arrays(broken)


@pytest.mark.gpu
def test_device_agrees() -> None:
    vectors = draw(4, 576 * 100)
    here, there = gram(vectors), gram([v.cuda() for v in vectors])
    assert np.allclose(here, there, rtol=1e-12, atol=1e-16)
    assert np.allclose(row_gram(vectors, 100), row_gram([v.cuda() for v in vectors], 100), rtol=1e-12, atol=1e-16)
