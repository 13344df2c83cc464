from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from searcher.merge.counter_hash import TIES
from searcher.merge.tables.sorting import (
    STRETCH,
    key_hashes,
    key_magnitudes,
    magnitude_keys,
    places_of,
    sort,
    sorted_tie_hashes,
    tie_hashes,
)


def reference_hashes(name: str, n: int) -> NDArray[np.uint32]:
    """The hash of no model as its definition has it, in wrapping 32-bit arithmetic."""
    assert TIES == ("", 0)
    key = np.frombuffer(hashlib.blake2b(f"0\0{name}".encode(), digest_size=8).digest()[:4], "<u4")
    x = np.arange(n, dtype=np.uint32) * np.uint32(0x9E3779B9) + key
    hashes: NDArray[np.uint32] = (x ^ (x >> np.uint32(16))) * np.uint32(0x21F0AAAD)
    return hashes


def test_tie_hashes_are_those_of_no_model() -> None:
    assert tie_hashes("w", torch.arange(1000)).tolist() == reference_hashes("w", 1000).tolist()


@pytest.mark.parametrize("size", [0, 1, 70_001])  # the last needs several stretches
def test_sorted_tie_hashes(size: int) -> None:
    expected = np.sort(reference_hashes("a.b", size))
    assert sorted_tie_hashes("a.b", torch.arange(size)).tolist() == expected.tolist()


def test_tie_hashes_differ() -> None:
    assert len(set(sorted_tie_hashes("w", torch.arange(100_000)).tolist())) == 100_000


def test_sort() -> None:
    values = torch.tensor([3.0, -1.0, 2.0, -0.0])
    assert sort(values.clone()).tolist() == [-1.0, -0.0, 2.0, 3.0]
    assert sort(torch.tensor([5, 2**40, -1])).tolist() == [-1, 5, 2**40]
    assert sort(torch.zeros(0)).tolist() == []


def test_places_of_both_signs() -> None:
    assert places_of(2.0, torch.tensor([2.0, 1.0, -2.0, 0.0])).tolist() == [0, 2]
    assert places_of(3.0, torch.tensor([2.0])).tolist() == []


def test_keys_are_ordered_as_elements_are_kept() -> None:
    values = torch.tensor([1.0, -2.0, 1e-45, 2.0, -1.0, -0.0])
    keys = magnitude_keys(values, None, "w")
    expected = reference_hashes("w", 6).astype(np.int64)
    wanted = sorted(range(6), key=lambda i: (-abs(float(values[i])), expected[i]))
    assert keys.argsort(descending=True).tolist() == wanted
    assert torch.equal(key_magnitudes(keys), values.abs())
    assert key_hashes(keys).tolist() == expected.tolist()
    some = torch.tensor([4, 0])
    assert torch.equal(magnitude_keys(values[some], some, "w"), keys[some])


def test_keys_of_many_elements() -> None:
    values = torch.ones(STRETCH + 3)
    assert key_hashes(magnitude_keys(values, None, "w")).tolist() == reference_hashes("w", STRETCH + 3).tolist()
