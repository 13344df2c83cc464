"""One opened model: its layers, its vocabulary, its ties, whatever architecture it is of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from searcher.errors import PoolError
from searcher.mergekit.merge_model import MergeModel, open_models
from searcher.mergekit.model_reference import ModelReference
from tests.mergekit.tiny_models import llama_config, write_model

NAMES = ("embed.weight", "0.mlp.up.weight", "1.mlp.up.weight", "encoder.layers.7.attn.0.bias", "norm.weight")


def opened(root: Path, config: dict[str, Any], names: tuple[str, ...] = NAMES, folder: str = "m") -> MergeModel:
    write_model(root / folder, {name: torch.ones(2) for name in names}, config, tokens=None)
    return MergeModel(ModelReference(folder), "m", where="config.yml, line 3", root=root)


def test_the_first_number_of_a_name_is_its_layer(tmp_path: Path) -> None:
    assert opened(tmp_path, {}).layers == {
        "": {0: {"mlp.up.weight": "0.mlp.up.weight"}, 1: {"mlp.up.weight": "1.mlp.up.weight"}},
        "encoder.layers": {7: {"attn.0.bias": "encoder.layers.7.attn.0.bias"}},
    }


@pytest.mark.parametrize(
    ("config", "size"),
    [
        ({"vocab_size": 32}, 32),
        ({"text_config": {"vocab_size": 48}, "vision_config": {}}, 48),
        ({"vocab_size": 32, "text_config": {"vocab_size": 48}}, 32),
        ({"vocab_size": "32"}, None),
        ({"vocab_size": True}, None),
        ({"model_type": "vision"}, None),
    ],
)
def test_the_vocabulary_is_what_the_config_states(config: dict[str, Any], size: int | None, tmp_path: Path) -> None:
    assert opened(tmp_path, config).vocabulary_size == size


def test_an_architecture_that_nobody_knows_ties_nothing(tmp_path: Path) -> None:
    assert opened(tmp_path, {"model_type": "none", "architectures": ["Nobody"]}).ties == {}
    names = ("model.embed_tokens.weight", "model.norm.weight")
    tied = opened(tmp_path, llama_config(1, 40, tied=True), names, "tied")
    assert tied.ties == {"lm_head.weight": "model.embed_tokens.weight"}


def test_models_of_one_folder_name_get_names_of_their_own(tmp_path: Path) -> None:
    for folder in ("x/m", "y/m", "z/m"):
        opened(tmp_path, {}, folder=folder)
    references = [ModelReference(f"{parent}/m") for parent in "xyz"]
    assert [m.name for m in open_models(dict.fromkeys(references, "here"), tmp_path).values()] == ["m", "m-2", "m-3"]


def test_a_trailing_slash_is_no_name(tmp_path: Path) -> None:
    opened(tmp_path, {})
    [model] = open_models({ModelReference("m/"): "here"}, tmp_path).values()
    assert model.name == "m"


@pytest.mark.parametrize("text", ["~nobody-of-this-name/model", "a" * 5000, "no\0where"])
def test_a_path_that_the_system_refuses_is_told_in_three_lines(text: str, tmp_path: Path) -> None:
    reference = ModelReference(text, "main")
    with pytest.raises(PoolError) as caught:
        MergeModel(reference, "m", where="config.yml, line 3", root=tmp_path)
    assert len(str(caught.value).splitlines()) == 3
    assert "config.yml, line 3" in caught.value.where
    assert "pool.models" not in caught.value.where  # there is no such key in this file


def test_a_revision_of_a_folder_means_nothing(tmp_path: Path) -> None:
    opened(tmp_path, {})
    assert MergeModel(ModelReference("m", "v2"), "m", where="here", root=tmp_path).source.path == tmp_path / "m"
