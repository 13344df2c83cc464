"""Which name of a tied group stores the values."""

from __future__ import annotations

from pathlib import Path

import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from searcher.pool.files import find_files
from searcher.pool.source import FullSource
from searcher.pool.tied import differing_aliases, own_ties

DECLARED = {"head": "shared", "decoder": "shared", "encoder": "shared", "x": "y"}


def test_target_keeps_the_values() -> None:
    assert own_ties({"shared", "y"}, DECLARED) == {"head": "shared", "decoder": "shared", "encoder": "shared", "x": "y"}


def test_stored_alias_keeps_the_values_if_the_target_is_absent() -> None:
    assert own_ties({"head"}, {"head": "embed"}) == {"embed": "head"}


@given(st.sets(st.sampled_from(["shared", "head", "decoder", "encoder", "x", "y"])))
def test_every_stored_group_has_one_stored_keeper(stored: set[str]) -> None:
    ties = own_ties(stored, DECLARED)
    for group in ({"shared", "head", "decoder", "encoder"}, {"x", "y"}):
        keepers = group - ties.keys()
        assert len(keepers) == 1
        assert {ties[alias] for alias in group & ties.keys()} == keepers
        assert not (group & stored) or keepers <= stored


def test_only_differing_copies_are_told(tmp_path: Path) -> None:
    tensors = {"shared": torch.ones(2), "head": torch.ones(2), "encoder": torch.zeros(2)}
    save_file(tensors, tmp_path / "model.safetensors")
    source = FullSource("m", find_files(tmp_path), "m")
    assert list(differing_aliases(source, own_ties(tensors, DECLARED))) == [("encoder", "shared")]
