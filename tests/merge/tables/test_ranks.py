from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from searcher.merge.tables.ranks import STRETCH, _device_ranks, _scaled, row_ranks


def recovered(scaled: torch.Tensor, row_length: int) -> np.ndarray:
    """Whole ranks, shape (R, L)."""
    rows = scaled.numpy().reshape(-1, row_length).astype(np.float64)
    return np.round(rows * (row_length - 1) / 65535).astype(int)


def expected(values: np.ndarray, row_length: int) -> np.ndarray:
    order = np.argsort(np.abs(values.reshape(-1, row_length)), axis=1, kind="stable")
    return np.argsort(order, axis=1)


@given(
    rows=arrays(
        np.float32,
        st.tuples(st.integers(1, 9), st.integers(2, 9)),
        elements=st.one_of(st.floats(-2, 2, width=32), st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-45])),
    )
)
def test_ranks_are_stable(rows: np.ndarray) -> None:
    length = rows.shape[1]
    result = row_ranks(torch.from_numpy(rows.reshape(-1)), length)
    assert result.dtype == torch.uint16
    assert np.array_equal(recovered(result, length), expected(rows, length))
    assert torch.equal(result, _device_ranks(torch.from_numpy(rows), _scaled(length)))


@pytest.mark.parametrize("shape", [(700, 576), (3, 65_536), (1, 65_535), (2, STRETCH // 2 + 1), (STRETCH + 3, 2)])
def test_many_and_long_rows(shape: tuple[int, int], values_of: Any) -> None:
    values = values_of("few", shape[0] * shape[1])
    result = row_ranks(values, shape[1])
    if shape[1] <= 65_536:
        assert np.array_equal(recovered(result, shape[1]), expected(values.numpy(), shape[1]))
    wanted = np.round(expected(values.numpy(), shape[1]) * (65535 / (shape[1] - 1)))
    assert np.array_equal(result.numpy().reshape(shape), wanted.astype(np.uint16))


@pytest.mark.parametrize("length", [2, 3, 576, 1536, 49_152, 65_535, 65_536])
def test_every_rank_can_be_recovered(length: int) -> None:
    scaled = _scaled(length)
    assert (scaled[0], scaled[-1]) == (0, 65535)
    assert np.array_equal(np.round(scaled * ((length - 1) / 65535)), np.arange(length))


def test_equal_values_are_ranked_by_position() -> None:
    assert row_ranks(torch.tensor([1.0, -1.0, 1.0, 0.0, 0.0, -0.0]), 3).tolist() == [0, 32768, 65535] * 2


def test_empty_and_lonely() -> None:
    assert row_ranks(torch.zeros(0), 7).shape == (0,)
    assert row_ranks(torch.zeros(0), 0).dtype == torch.uint16
    assert row_ranks(torch.tensor([5.0, -1.0]), 1).tolist() == [32768, 32768]


def test_argument_is_unchanged() -> None:
    values = torch.tensor([-3.0, 1.0, 2.0])
    row_ranks(values, 3)
    assert values.tolist() == [-3.0, 1.0, 2.0]


@pytest.mark.gpu
def test_device_agrees(values_of: Any) -> None:
    values = values_of("bf16 1e-3", 576 * 99)
    assert torch.equal(row_ranks(values, 576), row_ranks(values.cuda(), 576).cpu())
