"""Groups of layers that run or not."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from searcher.spaces.slots import Slot, find_slots, make_slots, running

SLOTS = make_slots(("a", "b"), 5, 2, 2)


def test_all_layers_of_all_models_come_in_order_as_often_as_asked() -> None:
    assert len(SLOTS) == 3 * 2 * 2
    assert [slot.label(2) for slot in SLOTS[:4]] == ["a 0-1, pass 1", "a 2-3, pass 1", "a 4, pass 1", "b 0-1, pass 1"]
    assert SLOTS[6] == Slot("a", 0, 2, 1)
    assert [layer for slot in SLOTS[:3] for layer in slot.layers] == [("a", n) for n in range(5)]
    assert SLOTS[0].label(1) == "a 0-1"


def test_slots_run_above_one_half_only() -> None:
    genes = np.full(len(SLOTS), 0.5)
    genes[[1, 7]] = 0.5000001
    assert running(SLOTS, genes, 99) == [1, 7]


def test_one_slot_always_runs() -> None:
    genes = np.zeros(len(SLOTS))
    assert running(SLOTS, genes, 99) == [0]
    genes[[4, 9]] = 0.5
    assert running(SLOTS, genes, 99) == [4]


def test_the_largest_genes_are_kept_where_not_all_layers_fit() -> None:
    genes = np.full(len(SLOTS), 0.6)
    genes[[3, 8]] = (0.7, 0.9)
    assert running(SLOTS, genes, 3) == [3, 8]  # two layers and one
    assert running(SLOTS, genes, 5) == [0, 3, 8]  # then the first of equal ones
    assert running(SLOTS, genes, 2) == [2, 8]  # the best one, and the first that still fits


@given(
    genes=st.lists(st.floats(0, 1), min_size=12, max_size=12),
    most=st.integers(2, 30),
)
def test_what_runs_is_found_again(genes: list[float], most: int) -> None:
    found = running(SLOTS, np.array(genes), most)
    layers = [layer for index in found for layer in SLOTS[index].layers]
    assert 1 <= len(layers) <= most
    again = find_slots(SLOTS, layers)
    assert again is not None
    assert [layer for index in again for layer in SLOTS[index].layers] == layers


def test_sequences_that_no_slots_give() -> None:
    assert find_slots(SLOTS, [("a", 1)]) is None  # half a group
    assert find_slots(SLOTS, [("a", 4)] * 3) is None  # more often than the list is gone through
    assert find_slots(SLOTS, [("z", 0), ("z", 1)]) is None
    assert find_slots(SLOTS, [("a", 4)] * 2) == [2, 8]
