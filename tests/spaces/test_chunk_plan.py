"""Importance and allocation of chunks: the formulas of Expert Merging++ and what they conserve."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from searcher.pool.layout import TensorEntry
from searcher.spaces.chunk_plan import Unit, allocate, importances

importance_lists = st.lists(st.integers(0, 1000), min_size=1, max_size=12).filter(any)


def tensor(offset: int, size: int) -> TensorEntry:
    return TensorEntry(f"{offset}", (size,), offset, size, 0, "mlp")


def shares(raw: list[int]) -> np.ndarray:
    return np.array(raw) / sum(raw)


def test_importance_is_the_normalised_product() -> None:
    alpha = np.array([[0.5, -1.0], [0.25, 0.0]])
    norms = np.array([[2.0, 3.0], [4.0, 9.0]])
    np.testing.assert_allclose(importances(alpha, norms), [4 / 5, 1 / 5])
    assert importances(np.zeros((4, 2)), np.ones((4, 2))).tolist() == [0.25] * 4


@given(importance_lists, st.floats(1e-6, 1e6))
def test_importance_does_not_depend_on_a_common_scale(raw: list[int], scale: float) -> None:
    norms = np.array(raw, dtype=float)[:, None]
    np.testing.assert_allclose(importances(np.ones_like(norms), norms * scale), shares(raw), rtol=1e-12)


@given(importance_lists, st.integers(1, 60), st.sampled_from([0, 1, 2]))
def test_chunks_are_the_floors_of_the_formula(raw: list[int], budget: int, kappa: int) -> None:
    """Recomputed in exact rational numbers: ``m_l = floor(B I_l^kappa / sum I_j^kappa)``."""
    powers = [Fraction(r) ** kappa for r in raw]
    expected = [int(budget * power / sum(powers)) for power in powers]
    found = allocate(shares(raw), [10_000] * len(raw), budget, kappa=kappa)
    assert found.tolist() == expected


@given(importance_lists, st.integers(1, 60), st.floats(0, 8), st.booleans(), st.booleans(), st.integers(1, 20))
def test_the_budget_is_conserved(
    raw: list[int], budget: int, kappa: float, with_rest: bool, remainder: bool, size: int
) -> None:
    sizes = [size] * len(raw)
    found = allocate(shares(raw), sizes, budget, kappa=kappa, with_rest=with_rest, remainder=remainder)
    n_groups = int(found.sum()) + (with_rest and bool(np.any(found == 0)))
    assert n_groups <= budget
    assert np.all((found >= 0) & (found <= size))
    if remainder and not np.any(found == size):
        assert n_groups == budget
    order = np.argsort(shares(raw), kind="stable")
    assert np.all(np.diff(found[order]) >= -int(remainder))  # never fewer chunks for more importance


def test_extreme_exponents() -> None:
    raw = shares([5, 3, 2])
    assert allocate(raw, [100] * 3, 9, kappa=0).tolist() == [3, 3, 3]
    assert allocate(raw, [100] * 3, 9, kappa=1e6).tolist() == [9, 0, 0]
    assert allocate(raw, [100] * 3, 9, kappa=1e6, with_rest=True).tolist() == [8, 0, 0]
    assert allocate(raw, [4] * 3, 9, kappa=1e6).tolist() == [4, 0, 0]  # one coefficient per element


def test_equal_layers_keep_their_whole_quota() -> None:
    for n in range(1, 200):
        assert allocate(np.full(n, 1 / n), [10] * n, n).tolist() == [1] * n


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.data())
def test_chunks_cover_a_unit_without_overlap(sizes: list[int], data: st.DataObject) -> None:
    gaps = data.draw(st.lists(st.integers(0, 3), min_size=len(sizes), max_size=len(sizes)))
    tensors, at = [], 0
    for size, gap in zip(sizes, gaps, strict=True):
        tensors.append(tensor(at + gap, size))
        at += gap + size
    unit = Unit("u", tuple(tensors))
    n = data.draw(st.integers(1, unit.size))
    of_position = {}
    for start, stop, chunk in unit.pieces(n):
        assert start < stop
        for position in range(start, stop):
            assert position not in of_position
            of_position[position] = chunk
    assert sorted(of_position) == [p for t in tensors for p in range(t.offset, t.stop)]
    chunks = [of_position[p] for p in sorted(of_position)]
    assert chunks == sorted(chunks)  # contiguous
    counts = np.bincount(chunks, minlength=n)
    assert counts.max() - counts.min() <= 1
