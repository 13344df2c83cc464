from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from searcher.merge.tables.magnitudes import Cut
from searcher.merge.tables.variance import STRETCH, VarianceTable, _energies_in_order, population_variance


def cut_of(table: VarianceTable, fraction: float) -> Cut:
    cut = table.cut(fraction)
    return Cut(cut.threshold, cut.tie)


@given(values=arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(0, 9)), elements=st.floats(-9, 9, width=32)))
def test_operations_are_rounded_one_by_one(values: np.ndarray) -> None:
    k = np.float32(len(values))
    original, values = values, values - values[0]  # so that equal values have no variance
    total = values[0]
    for row in values[1:]:
        total = total + row
    mean = total / k
    squares = (values[0] - mean) * (values[0] - mean)
    for row in values[1:]:
        squares = squares + (row - mean) * (row - mean)
    expected = squares / k
    result = population_variance([torch.from_numpy(row.copy()) for row in original])
    assert expected.dtype == np.float32
    assert np.array_equal(result.numpy(), expected)


def test_is_the_population_variance(values_of: Any) -> None:
    vectors = [values_of("gaussian", STRETCH + 5, seed=k) for k in range(3)]
    exact = np.var([v.double().numpy() for v in vectors], axis=0)
    assert np.allclose(population_variance(vectors).numpy(), exact, rtol=1e-5, atol=1e-12)
    assert torch.equal(population_variance([vectors[0]]), torch.zeros(STRETCH + 5))
    assert torch.equal(population_variance([vectors[0]] * 2), torch.zeros(STRETCH + 5))


few = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0, 0.25])


@given(values=arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(0, 30)), elements=few), data=st.data())
def test_small_tensors_are_exact(values: np.ndarray, data: st.DataObject, kept: Any) -> None:
    vectors = [torch.from_numpy(row.copy()) for row in values]
    variance = population_variance(vectors)
    table = VarianceTable.of(vectors, "w")
    assert table.n_nonzero == int(variance.count_nonzero())
    fraction = data.draw(st.floats(0.0, 1.0))
    mask = kept(variance, cut_of(table, fraction), "w")
    expected = len(variance) if fraction == 1.0 else round(fraction * table.n_nonzero)
    assert mask.sum() == expected
    energies = (values.astype(np.float64) ** 2)[:, mask].sum(axis=1)
    assert np.allclose(table.cut(fraction).energies, energies, rtol=1e-12, atol=0)


@pytest.mark.parametrize("size", [4097, 150_000])
@pytest.mark.parametrize("kind", ["gaussian", "student", "bf16 1e-3", "few", "sparse"])
def test_large_tensors(kind: str, size: int, values_of: Any, kept: Any) -> None:
    vectors = [(k + 1.0) * values_of(kind, size, seed=k) for k in range(3)]
    variance = population_variance(vectors)
    table = VarianceTable.of(vectors, "w")
    squares = np.array([v.double().numpy() ** 2 for v in vectors])
    for fraction in (0.05, 0.1, 0.37, 0.8, 0.999):
        cut = table.cut(fraction)
        mask = kept(variance, cut_of(table, fraction), "w")
        assert abs(mask.sum() - fraction * table.n_nonzero) <= 1.3e-4 * size + 1
        energies = squares[:, mask].sum(axis=1)
        assert np.allclose(cut.energies, energies, rtol=0.01, atol=0.003 * energies.sum())
    assert np.allclose(table.cut(1.0).energies, squares.sum(axis=1), rtol=1e-12)
    assert table.cut(0.0).energies == (0.0, 0.0, 0.0)
    assert not kept(variance, cut_of(table, 0.0), "w").any()


def test_variances_below_the_smallest_normal_number(kept: Any) -> None:
    vectors = [1e-22 * torch.arange(6000.0), torch.zeros(6000)]
    table = VarianceTable.of(vectors, "w")
    assert 5000 < table.n_nonzero < 6000
    assert kept(population_variance(vectors), cut_of(table, 0.5), "w").sum() == round(table.n_nonzero / 2)
    assert table.cut(1.0).energies == pytest.approx((1e-44 * 5999 * 6000 * 11999 / 6, 0.0), rel=1e-5)


