from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from searcher.merge.tables.magnitudes import EVERYTHING, NOTHING, Cut, MagnitudeTable, exact_cut
from searcher.merge.tables.sorting import ALL_TIES

KINDS = ["gaussian", "laplace", "student", "uniform", "few", "lattice", "sparse", "constant",
         "bf16 2e-4", "bf16 1e-3", "bf16 5e-5"]  # fmt: skip
small = arrays(
    np.float32,
    st.integers(0, 40),
    elements=st.one_of(
        st.floats(-4.0, 4.0, width=32), st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0, 1e-45, -1e-45, 3.4e38])
    ),
)


def n_kept_of(values: torch.Tensor, k: int) -> int:
    """How many a cut at k may keep: k, or all if the k-th largest is zero."""
    return k if k <= int(values.count_nonzero()) else values.numel()


@given(values=small)
@example(values=np.zeros(5, np.float32))
@example(values=np.zeros(0, np.float32))
@example(values=np.full(7, -3.0, np.float32))
def test_every_number_is_exact_in_small_tensors(values: np.ndarray, kept: Callable[..., Any]) -> None:
    tensor = torch.from_numpy(values)
    table, n = MagnitudeTable.of(tensor, "w"), len(values)
    before = np.zeros(n, bool)
    for k in range(n + 2):
        cut = table.cut(k)
        mask = kept(tensor, cut, "w")
        assert mask.sum() == n_kept_of(tensor, min(k, n))
        assert not np.any(before & ~mask)  # nested
        assert np.all(mask == kept(tensor, exact_cut(tensor, k, "w"), "w"))
        before = mask


