from __future__ import annotations

from typing import get_args

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from searcher.merge.operators.breadcrumbs import Breadcrumbs
from searcher.merge.operators.sparsity import Convention
from searcher.merge.operators.ties import Ties
from searcher.merge.operators.trimming import band, largest, n_kept
from searcher.merge.plan import KeepAll, KeepMagnitude
from tests.merge.merging import change, draw, facts_of, in_stretches

densities = st.floats(0.0, 1.0)
conventions = st.sampled_from(get_args(Convention))


def coarse(size: int, n_magnitudes: int) -> torch.Tensor:
    """Non-zero values with that many different magnitudes; 0 means all different."""
    values = draw(size, seed=size)
    if n_magnitudes:
        numbers = torch.randint(n_magnitudes, (size,), generator=torch.Generator().manual_seed(size))
        values = values.sign() * (1.0 + numbers)
    return values


def kept(values: torch.Tensor, density: float, convention: Convention = "paper") -> torch.Tensor:
    return change(Ties(density, convention=convention), (1.0,), values) != 0


@given(size=st.integers(1, 300), density=densities, n_magnitudes=st.integers(0, 4), convention=conventions)
@example(size=1, density=0.0, n_magnitudes=0, convention="paper")
@example(size=2, density=0.25, n_magnitudes=1, convention="paper")
@example(size=100, density=0.29, n_magnitudes=0, convention="mergekit")  # 28.999999999999996
def test_kept_number_is_exact(size: int, density: float, n_magnitudes: int, convention: Convention) -> None:
    values = coarse(size, n_magnitudes)
    result = change(Ties(density, convention=convention), (1.0,), values)
    stays = result != 0
    rounded = round(density * size) if convention == "paper" else int(density * size)
    lowest = 0 if convention == "mergekit" and density == 0.0 else 1
    assert int(stays.sum()) == n_kept(density, size, convention) == min(size, max(lowest, rounded))
    assert torch.equal(result[stays], values[stays])
    if 0 < int(stays.sum()) < size:
        assert values[stays].abs().min() >= values[~stays].abs().max()


@given(size=st.integers(1, 100), low=densities, high=densities, n_magnitudes=st.integers(0, 3), convention=conventions)
def test_a_larger_density_keeps_what_a_smaller_one_kept(
    size: int, low: float, high: float, n_magnitudes: int, convention: Convention
) -> None:
    values = coarse(size, n_magnitudes)
    few, many = (kept(values, density, convention) for density in sorted((low, high)))
    assert bool((many | ~few).all())


@given(size=st.integers(1, 100), density=densities, n_magnitudes=st.integers(0, 3))
def test_conventions_agree_on_whole_numbers(size: int, density: float, n_magnitudes: int) -> None:
    values = coarse(size, n_magnitudes)
    whole = (max(1, round(density * size)) + 1e-9) / size if density < 1.0 else 1.0
    assert torch.equal(kept(values, min(1.0, whole)), kept(values, min(1.0, whole), "mergekit"))


@given(
    size=st.integers(1, 200),
    density=densities,
    gamma=st.floats(0.0, 1.0),
    n_magnitudes=st.integers(0, 3),
    convention=conventions,
)
@example(size=50, density=0.9, gamma=0.01, n_magnitudes=0, convention="mergekit")  # once zeroed everything
@example(size=50, density=0.9, gamma=0.0, n_magnitudes=0, convention="mergekit")
@example(size=50, density=0.95, gamma=0.2, n_magnitudes=0, convention="mergekit")
def test_a_band_lies_below_the_outliers(
    size: int, density: float, gamma: float, n_magnitudes: int, convention: Convention
) -> None:
    values = coarse(size, n_magnitudes)
    stays = change(Breadcrumbs(density, gamma, convention=convention), (1.0,), values) != 0
    rounding = round if convention == "paper" else int
    wanted = min(size, max(int(convention == "paper"), rounding(density * size)))
    above = min(rounding(gamma * size), size - wanted)
    assert int(stays.sum()) == wanted
    falling = values.abs().sort(descending=True).values
    torch.testing.assert_close(values[stays].abs().sort(descending=True).values, falling[above : above + wanted])


