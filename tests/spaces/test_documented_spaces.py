"""Every example of docs/spaces.md is a space, and every space without parents or other depths has an example."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from searcher.components import settings_model
from searcher.pool.layout import build_layout
from searcher.spaces.base import SPACES, SpaceContext
from searcher.yaml_file import parse_yaml
from tests.spaces.test_every_space import measured

TEXT = (Path(__file__).parents[2] / "docs" / "spaces.md").read_text(encoding="utf-8")
EXAMPLES = [
    parse_yaml(block, "docs/spaces.md").data["space"]
    for block in re.findall(r"```yaml\n(space:.*?)```", TEXT, flags=re.DOTALL)
]
SHAPES = {"model.embed_tokens.weight": (7, 4), "model.norm.weight": (4,), "lm_head.weight": (7, 4)} | {
    f"model.layers.{block}.{name}.weight": shape
    for block in range(8)
    for name, shape in (("self_attn.q_proj", (4, 4)), ("mlp.up_proj", (4, 8)), ("input_layernorm", (4,)))
}
CONTEXT = measured(SpaceContext(build_layout(SHAPES, {}), ("a", "b"), "base", "task_arithmetic"))


@pytest.mark.parametrize("section", EXAMPLES, ids=lambda section: section["name"])
def test_examples_are_spaces(section: dict[str, Any]) -> None:
    model = settings_model(section["name"], SPACES.get(section["name"])).model_validate(section)
    settings = {key: getattr(model, key) for key in type(model).model_fields if key != "name"}
    cls: Any = SPACES.get(section["name"])
    space = cls(CONTEXT, **settings)
    recipe = space.decode(np.random.default_rng(0).random(len(space.names)))
    assert recipe.n_parameters == CONTEXT.layout.n_parameters
    assert space.encode(recipe) is not None


def test_spaces_of_coefficients_have_examples() -> None:
    shown = {section["name"] for section in EXAMPLES}
    assert shown >= {"model_wise", "layer_wise", "depth_profile", "chunk_wise", "principal", "product"}
