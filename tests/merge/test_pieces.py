from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from searcher.merge.pieces import Piece, pieces_by_tensor
from searcher.pool.layout import Layout, TensorEntry


def layout_of(sizes: list[int]) -> Layout:
    offsets = np.concatenate([[0], np.cumsum(sizes)]).tolist()
    return Layout(tuple(TensorEntry(f"t{i}", (n,), offsets[i], n, None, "other") for i, n in enumerate(sizes)))


def test_segments_are_cut_at_tensor_borders() -> None:
    found = {e.name: p for e, p in pieces_by_tensor(layout_of([4, 0, 6]), np.array([0, 3, 6, 10]))}
    assert found == {"t0": [Piece(0, 0, 3), Piece(1, 3, 4)], "t1": [], "t2": [Piece(1, 0, 2), Piece(2, 2, 6)]}


@given(sizes=st.lists(st.integers(0, 9), min_size=1).filter(any), data=st.data())
def test_every_position_has_the_segment_that_holds_it(sizes: list[int], data: st.DataObject) -> None:
    n = sum(sizes)
    inner = data.draw(st.sets(st.integers(1, n - 1))) if n > 1 else set()
    boundaries = np.array([0, *sorted(inner), n])
    found = np.full(n, -1)
    for entry, pieces in pieces_by_tensor(layout_of(sizes), boundaries):
        for piece in pieces:
            assert piece.start < piece.stop
            stretch = slice(entry.offset + piece.start, entry.offset + piece.stop)
            assert (found[stretch] == -1).all()
            found[stretch] = piece.segment
    np.testing.assert_array_equal(found, np.searchsorted(boundaries, np.arange(n), side="right") - 1)