@given(size=st.integers(1, 100), density=densities, n_magnitudes=st.integers(0, 3), convention=conventions)
def test_a_band_without_outliers_is_the_largest(
    size: int, density: float, n_magnitudes: int, convention: Convention
) -> None:
    values = coarse(size, n_magnitudes)
    if convention == "mergekit" and 0.0 < density * size < 1.0:
        return  # trimming keeps at least one
    found = change(Breadcrumbs(density, 0.0, convention=convention), (1.0,), values)
    assert torch.equal(found != 0, kept(values, density, convention))


@given(size=st.integers(2, 100), density=densities, n_magnitudes=st.integers(0, 3), data=st.data())
def test_same_elements_for_any_cut(size: int, density: float, n_magnitudes: int, data: st.DataObject) -> None:
    facts = facts_of(torch.zeros(size), [coarse(size, n_magnitudes)])
    border = data.draw(st.integers(1, size - 1))
    operator = Breadcrumbs(density, 0.1)
    assert torch.equal(in_stretches(operator, (1.0,), facts, [border]), in_stretches(operator, (1.0,), facts))


def test_ties_fall_differently_in_other_tensors() -> None:
    values = torch.ones(64)
    first, second = (change(Ties(0.5), (1.0,), values, name=name) != 0 for name in ("a", "b"))
    assert first.sum() == second.sum() == 32
    assert not torch.equal(first, second)


def test_ties_do_not_depend_on_models() -> None:
    values = torch.ones(64)
    alone = kept(values, 0.5)
    assert torch.equal(change(Ties(0.5), (1.0, 1.0), torch.zeros(64), values, names=("x", "y")) != 0, alone)


def test_ties_are_spread_over_the_tensor() -> None:
    blocks = kept(torch.ones(4096), 0.25).view(16, 256).sum(dim=1)
    assert 30 < float(blocks.min()) <= float(blocks.max()) < 100  # 64 expected in each block


@pytest.mark.parametrize("convention", get_args(Convention))
def test_mostly_zero_values_lose_nothing(convention: Convention) -> None:
    values = torch.zeros(10)
    values[3] = 2.0
    assert torch.equal(change(Ties(0.5, convention=convention), (1.0,), values), values)


@pytest.mark.parametrize("scale", [1e-38, 1e-20, 1e20])
def test_extreme_magnitudes(scale: float) -> None:
    values = torch.tensor([1.0, -2.0, 3.0, -4.0]) * scale
    assert change(Ties(0.5), (1.0,), values).tolist() == [0.0, 0.0, *values[2:].tolist()]


@pytest.mark.parametrize("convention", get_args(Convention))
def test_nothing_is_cut_where_all_stays(convention: Convention) -> None:
    facts = facts_of(torch.zeros(8), [draw(8), draw(8, seed=1)])
    assert isinstance(largest(facts, (1.0, 1.0), convention).keep((0, 1)), KeepAll)
    assert isinstance(band(facts, (1.0, 0.5), (0.1, 0.1), convention).keep((0,)), KeepAll)
    plain = band(facts, (0.5, 0.5), (0.05, 0.05), convention).keep((0,))  # less than one outlier
    assert isinstance(plain, KeepMagnitude)
    assert plain.high is None


def test_nothing_left_is_told_by_the_factor() -> None:
    facts = facts_of(torch.zeros(8), [draw(8)])
    assert [largest(facts, (0.0,), name).factor(0) for name in get_args(Convention)] == [1.0, 0.0]
    assert [band(facts, (0.1,), (0.0,), name).factor(0) for name in get_args(Convention)] == [1.0, 0.0]


@pytest.mark.parametrize("density", [0.01, 0.37, 0.9])
def test_large_tensors_are_cut_by_a_table(density: float) -> None:
    n = 100_000
    values = draw(n)
    stays = kept(values, density)
    assert abs(int(stays.sum()) / n - density) <= 1e-4
    assert values[stays].abs().min() >= values[~stays].abs().max()
    found = change(Breadcrumbs(density, 0.02), (1.0,), values) != 0
    assert abs(int(found.sum()) / n - density) <= 2e-4
    above = values.abs() > values[found].abs().max()
    assert abs(int(above.sum()) / n - 0.02) <= 1e-4
    assert not bool((found & above).any())


def test_a_table_parts_ties() -> None:
    values = (2.0 * draw(100_000)).round() + 0.25  # 17 magnitudes or so
    for density in (0.1, 0.5, 0.8):
        assert abs(float(kept(values, density).double().mean()) - density) <= 1e-4
