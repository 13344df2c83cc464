"""Groups of tensors along the parameter line, mixtures of groups and groups without genes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from searcher.pool.layout import Layout, TensorEntry
from searcher.spaces.group_map import GroupMap, group_tensors, make_groups

SIZES = (4, 1, 5, 2)
STOPS = np.cumsum(SIZES)
LAYOUT = Layout(tuple(TensorEntry(f"{k}", (n,), int(STOPS[k]) - n, n, k, "mlp") for k, n in enumerate(SIZES)))


def gathered(groups: GroupMap, rows: NDArray[np.float64], fixed: NDArray[np.float64] | None) -> NDArray[np.float64]:
    found = groups.gather(groups.boundaries, rows, fixed)
    assert found is not None
    return found


def parity(tensor: TensorEntry) -> str:
    return "odd" if int(tensor.name) % 2 else "even"


def test_neighbours_of_one_group_are_one_segment() -> None:
    found = group_tensors(LAYOUT, lambda tensor: "start" if tensor.offset < 5 else "rest")
    assert found.labels == ("start", "rest")
    assert found.boundaries.tolist() == [0, 5, 12]
    assert found.group_of_segment.tolist() == [0, 1]


def test_a_group_that_returns_keeps_its_number() -> None:
    groups = group_tensors(LAYOUT, parity)
    assert groups.labels == ("even", "odd")
    assert groups.boundaries.tolist() == [0, 4, 5, 10, 12]
    assert groups.group_of_segment.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("unchanged", "labels", "boundaries"),
    [
        ({"1"}, ("0", "2", "3"), [0, 5, 10, 12]),  # joins what stands before it
        ({"0", "3"}, ("1", "2"), [0, 5, 12]),  # at the start, what stands behind it
        ({"0", "1", "2", "3"}, ("0", "1", "2", "3"), [0, 4, 5, 10, 12]),  # nothing to search: as if all changed
    ],
)
def test_tensors_that_no_model_changes_have_no_group(
    unchanged: set[str], labels: tuple[str, ...], boundaries: list[int]
) -> None:
    found = group_tensors(LAYOUT, lambda tensor: tensor.name, unchanged)
    assert found.labels == labels
    assert found.boundaries.tolist() == boundaries
    assert found.group_of_segment.tolist() == list(range(len(labels)))


def test_fixed_groups_come_last_and_have_no_label() -> None:
    groups = group_tensors(LAYOUT, parity, fixed={"even": (0.5, 0.25)})
    assert groups.labels == ("odd",)
    assert groups.group_of_segment.tolist() == [1, 0, 1, 0]
    rows = groups.spread(np.array([[1.0, 2.0]]), groups.fixed)
    assert rows.tolist() == [[0.5, 0.25], [1.0, 2.0]] * 2
    assert np.array_equal(gathered(groups, rows, groups.fixed), [[1.0, 2.0]])
    assert groups.gather(groups.boundaries, rows + np.array([0.0, 0.1]), groups.fixed) is None
    assert np.array_equal(gathered(groups, rows + np.array([0.0, 0.1]), None), [[1.0, 2.1]])


def test_a_map_without_genes_is_refused() -> None:
    with pytest.raises(ValueError, match="all are fixed"):
        make_groups(["a"], [0, 3], [0], {"a": (0.0,)})


def test_rows_that_mix_groups_are_solved_for_them() -> None:
    groups = group_tensors(LAYOUT, lambda tensor: tensor.name)
    share = np.linspace(0, 1, 4)[:, None]
    mixed = replace(groups, labels=("first", "last"), weights=np.concatenate([1 - share, share], axis=1))
    values = np.array([[0.25], [1.0]])
    rows = mixed.spread(values, None)
    np.testing.assert_allclose(rows[:, 0], [0.25, 0.5, 0.75, 1.0])
    found = mixed.gather(groups.boundaries, rows, None)
    assert found is not None
    np.testing.assert_allclose(found, values)
    assert mixed.gather(groups.boundaries, rows**2, None) is None  # no straight line
