"""What holds for one tensor: the place that wins, the base, and the operator that comes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from searcher.errors import ConfigError
from searcher.merge.operators.base import OPERATORS, make_operator
from searcher.mergekit.merge_model import open_models
from searcher.mergekit.methods import COEFFICIENT, IGNORED, METHODS
from searcher.mergekit.output_plan import plan_outputs
from searcher.mergekit.reader import read_configuration
from searcher.mergekit.resolve import Instructions, resolve

UP, NORM = "model.layers.1.mlp.up_proj.weight", "model.norm.weight"


def instructions(pools: dict[str, Path], tmp_path: Path, text: str, tensor: str = UP, seed: int = 0) -> Instructions:
    """What the configuration says of one tensor of the pool of Llamas with four layers."""
    (tmp_path / "config.yml").write_text(text)
    configuration = read_configuration(tmp_path / "config.yml")
    models = open_models(dict.fromkeys(configuration.models(), "here"), pools["llama"])
    outputs, _ = plan_outputs(configuration, models)
    return resolve(configuration, next(output for output in outputs if output.name == tensor), seed=seed)


SCOPES = """\
merge_method: linear
parameters: {weight: [{filter: mlp, value: 1}, {value: 2}]}
slices:
- sources:
  - {model: a, layer_range: [0, 2], parameters: {weight: [{filter: norm, value: 5}]}}
  - {model: b, layer_range: [2, 4], parameters: {weight: [{filter: layers.3, value: [6, 7]}]}}
  parameters: {weight: [{filter: q_proj, value: 3}]}
"""


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        (UP, (1.0, 7.0)),  # b calls it layers.3; last layer of the slice
        ("model.layers.0.mlp.up_proj.weight", (1.0, 1.0)),  # layers.2 of b
        ("model.layers.1.input_layernorm.weight", (5.0, 7.0)),
        ("model.layers.0.self_attn.q_proj.weight", (3.0, 3.0)),
        (NORM, (5.0, 2.0)),
        ("lm_head.weight", (2.0, 2.0)),
    ],
)
def test_the_source_wins_over_the_slice_over_the_top(
    tensor: str, expected: tuple[float, ...], pools: dict[str, Path], tmp_path: Path
) -> None:
    """A place that says nothing of the tensor passes on to the next one."""
    assert instructions(pools, tmp_path, SCOPES, tensor).coefficients == expected


def test_settings_per_model_and_shared_become_those_of_the_operator(pools: dict[str, Path], tmp_path: Path) -> None:
    text = """\
merge_method: dare_ties
base_model: base
models:
- {model: a, parameters: {weight: 0.5, density: 0.25}}
- {model: base}
- {model: b, parameters: {weight: 0.75}}
parameters: {lambda: 2, density: 0.5}
"""
    found = instructions(pools, tmp_path, text, seed=3)
    settings: dict[str, Any] = {"density": (0.25, 0.5), "lambda": 2.0, "seed": 3, "convention": "mergekit"}
    assert found.operator == make_operator("dare_ties", settings)
    assert (found.coefficients, found.base, found.models) == ((0.5, 0.75), 1, (0, 2))


def test_methods_without_weights_take_their_models_whole(pools: dict[str, Path], tmp_path: Path) -> None:
    found = instructions(pools, tmp_path, "merge_method: karcher\nbase_model: base\nmodels: [{model: a}, {model: b}]\n")
    assert found.coefficients == (1.0, 1.0, 1.0)  # the base is an input like the others
    assert (found.base, found.models) == (None, (0, 1, 2))


def test_a_base_alone_is_copied(pools: dict[str, Path], tmp_path: Path) -> None:
    found = instructions(pools, tmp_path, "merge_method: ties\nbase_model: base\nmodels: [{model: base}]\n")
    assert found == Instructions(None, (), 0, ())


def test_a_method_with_an_optional_base_does_without(pools: dict[str, Path], tmp_path: Path) -> None:
    text = "merge_method: nuslerp\nmodels: [{model: a}, {model: b}]\nparameters: {weight: 0.5}\n"
    assert instructions(pools, tmp_path, text).base is None
    assert instructions(pools, tmp_path, text + "base_model: base\n").base == 2


@pytest.mark.parametrize(
    ("text", "what", "where"),
    [
        (
            "merge_method: ties\nbase_model: base\nmodels: [{model: a}]\nparameters: {weight: 1, lambda: 1e9}\n",
            "'lambda'", "line 4, key parameters.lambda",
        ),
        (
            "merge_method: nuslerp\nmodels: [{model: a}]\nparameters: {weight: 1}\n",
            "takes 2 model(s) besides the base, but got 1", "line 2, key models",
        ),
        (
            "merge_method: linear\nmodels:\n- {model: a, parameters: {weight: 1}}\n- {model: b}\n",
            f"needs parameter 'weight' of b for tensor {UP!r}", "line 4, key models.1",
        ),
        (
            "merge_method: nearswap\nbase_model: base\nmodels: [{model: a}]\n",
            f"needs parameter 't' for tensor {UP!r}", "line 3, key models",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_where_it_stands(
    text: str, what: str, where: str, pools: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        instructions(pools, tmp_path, text)
    assert what in caught.value.what
    assert caught.value.where.endswith(where)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_every_parameter_has_a_place_in_the_operator(method: Any) -> None:
    """No parameter of mergekit's is read and then dropped."""
    settings = OPERATORS.get(method.name).settings()
    assert {p.target for p in method.parameters} <= {COEFFICIENT, IGNORED, *settings}