@pytest.mark.parametrize("size", [4095, 4097, 16_384])
@pytest.mark.parametrize("kind", ["gaussian", "few", "bf16 2e-4"])
def test_exact_up_to_the_largest_small_size(size: int, kind: str, values_of: Any, kept: Any) -> None:
    values = values_of(kind, size)
    table = MagnitudeTable.of(values, "layer.weight")
    for k in (1, 2, size // 3, int(values.count_nonzero())):
        assert kept(values, table.cut(k), "layer.weight").sum() == k


def test_few_entries_of_a_large_tensor_are_exact(values_of: Any, kept: Any) -> None:
    values = values_of("sparse", 100_000)
    table = MagnitudeTable.of(values, "w")
    assert table.n_nonzero == len(table.ranks) == int(values.count_nonzero())
    assert all(kept(values, table.cut(k), "w").sum() == k for k in (1, 77, 1500, table.n_nonzero))
    assert table.cut(table.n_nonzero + 1) == EVERYTHING


def numbers_kept(values: torch.Tensor, cuts: list[Cut], name: str) -> np.ndarray:
    """How many elements each cut keeps, from sorted (magnitude, hash)."""
    from searcher.merge.tables.sorting import tie_hashes

    bits = values.abs().view(torch.int32).long().numpy() << 32
    order = np.sort(bits | (ALL_TIES - tie_hashes(name, torch.arange(values.numel())).numpy()))
    wanted = [(int(np.float32(cut.low).view(np.int32)) << 32) | (ALL_TIES - cut.last_tie) for cut in cuts]
    return values.numel() - np.searchsorted(order, wanted)


@pytest.mark.parametrize("size", [16_385, 110_592, 331_776])
@pytest.mark.parametrize("kind", KINDS)
def test_density_is_right_to_1e_4(kind: str, size: int, values_of: Any) -> None:
    values = values_of(kind, size)
    table = MagnitudeTable.of(values, "w")
    densities = np.concatenate([np.linspace(0.003, 0.999, 150), np.geomspace(1e-4, 0.05, 60)])
    wanted = np.round(densities * size).astype(int)
    wanted = wanted[wanted <= table.n_nonzero]
    error = np.abs(numbers_kept(values, [table.cut(int(k)) for k in wanted], "w") - wanted)
    assert error.max() <= 1.3e-4 * size
    assert np.quantile(error, 0.9) <= 6e-5 * size
    outliers = (wanted >= 50) & (wanted < 0.01 * size)
    assert np.all(error[outliers] <= 1 + 0.3 * wanted[outliers])


@pytest.mark.parametrize("kind", ["gaussian", "lattice", "bf16 2e-4", "constant"])
def test_cuts_of_large_tensors_are_nested(kind: str, values_of: Any) -> None:
    table = MagnitudeTable.of(values_of(kind, 60_000), "w")
    keys = [(-cut.low, cut.last_tie) for cut in map(table.cut, range(0, 60_001, 7))]
    assert keys == sorted(keys)
    dense = [(-cut.low, cut.last_tie) for cut in map(table.cut, range(20_000, 22_000))]
    assert dense == sorted(dense)


def test_neighbouring_magnitudes_leave_no_number_between(kept: Any) -> None:
    """Two magnitudes next to each other, with so few ties that only whole cuts are stored."""
    values = torch.linspace(1.0, 2.0, 30_000)
    values[:3] = torch.tensor([3.0, 3.0, float(np.nextafter(np.float32(3.0), np.float32(0.0)))])
    table = MagnitudeTable(
        np.array([2, 3, 30_000]), np.array([3.0, values[2], 1.0], np.float32), np.full(3, ALL_TIES, np.uint32)
    )
    assert kept(values, table.cut(1), "w").sum() == 2
    assert kept(values, table.cut(3), "w").sum() == 3
    between = MagnitudeTable(np.array([2, 6]), table.magnitudes[:2], table.last_ties[:2])
    assert [between.cut(k) for k in (3, 4, 6)] == [
        Cut(float(values[2]), 2**30 - 1),
        Cut(float(values[2]), 2**31 - 1),
        Cut(float(values[2])),
    ]


def test_ends() -> None:
    table = MagnitudeTable.of(torch.tensor([0.0, 1.0, -2.0]), "w")
    assert table.cut(0) == table.cut(-1) == NOTHING
    assert table.cut(3) == table.cut(1000) == EVERYTHING
    assert table.cut(2).low == 1.0
    assert exact_cut(torch.zeros(0), 0, "w") == NOTHING


@pytest.mark.parametrize("kind", ["gaussian", "few", "bf16 2e-4"])
def test_exact_cut_of_a_large_tensor(kind: str, values_of: Any, kept: Any) -> None:
    values = values_of(kind, 50_001)
    for k in (1, 500, 12_345, int(values.count_nonzero())):
        assert kept(values, exact_cut(values, k, "w"), "w").sum() == k
    if kind != "gaussian":
        assert exact_cut(values, 50_000, "w") == EVERYTHING


@pytest.mark.parametrize("kind", ["gaussian", "bf16 1e-3"])
def test_arguments_are_unchanged_and_threads_do_not_matter(kind: str, values_of: Any, threads: Any) -> None:
    values = values_of(kind, 200_000)
    before = values.clone()
    tables = []
    for n in (1, 2, 3):
        with threads(n):
            tables.append(MagnitudeTable.of(values, "w"))
    assert torch.equal(values, before)
    for table in tables[1:]:
        assert all(np.array_equal(a, table.to_arrays()[name]) for name, a in tables[0].to_arrays().items())


@pytest.mark.parametrize("kind", ["gaussian", "few", "zeros"])
@pytest.mark.parametrize("size", [0, 1, 333, 40_000])
def test_round_trip_through_arrays(kind: str, size: int, values_of: Any) -> None:
    table = MagnitudeTable.of(values_of(kind, size), "w")
    again = MagnitudeTable.from_arrays(table.to_arrays())
    assert [again.cut(k) for k in range(0, size, 97)] == [table.cut(k) for k in range(0, size, 97)]


@pytest.mark.parametrize(
    "broken",
    [
        {"ranks": np.array([2, 1], np.uint32)},
        {"ranks": np.array([1, 2, 3], np.uint32)},
        {"magnitudes": np.array([1.0, 2.0], np.float32)},
        {"magnitudes": np.array([2.0, 1.0])},
        {"last_ties": np.array([[1, 2]], np.uint32)},
    ],
)
def test_broken_arrays_are_refused(broken: dict[str, np.ndarray]) -> None:
    arrays = MagnitudeTable.of(torch.tensor([1.0, -2.0]), "w").to_arrays()
    MagnitudeTable.from_arrays(arrays)
    with pytest.raises(ValueError, match="Expected"):
        MagnitudeTable.from_arrays({**arrays, **broken})
    with pytest.raises(ValueError, match="but got none"):
        MagnitudeTable.from_arrays({name: a for name, a in arrays.items() if name not in broken})


def test_a_table_of_a_large_tensor_is_small(values_of: Any) -> None:
    for kind in ("gaussian", "bf16 2e-4"):
        table = MagnitudeTable.of(values_of(kind, 884_736), "w")
        assert sum(a.nbytes for a in table.to_arrays().values()) < 20_000


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [0, 1, 4097, 200_000])
def test_same_table_on_a_device(kind: str, size: int, values_of: Any) -> None:
    values = values_of(kind, size)
    ours, theirs = MagnitudeTable.of(values, "w"), MagnitudeTable.of(values.cuda(), "w")
    assert all(np.array_equal(a, theirs.to_arrays()[name]) for name, a in ours.to_arrays().items())
    assert all(exact_cut(values, k, "w") == exact_cut(values.cuda(), k, "w") for k in (0, 1, size // 2, size))
