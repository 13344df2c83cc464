"""config.json of merges that change the depth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from searcher.mergekit.model_config import with_token_numbers
from tests.mergekit.conftest import Merge
from tests.mergekit.tiny_models import llama_config, llama_shapes, weights, write_model

SLICES = """\
merge_method: passthrough
slices:
- sources: [{model: a, layer_range: [0, 2]}]
- sources: [{model: b, layer_range: [1, 3]}]
- sources: [{model: b, layer_range: [0, 1]}]
"""


def merged_config(root: Path, merge: Merge, **entries: tuple[Any, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Config and warnings of a merge of two models of three layers, with entries of their own."""
    for number, name in enumerate("ab"):
        own = {key: values[number] for key, values in entries.items()}
        write_model(root / name, weights(llama_shapes(3, 40), number), llama_config(3, 40) | own)
    summary = merge(root, SLICES)
    found: dict[str, Any] = json.loads((summary.folder / "config.json").read_text())
    return found, summary.warnings


def test_lists_with_an_entry_per_layer_follow_the_layers(tmp_path: Path, merge: Merge) -> None:
    found, warnings = merged_config(
        tmp_path, merge, layer_types=(["a0", "a1", "a2"], ["b0", "b1", "b2"]), other=([1, 2, 3], [])
    )
    assert found["num_hidden_layers"] == 5
    assert found["layer_types"] == ["a0", "a1", "b1", "b2", "b0"]
    assert found["other"] == [1, 2, 3]
    assert warnings == ()


def test_lists_of_layer_numbers_are_a_warning(tmp_path: Path, merge: Merge) -> None:
    _, warnings = merged_config(tmp_path, merge, mlp_only_layers=([1], []))
    assert "mlp_only_layers" in warnings[0]


def test_a_config_without_depth_is_a_warning(tmp_path: Path, merge: Merge) -> None:
    found, warnings = merged_config(tmp_path, merge, num_hidden_layers=(7, 7))
    assert found["num_hidden_layers"] == 7
    assert "set it to 5 yourself" in warnings[0]


def test_nested_configs_are_adapted_where_the_entry_stands(tmp_path: Path, merge: Merge) -> None:
    inner = {"num_hidden_layers": 3, "vocab_size": 40, "dtype": "float16", "layer_types": ["x"] * 3}
    found, _ = merged_config(
        tmp_path, merge, text_config=(inner, inner), num_hidden_layers=(None, None), _name_or_path=("/x", "/y")
    )
    assert found["text_config"] == {**inner, "num_hidden_layers": 5, "dtype": "float32", "layer_types": ["x"] * 5}
    assert "_name_or_path" not in found


def test_token_numbers_are_replaced_everywhere() -> None:
    content = {"eos_token_id": [1, 2, 1], "pad_token_id": None, "a": {"bos_token_id": 0, "n": 0}, "x_token_id": "no"}
    found = with_token_numbers(content, lambda key, number: None if number == 2 else number + 10)
    assert found == {"eos_token_id": [11], "pad_token_id": None, "a": {"bos_token_id": 10, "n": 0}, "x_token_id": "no"}
