from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from searcher.merge.operators.ram import Ram
from tests.merge.merging import change, changes, draw

ONES = (1.0, 1.0, 1.0)
vectors = st.lists(st.lists(st.sampled_from([0.0, 1.0, -2.0, 4.0]), min_size=6, max_size=6), min_size=1, max_size=4)


def test_alone_whole_together_averaged() -> None:
    found = changes(Ram(), ONES, [3.0, 3.0, 3.0, 0.0], [0.0, 5.0, -3.0, 0.0], [0.0, 0.0, 6.0, 0.0])
    assert found == [3.0, 4.0, 2.0, 0.0]


def test_inactive_entries_do_not_count() -> None:
    assert changes(Ram(epsilon=0.1), ONES, [3.0, 0.1], [0.1, 0.1], [-0.05, -0.1]) == [3.0, 0.0]
    assert changes(Ram(epsilon=0.0), (1.0, 1.0), [3.0], [1e-30]) == [1.5]


@given(rows=vectors, c=st.floats(-2.0, 2.0))
def test_agrees_with_its_definition(rows: list[list[float]], c: float) -> None:
    coefficients = [c, 1.0, 0.5, -1.0][: len(rows)]
    active = [row for row, weight in zip(rows, coefficients, strict=True) if weight]
    count = [max(1, sum(x != 0.0 for x in column)) for column in zip(*active, strict=True)] or [1] * 6
    columns = zip(*rows, strict=True)
    sums = [sum(w * x for w, x in zip(coefficients, column, strict=True)) for column in columns]
    expected = torch.tensor([total / number for total, number in zip(sums, count, strict=True)])
    torch.testing.assert_close(torch.tensor(changes(Ram(), coefficients, *rows)), expected)


@given(n=st.integers(1, 5), seed=st.integers(0, 99))
def test_disjoint_changes_are_added_up(n: int, seed: int) -> None:
    owner = torch.randint(n, (50,), generator=torch.Generator().manual_seed(seed))
    rows = [torch.where(owner == k, draw(50, seed=k), 0.0) for k in range(n)]
    assert torch.equal(change(Ram(epsilon=0.0), (1.0,) * n, *rows), torch.stack(rows).sum(dim=0))


@given(n=st.integers(1, 5))
def test_equal_models_are_the_model(n: int) -> None:
    torch.testing.assert_close(change(Ram(), (1.0,) * n, *[draw(30)] * n), draw(30))


def test_a_coefficient_of_zero_leaves_the_model_out_of_the_number() -> None:
    assert changes(Ram(), (1.0, 0.0, 1.0), [3.0, 1.0], [5.0, 1.0], [0.0, 2.0]) == [3.0, 1.5]
    assert changes(Ram(), (0.0, 0.0, 0.0), [3.0], [5.0], [1.0]) == [0.0]
