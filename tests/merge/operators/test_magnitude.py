from __future__ import annotations

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from searcher.merge.operators.magnitude import KEEP_ALL, magnitude_cut, n_kept, trimmed

densities = st.floats(0.0, 1.0)


def draw(size: int, n_magnitudes: int) -> torch.Tensor:
    """Non-zero values with that many different magnitudes; 0 means all different."""
    generator = torch.Generator().manual_seed(size)
    values = torch.randn(size, generator=generator)
    if n_magnitudes:
        values = values.sign() * (1.0 + torch.randint(n_magnitudes, (size,), generator=generator))
    return values


@given(size=st.integers(1, 300), density=densities, n_magnitudes=st.integers(0, 4))
@example(size=1, density=0.0, n_magnitudes=0)
@example(size=2, density=0.25, n_magnitudes=1)
def test_kept_number_is_exact_for_every_size(size: int, density: float, n_magnitudes: int) -> None:
    values = draw(size, n_magnitudes)
    result = trimmed(values, magnitude_cut(values, density, "t"), 0, "t")
    kept = result != 0
    assert int(kept.sum()) == n_kept(density, size) == min(size, max(1, round(density * size)))
    assert torch.equal(result[kept], values[kept])
    if not bool(kept.all()):
        assert values[kept].abs().min() >= values[~kept].abs().max()


@given(size=st.integers(1, 100), low=densities, high=densities, n_magnitudes=st.integers(0, 3))
def test_a_larger_density_keeps_what_a_smaller_one_kept(size: int, low: float, high: float, n_magnitudes: int) -> None:
    values = draw(size, n_magnitudes)
    few, many = (trimmed(values, magnitude_cut(values, d, "t"), 0, "t") != 0 for d in sorted((low, high)))
    assert bool((many | ~few).all())


@given(size=st.integers(2, 100), density=densities, n_magnitudes=st.integers(0, 3), data=st.data())
def test_same_elements_for_any_cut(size: int, density: float, n_magnitudes: int, data: st.DataObject) -> None:
    values = draw(size, n_magnitudes)
    cut = magnitude_cut(values, density, "t")
    border = data.draw(st.integers(1, size - 1))
    parts = [trimmed(values[:border], cut, 0, "t"), trimmed(values[border:], cut, border, "t")]
    assert torch.equal(torch.cat(parts), trimmed(values, cut, 0, "t"))


def test_ties_fall_differently_in_other_tensors() -> None:
    values = torch.ones(64)
    first, second = (trimmed(values, magnitude_cut(values, 0.5, name), 0, name) for name in ("a", "b"))
    assert first.sum() == second.sum() == 32
    assert not torch.equal(first, second)


def test_ties_are_spread_over_the_tensor() -> None:
    values = torch.ones(4096)
    kept = trimmed(values, magnitude_cut(values, 0.25, "t"), 0, "t").view(16, 256).sum(dim=1)
    assert 30 < float(kept.min()) <= float(kept.max()) < 100  # 64 expected in each block


def test_mostly_zero_values_lose_nothing() -> None:
    values = torch.zeros(10)
    values[3] = 2.0
    assert magnitude_cut(values, 0.5, "t") == KEEP_ALL


@pytest.mark.parametrize("scale", [1e-38, 1e-20, 1e20])
def test_extreme_magnitudes(scale: float) -> None:
    values = torch.tensor([1.0, -2.0, 3.0, -4.0]) * scale
    assert trimmed(values, magnitude_cut(values, 0.5, "t"), 0, "t").tolist() == [0.0, 0.0, *values[2:].tolist()]
