"""Merges of whole tiny models agree with mergekit 0.1.5, run on the same configurations."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from searcher.mergekit.merge_file import MergeOptions, merge_file
from tests.golden.make_mergekit_models_golden import CASES, NAME, read_tensors, source_digest, vocabulary

FOLDER = Path(__file__).parents[1] / "golden"
TOLERANCE = 2e-6  # of the tensor's largest entry, float32


@cache
def record() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{NAME}.json").read_text())
    return found


@cache
def golden() -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_file(FOLDER / f"{NAME}.safetensors")
    return found


def test_the_models_are_those_that_mergekit_merged(pools: dict[str, Path]) -> None:
    assert {name: source_digest(root) for name, root in pools.items()} == record()["sources"]


def test_every_case_has_a_golden_result() -> None:
    assert {name: case["yaml"] for name, case in record()["cases"].items()} == {
        n: text for n, (_, text) in CASES.items()
    }


@pytest.mark.parametrize("name", CASES)
def test_the_merge_is_that_of_mergekit(name: str, pools: dict[str, Path], tmp_path: Path) -> None:
    case = record()["cases"][name]
    (tmp_path / "config.yml").write_text(case["yaml"])
    merge_file(tmp_path / "config.yml", tmp_path / "out", options=MergeOptions(root=pools[case["pool"]]))
    theirs = {key.removeprefix(f"{name}/"): t for key, t in golden().items() if key.startswith(f"{name}/")}
    ours = read_tensors(tmp_path / "out")
    assert set(ours) == set(theirs)
    rows = rows_by_token(tmp_path / "out", case)
    for key, expected in theirs.items():
        found = ours[key]
        if rows is not None and key in ("model.embed_tokens.weight", "lm_head.weight"):
            assert found.shape == expected.shape
            found, expected = found[rows[0]], expected[rows[1]]
        assert found.dtype == expected.dtype
        assert_close(found, expected)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert {key: config[key] for key in case["config"]} == case["config"]


def rows_by_token(out: Path, case: dict[str, Any]) -> tuple[list[int], list[int]] | None:
    """Rows of the same tokens here and there, padding included: mergekit numbers added tokens by chance."""
    if "vocabulary" not in case:
        return None
    ours, theirs = vocabulary(out), case["vocabulary"]
    assert set(ours) == set(theirs)
    padding = list(range(len(ours), case["config"]["vocab_size"]))
    return [ours[token] for token in sorted(ours)] + padding, [theirs[token] for token in sorted(ours)] + padding


def assert_close(found: torch.Tensor, expected: torch.Tensor) -> None:
    if expected.dtype == torch.bfloat16:
        steps = ordered(found) - ordered(expected)
        assert int(steps.abs().max()) <= 1
    else:
        assert float((found - expected).abs().max()) <= TOLERANCE * float(expected.abs().max())


def ordered(tensor: torch.Tensor) -> torch.Tensor:
    """bfloat16 numbers as integers, so that neighbours differ by one."""
    bits = tensor.view(torch.int16).to(torch.int64)
    return torch.where(bits < 0, -(bits & 0x7FFF), bits)
