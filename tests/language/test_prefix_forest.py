from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from searcher.language.decoder import ancestor_mask
from searcher.language.prefix_forest import Row, leaves, pack, shared_prefixes

TOKENS = st.lists(st.integers(0, 2), min_size=1, max_size=12).map(tuple)
SETS = st.lists(TOKENS, min_size=1, max_size=20, unique=True)


@given(SETS, st.integers(1, 30), st.integers(1, 6))
def test_every_sequence_stands_in_one_row(sequences: list[tuple[int, ...]], capacity: int, min_stem: int) -> None:
    first = [len(sequence) // 2 for sequence in sequences]
    rows = pack(sequences, first, capacity, min_stem=min_stem)
    assert sorted(number for row in rows for number in row.paths) == list(range(len(sequences)))
    for row in rows:
        _check(row, sequences, first)


def _check(row: Row, sequences: list[tuple[int, ...]], first: list[int]) -> None:
    mask = ancestor_mask(torch.from_numpy(row.ends)[None], len(row.stem), torch.float32)[0, 0].numpy() == 0
    assert mask[:, : len(row.stem)].all()
    for number, path in row.paths.items():
        sequence = sequences[number]
        assert row.stem + tuple(row.tokens[path].tolist()) == sequence
        assert row.depths[path].tolist() == list(range(len(row.stem), len(sequence)))
        assert len(row.stem) <= first[number]
        for k, place in enumerate(path):  # a token sees its own beginning and nothing else
            assert np.flatnonzero(mask[place, len(row.stem) :]).tolist() == path[: k + 1].tolist()


def test_shared_tokens_stand_once() -> None:
    common = tuple(range(100))
    rows = pack([(*common, k, k) for k in range(4)], [100] * 4, 256)
    assert len(rows) == 1
    assert len(rows[0].tokens) == 108


def test_what_many_rows_share_is_a_stem() -> None:
    common = tuple(range(100))
    sequences = [(*common, *range(1000 * k, 1000 * k + 50)) for k in range(1, 9)]
    rows = pack(sequences, [120] * 8, 110)
    assert [row.stem for row in rows] == [common] * 4
    assert [len(row.tokens) for row in rows] == [100] * 4


def test_a_short_trunk_is_shared_within_rows() -> None:
    common = tuple(range(20))
    sequences = [(*common, *range(1000 * k, 1000 * k + 40)) for k in range(1, 9)]
    rows = pack(sequences, [20] * 8, 100)
    assert sorted(len(row.tokens) for row in rows) == [100, 100, 100, 100]
    assert all(row.stem == () for row in rows)


def test_a_long_text_with_little_branching_is_one_row() -> None:
    common = tuple(range(1000))
    rows = pack([(*common, 1), (*common, 2)], [1000, 1000], 64)
    assert [len(row.tokens) for row in rows] == [1002]


def test_beginnings_of_one_long_text() -> None:
    text = tuple(np.random.default_rng(0).integers(0, 50, 3000).tolist())
    sequences = [text[:n] for n in range(1, 3001, 2)]
    rows = pack(sequences, [len(s) - 1 for s in sequences], 4000)
    assert sum(len(row.tokens) for row in rows) == 2999


def test_shared_prefixes_and_leaves() -> None:
    ordered = [(1,), (1, 2), (1, 3), (1, 3, 4), (2,)]
    assert shared_prefixes(ordered).tolist() == [0, 1, 1, 2, 0]
    assert leaves(ordered) == [1, 3, 4]


@pytest.mark.parametrize("n_stem", [0, 3])
def test_mask_shape(n_stem: int) -> None:
    mask = ancestor_mask(torch.tensor([[2, 2], [1, 2]]), n_stem, torch.bfloat16)
    assert mask.shape == (2, 1, 2, 2 + n_stem)
    assert mask.dtype == torch.bfloat16
    assert (mask[:, :, :, :n_stem] == 0).all()
