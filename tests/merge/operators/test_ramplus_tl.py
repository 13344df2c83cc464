from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from searcher.merge.operators.ram import Ram
from searcher.merge.operators.ramplus_tl import RamplusTl
from tests.merge.merging import change, changes, draw

ONES = (1.0, 1.0, 1.0)
# unique entries 2, 1, 0; shared ones 1, 2, 2
ROWS = [3.0, 0.0, -6.0, 3.0, 0.0], [0.0, 5.0, 0.0, 3.0, 2.0], [0.0, 0.0, 0.0, 6.0, 4.0]


def test_unique_entries_grow_with_the_ratio_of_shared_ones() -> None:
    found = changes(RamplusTl(r=0.1, alpha=10.0), ONES, *ROWS)
    assert found == pytest.approx([3.0 * 1.05, 5.0 * 1.2, -6.0 * 1.05, 4.0, 3.0])


def test_the_ratio_is_limited() -> None:
    found = changes(RamplusTl(r=0.5, alpha=0.6), ONES, *ROWS)
    assert found == pytest.approx([3.0 * 1.25, 5.0 * 1.3, -6.0 * 1.25, 4.0, 3.0])


def test_models_left_out_are_not_counted() -> None:
    found = changes(RamplusTl(r=1.0, alpha=10.0), (1.0, 1.0, 0.0), *ROWS)
    assert found == pytest.approx([3.0 * 1.5, 5.0 * 1.5, -6.0 * 1.5, 3.0, 2.0 * 1.5])
    assert changes(RamplusTl(), (0.0, 0.0, 0.0), *ROWS) == [0.0] * 5


@given(r=st.floats(0.0, 1.0), n=st.integers(1, 4))
def test_disjoint_changes_are_added_up(r: float, n: int) -> None:
    owner = torch.randint(n, (50,), generator=torch.Generator().manual_seed(n))
    rows = [torch.where(owner == k, draw(50, seed=k), 0.0) for k in range(n)]
    assert torch.equal(change(RamplusTl(r, epsilon=0.0), (1.0,) * n, *rows), torch.stack(rows).sum(dim=0))


@pytest.mark.parametrize("off", [RamplusTl(r=0.0), RamplusTl(alpha=0.0)])
def test_without_amplification_this_is_ram(off: RamplusTl) -> None:
    assert changes(off, (0.5, -1.0, 2.0), *ROWS) == changes(Ram(), (0.5, -1.0, 2.0), *ROWS)


def test_coefficients_multiply() -> None:
    found = changes(RamplusTl(r=0.1, alpha=10.0), (2.0, 1.0, 0.5), *ROWS)
    assert found == pytest.approx([6.0 * 1.05, 5.0 * 1.2, -12.0 * 1.05, 4.0, 2.0])