def test_energies_grow_with_the_fraction(values_of: Any) -> None:
    table = VarianceTable.of([values_of("bf16 1e-3", 50_000, seed=k) for k in range(4)], "w")
    energies = np.array([table.cut(f).energies for f in np.linspace(0.0, 1.0, 501)])
    assert np.all(np.diff(energies, axis=0) >= 0.0)


@pytest.mark.parametrize("kind", ["zeros", "constant"])
@pytest.mark.parametrize("size", [0, 1, 5, 30_000])
def test_models_that_agree(kind: str, size: int, values_of: Any, kept: Any) -> None:
    vectors = [values_of(kind, size)] * 2
    table = VarianceTable.of(vectors, "w")
    assert table.n_nonzero == 0
    assert not kept(population_variance(vectors), cut_of(table, 0.9), "w").any()
    assert kept(population_variance(vectors), cut_of(table, 1.0), "w").all()
    assert table.cut(0.9).energies == (0.0, 0.0)
    assert table.cut(1.0).energies == (size * 0.25 if kind == "constant" else 0.0,) * 2


def test_the_way_of_devices_agrees(values_of: Any) -> None:
    """Devices sort where the CPU counts; here both are done on the CPU."""
    vectors = [values_of("laplace", 70_001, seed=k) for k in range(3)]
    table = VarianceTable.of(vectors, "w")
    ranks, energies = _energies_in_order(population_variance(vectors), vectors, "w")
    assert ranks[0] == 0
    assert ranks[-1] == 70_001
    sorted_way = VarianceTable(table.statistics, ranks, energies)
    for fraction in (0.05, 0.3, 0.7, 1.0):
        assert np.allclose(sorted_way.cut(fraction).energies, table.cut(fraction).energies, rtol=2e-3)


def test_threads_do_not_matter(values_of: Any, threads: Any) -> None:
    vectors = [values_of("bf16 1e-3", 200_000, seed=k) for k in range(3)]
    results = []
    for n in (1, 2, 3):
        with threads(n):
            results.append(VarianceTable.of(vectors, "w").to_arrays())
    for other in results[1:]:
        assert all(np.array_equal(a, other[name]) for name, a in results[0].items())


@pytest.mark.parametrize("size", [0, 3, 5000])
def test_round_trip_through_arrays(size: int, values_of: Any) -> None:
    table = VarianceTable.of([values_of("gaussian", size, seed=k) for k in range(2)], "w")
    arrays_ = table.to_arrays()
    again = VarianceTable.from_arrays(arrays_)
    assert [again.cut(f) for f in (0.0, 0.2, 1.0)] == [table.cut(f) for f in (0.0, 0.2, 1.0)]
    for name, array in (("energies", np.zeros((len(table.ranks) + 1, 2))), ("energy_ranks", np.zeros(0, np.int64))):
        with pytest.raises(ValueError, match="Expected"):
            VarianceTable.from_arrays({**arrays_, name: array})
    with pytest.raises(ValueError, match="Expected"):
        VarianceTable.from_arrays({name: a for name, a in arrays_.items() if name != "energies"})


@pytest.mark.gpu
@pytest.mark.parametrize("size", [0, 100, 5000, 200_000])
def test_device_agrees(size: int, values_of: Any) -> None:
    vectors = [values_of("bf16 1e-3", size, seed=k) for k in range(3)]
    there = [v.cuda() for v in vectors]
    assert torch.equal(population_variance(vectors), population_variance(there).cpu())
    ours, theirs = VarianceTable.of(vectors, "w"), VarianceTable.of(there, "w")
    for fraction in (0.0, 0.05, 0.5, 1.0):
        a, b = ours.cut(fraction), theirs.cut(fraction)
        assert (a.threshold, a.tie) == (b.threshold, b.tie)
        assert np.allclose(a.energies, b.energies, rtol=2e-3)


@pytest.mark.parametrize("k", range(1, 9))
def test_equal_models_have_no_variance(k: int) -> None:
    values = torch.randn(1000, generator=torch.Generator().manual_seed(k))
    assert population_variance([values] * k).count_nonzero() == 0
