"""Files beside the weights: numbers of special tokens, what is copied, what is left behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.mergekit.conftest import Merge
from tests.mergekit.tiny_models import SPECIAL, WORDS, llama_config, llama_shapes, weights, write_model

TEXT = "merge_method: linear\nmodels: [{model: base}, {model: other}]\nparameters: {weight: 1}\n"
OTHER = ("<end>", "<unk>", "<start>", *WORDS)  # other names for the same roles


def write(root: Path) -> None:
    for seed, (name, tokens) in enumerate({"base": SPECIAL + WORDS, "other": OTHER}.items()):
        config = llama_config(1, 40) | {"pad_token_id": 0, "sep_token_id": 1}
        write_model(root / name, weights(llama_shapes(1, 40), seed), config, tokens=tokens)
    settings = read(root / "other" / "tokenizer_config.json") | {"bos_token": "<start>", "eos_token": "<end>"}
    (root / "other" / "tokenizer_config.json").write_text(json.dumps(settings))


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_a_token_that_is_gone_is_replaced_by_the_one_of_its_role(merge: Merge, tmp_path: Path) -> None:
    """Begin and end have other texts in the new tokenizer; padding was <unk>, which is still there; nobody separates."""
    write(tmp_path)
    folder = merge(tmp_path, TEXT + "tokenizer_source: other\n").folder
    config = read(folder / "config.json")
    assert (config["bos_token_id"], config["eos_token_id"], config["pad_token_id"]) == (2, 0, 1)
    assert config["sep_token_id"] is None
    generation = read(folder / "generation_config.json")
    assert generation["bos_token_id"] == 2


def test_without_a_new_tokenizer_the_numbers_and_files_of_the_base_stay(merge: Merge, tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "base" / "chat_template.jinja").write_text("{{ messages }}")
    folder = merge(tmp_path, TEXT).folder
    assert read(folder / "config.json")["sep_token_id"] == 1
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (folder / name).read_bytes() == (tmp_path / "base" / name).read_bytes()


def test_where_the_base_was_read_from_is_left_behind(merge: Merge, tmp_path: Path) -> None:
    write(tmp_path)
    for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
        content = read(tmp_path / "base" / name) | {"_name_or_path": "/srv/models/base"}
        (tmp_path / "base" / name).write_text(json.dumps(content))
    folder = merge(tmp_path, TEXT).folder
    assert not any("/srv/models" in path.read_text() for path in folder.glob("*.json"))
