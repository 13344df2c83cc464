"""config.json of other depths."""

from __future__ import annotations

from typing import Any

import pytest

from searcher.pool.depth_config import depth_part, numbers_of_layers, set_depth, with_depth

CONFIG: dict[str, Any] = {"model_type": "x", "n_layer": 3, "layer_types": ["p", "q", "r"], "sizes": [1, 2, 3]}


@pytest.mark.parametrize("nested", [False, True])
def test_depth_and_lists_with_an_entry_per_layer_change(nested: bool) -> None:
    content = {"text_config": CONFIG} if nested else CONFIG
    other = {"layer_types": ["s", "t", "u"]}
    found = with_depth(content, 3, [(content, 2), (other, 0), (other, 0), ({}, 1)])
    part = found["text_config"] if nested else found
    assert part == {"model_type": "x", "n_layer": 4, "layer_types": ["r", "s", "s", "q"], "sizes": [1, 2, 3]}
    assert CONFIG["n_layer"] == 3
    assert CONFIG["layer_types"] == ["p", "q", "r"]


def test_what_must_be_checked_is_told() -> None:
    assert "set it to 2 yourself" in set_depth({"depth": 3}, 3, [({}, 0), ({}, 1)])[0]
    assert "mlp_only_layers" in set_depth({"n_layer": 3, "mlp_only_layers": [1]}, 3, [({}, 0)])[0]
    assert set_depth({"n_layer": 3, "mlp_only_layers": []}, 3, [({}, 0)]) == []


def test_parts_are_found() -> None:
    assert depth_part({"a": {"num_layers": 5}}, 5) == {"num_layers": 5}
    assert depth_part({"a": {"num_layers": 5}}, 4) is None
    assert numbers_of_layers({"moe_layers": [3], "mlp_only_layers": [1]}) == ["mlp_only_layers", "moe_layers"]
