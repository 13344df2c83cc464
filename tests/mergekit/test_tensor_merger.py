"""Tensors that are not simply averaged: whole numbers, copies of the base, a model that is merged with itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from searcher.errors import ConfigError, PoolError
from searcher.mergekit.merge_model import open_models
from searcher.mergekit.output_plan import plan_outputs
from searcher.mergekit.reader import read_configuration
from searcher.mergekit.tensor_merger import TensorMerger
from tests.mergekit.tiny_models import write_model

AVERAGE = "merge_method: linear\nmodels: [{model: a}, {model: b}]\nparameters: {weight: 1}\n"
FLOATS = {"h.0.w": torch.tensor([1.0, 2.0]), "h.1.w": torch.tensor([3.0, 5.0])}


def write(root: Path, name: str, **tensors: torch.Tensor) -> None:
    """A model with more tensors in its first layer; all keep their types."""
    folder = write_model(root / name, {}, {}, tokens=None)
    first = {f"h.0.{key}": value.clone() for key, value in tensors.items()}
    save_file({**FLOATS, **first}, folder / "model.safetensors")


def merger(root: Path, text: str, seed: int = 0) -> TensorMerger:
    (root / "config.yml").write_text(text)
    configuration = read_configuration(root / "config.yml")
    models = open_models(dict.fromkeys(configuration.models(), "here"), root)
    outputs, _ = plan_outputs(configuration, models)
    return TensorMerger(configuration, outputs, seed=seed, device="cpu", vocabulary=None)


@pytest.mark.parametrize(
    "values", [torch.tensor([7, -1]), torch.tensor([True, False]), torch.zeros(0, dtype=torch.uint8)]
)
def test_tensors_of_whole_numbers_are_kept_if_all_agree(values: torch.Tensor, tmp_path: Path) -> None:
    for name in "ab":
        write(tmp_path, name, n=values)
    found = dict(merger(tmp_path, AVERAGE + "dtype: bfloat16\n").tensors())
    assert found["h.0.n"].dtype == values.dtype
    assert torch.equal(found["h.0.n"], values)
    assert found["h.0.w"].dtype == torch.bfloat16


@pytest.mark.parametrize("other", [torch.tensor([7, 0]), torch.tensor([7, -1], dtype=torch.int32)])
def test_tensors_of_whole_numbers_that_differ_are_refused(other: torch.Tensor, tmp_path: Path) -> None:
    write(tmp_path, "a", n=torch.tensor([7, -1]))
    write(tmp_path, "b", n=other)
    made = merger(tmp_path, AVERAGE)
    with pytest.raises(PoolError, match=r"'h\.0\.n' holds no floating-point numbers and differs") as caught:
        dict(made.tensors())
    assert caught.value.where == "a, b"


def test_wide_types_come_first(tmp_path: Path) -> None:
    """So that all values are aligned in the file; what is planned is what comes."""
    n, half = torch.tensor([3]), torch.ones(1).half()
    write(tmp_path, "a", half=half, mixed=half, n=n, flag=n > 0)
    write(tmp_path, "b", half=half, mixed=half.float(), n=n, flag=n > 0)
    made = merger(tmp_path, AVERAGE)
    planned = [(tensor.name, tensor.dtype, tensor.shape) for tensor in made.planned]
    assert [dtype for _, dtype, _ in planned] == ["I64", "F32", "F32", "F32", "F16", "BOOL"]
    assert [(name, tuple(t.shape)) for name, t in made.tensors()] == [(name, shape) for name, _, shape in planned]


def test_a_base_alone_is_copied_in_the_type_that_is_asked_for(tmp_path: Path) -> None:
    write(tmp_path, "a")
    text = "merge_method: ties\nbase_model: a\nmodels: [{model: a}]\nout_dtype: float16\n"
    found = dict(merger(tmp_path, text).tensors())
    assert all(torch.equal(found[name], tensor.half()) for name, tensor in FLOATS.items())


def test_a_model_that_is_merged_with_itself_has_masks_of_its_own(tmp_path: Path) -> None:
    """Equal masks would drop the same entries of both, and keep a quarter less than asked for."""
    change = torch.zeros(4096)
    write(tmp_path, "base", w=change)
    write(tmp_path, "a", w=change + 1.0)
    text = """\
merge_method: dare_linear
base_model: base
parameters: {weight: 1, density: 0.5, rescale: false}
models: [{model: base}, {model: a}, {model: a}]
"""
    found = dict(merger(tmp_path, text).tensors())["h.0.w"]
    counts = torch.bincount(found.long(), minlength=3)
    assert counts.tolist() == pytest.approx([1024, 2048, 1024], rel=0.1)
    other = dict(merger(tmp_path, text, seed=1).tensors())["h.0.w"]
    assert not torch.equal(found, other)


def test_weights_that_sum_to_zero_are_told_with_the_tensor(tmp_path: Path) -> None:
    for name in "ab":
        write(tmp_path, name)
    made = merger(
        tmp_path, AVERAGE.replace("{model: b}", "{model: b, parameters: {weight: [{filter: h.1, value: -1}]}}")
    )
    with pytest.raises(ConfigError, match="undefined for a tensor") as caught:
        dict(made.tensors())
    assert caught.value.where.endswith("line 2, key models, tensor h.1.w")
