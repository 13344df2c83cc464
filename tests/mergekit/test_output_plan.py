"""Which tensors the result has, where each is from, and how deep it lies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from searcher.errors import PoolError
from searcher.mergekit.merge_model import open_models
from searcher.mergekit.output_plan import plan_outputs
from searcher.mergekit.output_tensor import OutputTensor
from searcher.mergekit.reader import read_configuration
from tests.mergekit.tiny_models import write_model

LINEAR = "merge_method: linear\nmodels: [{model: a}, {model: b}]\n"
SLICES = """\
merge_method: passthrough
slices:
- sources: [{model: a, layer_range: [0, 3]}]
- sources: [{model: b, layer_range: [2, 3]}]
"""
LLAMA = (
    "model.embed.weight",
    *(f"model.layers.{n}.mlp.weight" for n in range(3)),
    "model.norm.weight",
    "lm_head.weight",
)


def write(root: Path, **names: Sequence[str]) -> None:
    """Models whose tensors are all of shape (2, 2), by folder."""
    for folder, tensors in names.items():
        write_model(root / folder, {name: torch.ones(2, 2) for name in tensors}, {"model_type": "none"}, tokens=None)


def plan(root: Path, text: str) -> tuple[dict[str, OutputTensor], list[str]]:
    (root / "config.yml").write_text(text)
    configuration = read_configuration(root / "config.yml")
    models = open_models(dict.fromkeys(configuration.models(), "here"), root)
    outputs, left_out = plan_outputs(configuration, models)
    return {output.name: output for output in outputs}, left_out


def refused(root: Path, text: str, *words: str) -> None:
    with pytest.raises(PoolError) as caught:
        plan(root, text)
    assert len(str(caught.value).splitlines()) == 3
    for word in words:
        assert word in str(caught.value)


def test_depth_runs_from_0_to_1_in_each_stack_and_is_0_outside(tmp_path: Path) -> None:
    stacks = [f"{stack}.layers.{n}.weight" for stack, length in (("encoder", 1), ("decoder", 5)) for n in range(length)]
    write(tmp_path, a=[*stacks, "norm.weight"], b=[*stacks, "norm.weight"])
    outputs, _ = plan(tmp_path, LINEAR)
    assert {name: outputs[name].t for name in stacks} == dict(
        zip(stacks, (1.0, 0.0, 0.25, 0.5, 0.75, 1.0), strict=True)
    )
    assert outputs["norm.weight"].t == 0.0


def test_slices_are_numbered_anew_and_each_has_a_depth_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, a=LLAMA, b=LLAMA)
    outputs, _ = plan(tmp_path, SLICES)
    layers = [outputs[f"model.layers.{n}.mlp.weight"] for n in range(4)]
    assert [layer.parts[0].name for layer in layers] == [f"model.layers.{n}.mlp.weight" for n in (0, 1, 2, 2)]
    assert [layer.parts[0].model.name for layer in layers] == ["a", "a", "a", "b"]
    assert [layer.t for layer in layers] == [0.0, 0.5, 1.0, 1.0]
    assert list(outputs) == ["model.embed.weight", *(o.name for o in layers), "model.norm.weight", "lm_head.weight"]
    assert [outputs[name].parts[0].model.name for name in ("model.embed.weight", "lm_head.weight")] == ["a", "b"]


def test_layers_without_a_prefix_are_a_stack_as_well(tmp_path: Path) -> None:
    names = ["embed.weight", "0.mlp.weight", "1.mlp.weight", "2.mlp.weight", "norm.weight"]
    write(tmp_path, a=names, b=names)
    outputs, _ = plan(tmp_path, SLICES)
    assert outputs["3.mlp.weight"].parts[0].name == "2.mlp.weight"


@pytest.mark.parametrize("computed", ["model.layers.0.attn.rotary_emb.inv_freq", "model.layers.1.attn.masked_bias"])
def test_what_is_computed_at_load_time_need_not_be_in_all_models(computed: str, tmp_path: Path) -> None:
    write(tmp_path, a=[*LLAMA, computed], b=LLAMA)
    outputs, left_out = plan(tmp_path, LINEAR)
    assert left_out == [computed]
    assert sorted(outputs) == sorted(LLAMA)
    write(tmp_path, c=[*LLAMA, computed])
    outputs, left_out = plan(tmp_path, LINEAR.replace("model: b", "model: c"))
    assert computed in outputs
    assert left_out == []


def test_any_other_missing_tensor_is_told_with_who_lacks_it(tmp_path: Path) -> None:
    write(tmp_path, a=[*LLAMA, "model.layers.1.mlp.bias"], b=LLAMA)
    refused(tmp_path, LINEAR, "b has no tensor 'model.layers.1.mlp.bias'", "line 2, key models.1")


def test_slices_need_one_stack(tmp_path: Path) -> None:
    two = [f"{stack}.layers.{n}.weight" for stack in ("encoder", "decoder") for n in range(3)]
    write(tmp_path, a=LLAMA, b=two, c=["norm.weight"])
    refused(tmp_path, SLICES, "has 2 (decoder.layers, encoder.layers)", "model b", "line 4", "under `models`")
    refused(tmp_path, SLICES.replace("model: b", "model: c"), "has 0 (none)", "model c")


def test_slices_need_stacks_of_one_name(tmp_path: Path) -> None:
    write(tmp_path, a=LLAMA, b=[name.replace("layers", "h") for name in LLAMA])
    refused(tmp_path, SLICES, "differently: model.h, model.layers", "key slices")


def test_a_layer_past_the_end_is_told_with_the_last_one(tmp_path: Path) -> None:
    write(tmp_path, a=LLAMA, b=LLAMA)
    refused(tmp_path, SLICES.replace("[2, 3]", "[2, 4]"), "no layer 3; its layers are 0 to 2", "End the range at 3")


def test_models_of_other_depth_are_told_before_the_missing_tensor(tmp_path: Path) -> None:
    deeper = [*LLAMA, "model.layers.3.mlp.weight"]
    write(tmp_path, a=deeper, b=LLAMA)
    refused(tmp_path, LINEAR, "a has 4 layers, b has 3", "key models.1, tensors model.layers.*")
