from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from searcher.merge.tables.importance import N_STEPS, ImportanceTable


@given(n_rows=st.integers(1, 30), length=st.integers(1, 30), seed=st.integers(0, 99), q=st.floats(0.0, 1.0))
def test_against_float64(n_rows: int, length: int, seed: int, q: float) -> None:
    values = 1e-3 * torch.randn(n_rows * length, generator=torch.Generator().manual_seed(seed))
    table = ImportanceTable.of(values, length)
    rows = values.double().numpy().reshape(n_rows, length)
    factor = (rows.var(axis=1) / 2).astype(np.float32)
    assert np.allclose(table.row_factor, factor, rtol=1e-7)
    importance = np.abs(values.numpy().reshape(n_rows, length)) * table.row_factor[:, None]
    assert importance.dtype == np.float32
    for exact in (0.0, 0.25, 0.5, 0.75, 1.0):
        assert table.quantile(exact) == pytest.approx(
            float(np.quantile(importance.astype(np.float64), exact)), rel=1e-12
        )
    low, high = (float(np.quantile(importance.astype(np.float64), step / N_STEPS)) for step in span(q))
    assert low * (1 - 1e-12) <= table.quantile(q) <= high * (1 + 1e-12)


def span(q: float) -> tuple[int, int]:
    below = int(q * N_STEPS)
    return below, min(below + 1, N_STEPS)


def test_threshold_keeps_what_stands_out(values_of: Any) -> None:
    values = values_of("gaussian", 576 * 200)
    table = ImportanceTable.of(values, 576)
    importance = values.abs().view(200, 576) * torch.from_numpy(table.row_factor)[:, None]
    quartiles = np.quantile(importance.double().numpy(), [0.25, 0.5, 0.75])
    for multiplier in (-1.0, 0.0, 1.5, 3.0):
        assert table.threshold(multiplier) == pytest.approx(quartiles[1] + multiplier * (quartiles[2] - quartiles[0]))
    kept = float((importance >= table.threshold(1.5)).float().mean())
    assert 0.04 < kept < 0.07  # 5.5 % of normally distributed values


@pytest.mark.parametrize("kind", ["zeros", "constant"])
def test_rows_without_variance(kind: str, values_of: Any) -> None:
    table = ImportanceTable.of(values_of(kind, 60), 12)
    assert table.row_factor.tolist() == [0.0] * 5
    assert table.threshold(1.5) == 0.0


@pytest.mark.parametrize("row_length", [0, 4])
def test_empty(row_length: int) -> None:
    table = ImportanceTable.of(torch.zeros(0), row_length)
    assert len(table.row_factor) == 0
    assert table.quantile(0.5) == 0.0


def test_argument_is_unchanged_and_threads_do_not_matter(values_of: Any, threads: Any) -> None:
    values = values_of("gaussian", 300_000)
    before, tables = values.clone(), []
    for n in (1, 2, 3):
        with threads(n):
            tables += [ImportanceTable.of(values, 300_000), ImportanceTable.of(values, 100)]
    assert torch.equal(values, before)
    for k in range(2, 6):
        assert np.array_equal(tables[k].row_factor, tables[k % 2].row_factor)
        assert np.array_equal(tables[k].quantiles, tables[k % 2].quantiles)


def test_round_trip_through_arrays(values_of: Any) -> None:
    table = ImportanceTable.of(values_of("laplace", 100), 10)
    again = ImportanceTable.from_arrays(table.to_arrays())
    assert np.array_equal(again.row_factor, table.row_factor)
    assert again.threshold(1.5) == table.threshold(1.5)
    with pytest.raises(ValueError, match="Expected array 'quantiles'"):
        ImportanceTable.from_arrays({**table.to_arrays(), "quantiles": np.zeros(3)})


@pytest.mark.gpu
def test_device_agrees(values_of: Any) -> None:
    values = values_of("gaussian", 576 * 99)
    ours, theirs = ImportanceTable.of(values, 576), ImportanceTable.of(values.cuda(), 576)
    assert np.allclose(ours.row_factor, theirs.row_factor, rtol=2e-7)
    assert np.allclose(ours.quantiles, theirs.quantiles, rtol=1e-6)
