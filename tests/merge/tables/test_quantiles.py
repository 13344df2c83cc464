from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from searcher.merge.tables import quantiles
from searcher.merge.tables.quantiles import MAX_EXTRA, N_QUANTILES, sampled_cuts
from searcher.merge.tables.sorting import ALL_TIES, sorted_tie_hashes


@pytest.mark.parametrize("kind", ["gaussian", "lattice", "bf16 1e-3", "constant"])
def test_stored_cuts_are_exact(kind: str, values_of: Any) -> None:
    values = values_of(kind, 30_000)
    ranks, magnitudes, ties = sampled_cuts(values, "w", 64)
    table = np.sort(values.abs().numpy())
    whole = ties == ALL_TIES
    assert np.array_equal(ranks[whole], 30_000 - np.searchsorted(table, magnitudes[whole], side="left"))
    none = ties == 0
    assert np.array_equal(ranks[none], 30_000 - np.searchsorted(table, magnitudes[none], side="right"))
    for rank, magnitude, tie in list(zip(ranks, magnitudes, ties, strict=True))[:: max(1, len(ranks) // 20)]:
        hashes = sorted_tie_hashes("w", torch.from_numpy(np.flatnonzero(values.abs().numpy() == magnitude)))
        above = 30_000 - np.searchsorted(table, magnitude, side="right")
        assert rank == above + (int((hashes <= int(tie)).sum()) if tie else 0)


def test_both_ends_and_no_zeros(values_of: Any) -> None:
    values = values_of("sparse", 400_000)
    ranks, magnitudes, _ = sampled_cuts(values, "w", N_QUANTILES)
    assert ranks[0] == 1
    assert ranks[-1] == int(values.count_nonzero())
    assert magnitudes[0] == values.abs().max()
    assert magnitudes[-1] == values.abs()[values != 0].min()


def test_tails_are_dense(values_of: Any) -> None:
    values = values_of("student", 300_000)
    ranks, _, _ = sampled_cuts(values, "w", N_QUANTILES)
    outliers = ranks[(ranks > 30) & (ranks < 15_000)]
    assert np.all(outliers[1:] / outliers[:-1] < 1.25)
    smallest = 300_001 - ranks[(ranks < 300_001 - 30) & (ranks > 285_000)]
    assert np.all(smallest[:-1] / smallest[1:] < 1.25)


def test_number_of_points_is_bounded() -> None:
    values = torch.arange(1, 20_001).repeat_interleave(20).float()  # 20 elements at each of 20,000 magnitudes
    ranks, _, _ = sampled_cuts(values, "w", N_QUANTILES)
    assert len(ranks) < 2 * (N_QUANTILES + 1000 + MAX_EXTRA)


@pytest.mark.parametrize("kind", ["gaussian", "few", "bf16 1e-3", "sparse"])
def test_large_tensors_are_sorted_without_hashes(kind: str, values_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    values = values_of(kind, 300_000)
    together = sampled_cuts(values, "w", N_QUANTILES)
    monkeypatch.setattr(quantiles, "MAX_KEYS", 1000)
    apart = sampled_cuts(values, "w", N_QUANTILES)
    assert [a.tolist() for a in together] == [a.tolist() for a in apart]
