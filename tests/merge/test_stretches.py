"""How the work of a build is cut for threads."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.merge import backend
from searcher.merge.backend import stretches


@st.composite
def spans(draw: st.DrawFn) -> list[list[tuple[int, int]]]:
    """Tensors of one candidate in pieces, and of several."""
    found: list[list[tuple[int, int]]] = []
    for _ in range(draw(st.integers(0, 6))):
        borders = sorted(draw(st.lists(st.integers(0, 5000), max_size=6)))
        apart = list(pairwise(borders))
        together = [(0, draw(st.integers(0, 5000)))] * draw(st.integers(1, 3))
        found.append(draw(st.sampled_from([apart, together])))
    return found


@given(found=spans(), n_threads=st.integers(1, 4))
def test_every_element_of_every_piece_is_merged_once(found: list[list[tuple[int, int]]], n_threads: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "STRETCH", 700)
        patch.setattr(backend, "SHARED_STRETCH", 256)
        patch.setattr(backend, "ALIGNED", 16)
        patch.setattr(backend, "SPAN", 1024)
        given_out = list(stretches(found, n_threads))
    merged: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for jobs in given_out:
        assert jobs
        for number, start, stop in jobs:
            assert start // 1024 == (stop - 1) // 1024  # hashes of one call have one key
            merged[number].append((start, stop))
    for number, (start, stop) in enumerate(piece for pieces in found for piece in pieces):
        cuts = sorted(merged[number])
        if start == stop:
            assert not cuts
            continue
        assert cuts[0][0] == start
        assert cuts[-1][1] == stop
        assert all(before[1] == after[0] for before, after in pairwise(cuts))


def test_long_stretches_come_first_and_threads_end_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "STRETCH", 1 << 12)
    sizes = [sum(b - a for _, a, b in jobs) for jobs in stretches([[(0, 1 << 20)]], 2)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 1 << 18
    assert sizes[-1] <= 1 << 12


def test_candidates_share_a_stretch_of_their_tensor() -> None:
    (jobs,) = stretches([[(0, 1 << 20), (0, 1 << 20)]], 1)
    assert jobs[:3] == [(0, 0, 1 << 18), (1, 0, 1 << 18), (0, 1 << 18, 1 << 19)]
