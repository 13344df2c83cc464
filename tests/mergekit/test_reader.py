"""Configurations as users and strangers write them; refusals are three lines that name key and line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.errors import ConfigError
from searcher.mergekit.configuration import Configuration
from searcher.mergekit.model_reference import ModelReference
from searcher.mergekit.reader import read_configuration
from searcher.mergekit.setting import Branch, Setting

GOOD = """\
merge_method: ties
base_model: base
models:
- model: a
  parameters:
    weight: 0.5
- model: org/b@main+adapter
  parameters: {weight: [0, 1]}
parameters:
  density: [{filter: mlp, value: [0.5, 1]}, {value: 0.2}]
  normalize: true
  int8_mask: yes
dtype: torch.float32
out_dtype: bfloat16
chat_template: chatml
tokenizer:
  source: union
  pad_to_multiple_of: 64
  tokens:
    <x>: {source: {kind: model_token, model: a, token: </s>}, force: true}
"""


def read(text: str | bytes, folder: Path) -> Configuration:
    path = folder / "config.yml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_configuration(path)


def test_a_whole_configuration_is_read(tmp_path: Path) -> None:
    found = read(GOOD, tmp_path)
    assert found.method.name == "ties"
    assert [one.model.text for one in found.slices[0].inputs] == ["a", "org/b@main+adapter", "base"]
    assert list(found.models()) == [ModelReference("base"), ModelReference("a"), found.slices[0].inputs[1].model]
    assert found.slices[0].inputs[1].parameters == {"weight": Setting((Branch((0.0, 1.0)),))}
    assert found.parameters["density"] == Setting((Branch((0.5, 1.0), "mlp"), Branch((0.2,))))
    assert (found.dtype, found.out_dtype, found.chat_template) == ("float32", "bfloat16", "chatml")
    assert found.tokenizer is not None
    assert found.tokenizer.pad_to_multiple_of == 64
    assert found.tokenizer.tokens["<x>"].token == "</s>"
    assert found.text == GOOD


def test_parameters_of_other_methods_are_a_warning(tmp_path: Path) -> None:
    found = read("merge_method: linear\nmodels: [{model: a}]\nparameters: {weight: 1, t: 0.5}\n", tmp_path)
    assert len(found.warnings) == 1
    assert "line 3" in found.warnings[0]
    assert "parameters.t" in found.warnings[0]


SLICE = "merge_method: passthrough\nslices:\n- sources:\n  - model: a\n    layer_range: "
MODELS = "models: [{model: a, parameters: {weight: 1}}]\n"
LINEAR = "merge_method: linear\n" + MODELS
WRONG: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "found nothing"),
    "comment": ("# nothing\n", "found nothing"),
    "list": ("- a\n- b\n", "Expected a mapping"),
    "scalar": ("hello", "Expected a mapping"),
    "binary": (bytes(range(256)), "not UTF-8"),
    "control characters": ("merge_method: \x01\n", "Not valid YAML"),
    "tabs": ("merge_method: linear\nmodels:\n\t- model: a\n", "line 3"),
    "unclosed": ("merge_method: [linear\n", "Not valid YAML"),
    "duplicate key": ("merge_method: linear\nmerge_method: slerp\n", "stands twice"),
    "aliases": ("a: &a [1,1]\nb: [*a,*a]\n", "Alias"),
    "two documents": (LINEAR + "---\n" + LINEAR, "several documents"),
    "deep": ("a: " + "[" * 50 + "]" * 50, "deeper than"),
    "huge": ("#" + "x" * 1_100_000, "at most"),
    "python tag": ("merge_method: !!python/object/apply:os.system [ls]\n", "merge method"),
    "no method": (MODELS, "'merge_method' is missing"),
    "unknown method": ("merge_method: tie\n" + MODELS, "Did you mean 'ties'?"),
    "method of another type": ("merge_method: [linear]\n" + MODELS, "no merge method"),
    "unknown key": (LINEAR + "basemodel: b\n", "Did you mean 'base_model'?"),
    "modules": (LINEAR + "modules: {}\n", "'modules' is not supported"),
    "experts": (LINEAR + "experts: []\n", "mergekit-moe"),
    "neither": ("merge_method: linear\n", "Neither models nor slices"),
    "no models": ("merge_method: linear\nmodels: []\n", "Neither models nor slices"),
    "models of another type": ("merge_method: linear\nmodels: {a: b}\n", "is no list"),
    "both": (LINEAR + "slices: [{sources: []}]\n", "Both models and slices"),
    "model is a number": ("merge_method: linear\nmodels: [{model: 3}]\n", "line 2, key models.0.model"),
    "model is missing": ("merge_method: linear\nmodels: [{parameters: {}}]\n", "'model' is missing"),
    "entry is a text": ("merge_method: linear\nmodels: [a]\n", "Expected a mapping"),
    "unknown key of a model": ("merge_method: linear\nmodels: [{model: a, parameter: {}}]\n", "'parameters'"),
    "two pluses": ("merge_method: linear\nmodels: [{model: a+b+c}]\n", "more than one '+'"),
    "unknown parameter": (LINEAR + "parameters: {wieght: 1}\n", "Did you mean 'weight'?"),
    "parameters of another type": (LINEAR + "parameters: 3\n", "Parameters are a mapping"),
    "not a number": (LINEAR + "parameters: {weight: .nan}\n", "ordinary size"),
    "infinite": (LINEAR + "parameters: {weight: [1, -.inf]}\n", "ordinary size"),
    "text": (LINEAR + "parameters: {weight: heavy}\n", "expected a number"),
    "no value": (LINEAR + "parameters: {weight: }\n", "found nothing"),
    "filter without value": (LINEAR + "parameters: {weight: [{filter: mlp}]}\n", "'value' is missing"),
    "filter is a number": (LINEAR + "parameters: {weight: [{filter: 3, value: 1}]}\n", "A filter is a text"),
    "filters and numbers": (LINEAR + "parameters: {weight: [1, {value: 1}]}\n", "found a mapping"),
    "nested filters": (LINEAR + "parameters: {weight: {value: [{value: 1}]}}\n", "found a mapping"),
    "density": ("merge_method: ties\n" + MODELS + "parameters: {density: 1.5}\n", "line 3, key parameters.density"),
    "negative density": ("merge_method: ties\n" + MODELS + "parameters: {density: [0.5, -0.1]}\n", "-0.1 is outside"),
    "switch": (LINEAR + "parameters: {normalize: 2}\n", "true or false"),
    "dtype": (LINEAR + "dtype: bfloat\n", "Did you mean 'bfloat16'?"),
    "integer dtype": (LINEAR + "out_dtype: int64\n", "no type for weights"),
    "dtype of another type": (LINEAR + "dtype: 16\n", "no text"),
    "template of another type": (LINEAR + "chat_template: [a]\n", "no text"),
    "two tokenizers": (LINEAR + "tokenizer_source: union\ntokenizer: {source: base}\n", "Both tokenizer"),
    "padding": (LINEAR + "tokenizer: {pad_to_multiple_of: 0}\n", "positive whole number"),
    "padding of another type": (LINEAR + "tokenizer: {pad_to_multiple_of: true}\n", "positive whole number"),
    "tokenizer is a text": (LINEAR + "tokenizer: union\n", "Expected a mapping"),
    "token without source": (LINEAR + "tokenizer: {tokens: {x: {force: true}}}\n", "needs a source"),
    "token of no kind": (LINEAR + "tokenizer: {tokens: {x: {source: {kind: one}}}}\n", "no kind of source"),
    "token without token": (LINEAR + "tokenizer: {tokens: {x: {source: {kind: model_token, model: a}}}}\n", "one token"),
    "no range": (SLICE.rsplit("\n", 1)[0] + "\n", "'layer_range' is missing"),
    "no sources": ("merge_method: passthrough\nslices: [{sources: []}]\n", "is no list, or an empty one"),
    "long range": (SLICE + "[0, 1000000000]\n", "too long"),
    "negative range": (SLICE + "[-1, 2]\n", "line 5, key slices.0.sources.0.layer_range"),
    "reversed range": (SLICE + "[3, 1]\n", "empty, negative"),
    "empty range": (SLICE + "[3, 3]\n", "empty, negative"),
    "half a range": (SLICE + "[3]\n", "list of two numbers"),
    "text range": (SLICE + "[a, b]\n", "expected a number"),
    "fractional range": (SLICE + "[0.5, 2]\n", "whole number"),
    "many long ranges": (SLICE + "[0, 9999]\n- sources: [{model: a, layer_range: [0, 9999]}]\n", "19998 layers together"),
    "unequal ranges": (
        SLICE + "[0, 2]\n  - {model: b, layer_range: [0, 3]}\n", "different numbers of layers"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_configuration_is_refused_in_three_lines(name: str, tmp_path: Path) -> None:
    text, words = WRONG[name]
    with pytest.raises(ConfigError) as caught:
        read(text, tmp_path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert "config.yml" in lines[1]
    assert words in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_configuration(tmp_path / "none.yml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_configuration(tmp_path)


def refusal(text: str | bytes, folder: Path) -> str:
    """The message, or an empty text if the configuration is read."""
    try:
        read(text, folder)
    except ConfigError as error:
        return str(error)
    return ""


YAML_PIECES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["models", "slices", "base_model", "parameters", "dtype", "tokenizer", "tokenizer_source", "chat_template"]
)


@given(st.dictionaries(KEYS, YAML_PIECES, max_size=4), st.sampled_from(["linear", "slerp", "ties"]))
def test_any_data_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: dict[str, object], method: str
) -> None:
    text = json.dumps({"merge_method": method, **data})  # JSON is YAML
    assert refusal(text, tmp_path_factory.mktemp("any")).count("\n") in (0, 2)


@given(st.integers(0, len(GOOD) - 1), st.text(min_size=1, max_size=3))
def test_a_damaged_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, place: int, junk: str) -> None:
    text = (GOOD[:place] + junk + GOOD[place + 1 :]).encode("utf-8", "surrogatepass")
    assert refusal(text, tmp_path_factory.mktemp("any")).count("\n") in (0, 2)
