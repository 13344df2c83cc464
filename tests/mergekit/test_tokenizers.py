"""Vocabularies that differ: which token gets which row, and configs with token numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from searcher.errors import PoolError
from tests.golden.make_mergekit_models_golden import vocabulary
from tests.mergekit.conftest import Merge
from tests.mergekit.tiny_models import OTHER_TOKENS, SPECIAL, WORDS, llama_config, llama_shapes, weights, write_model

EMBED = "model.embed_tokens.weight"
TWO = (
    "merge_method: linear\nmodels: [{model: base}, {model: other, parameters: {weight: 0}}]\nparameters: {weight: 1}\n"
)


def rows_of(folder: Path) -> dict[str, torch.Tensor]:
    """Embedding row of every token of a merged folder."""
    embedding = load_file(folder / "model.safetensors")[EMBED]
    return {token: embedding[number] for token, number in vocabulary(folder).items()}


def source_rows(root: Path, name: str) -> dict[str, torch.Tensor]:
    embedding = load_file(root / name / "model.safetensors")[EMBED]
    tokens = OTHER_TOKENS.get(name, SPECIAL + WORDS)
    return {token: embedding[number] for number, token in enumerate(tokens)}


def test_the_union_keeps_the_numbers_of_the_base_and_adds_the_others_in_order(merge: Merge) -> None:
    folder = merge("vocabularies", TWO + "tokenizer: {source: union}\n").folder
    found = vocabulary(folder)
    assert [token for token, _ in sorted(found.items(), key=lambda item: item[1])] == [
        *SPECIAL,
        *WORDS,
        "new0",
        "new1",
        "<sep>",
    ]
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer("w1 new1 <sep> w2").input_ids == [found[t] for t in ("w1", "new1", "<sep>", "w2")]
    assert tokenizer.added_tokens_decoder[found["<sep>"]].special


def test_a_model_keeps_its_rows_and_gets_those_it_lacks(merge: Merge, pools: dict[str, Path]) -> None:
    rows = rows_of(merge("vocabularies", TWO + "tokenizer: {source: union, pad_to_multiple_of: 10}\n").folder)
    base, other = (source_rows(pools["vocabularies"], name) for name in ("base", "other"))
    for token in base:
        assert torch.equal(rows[token], base[token])
    assert torch.equal(rows["new0"], other["new0"])


def test_padding_rows_are_the_mean_of_all_others(merge: Merge) -> None:
    folder = merge("vocabularies", TWO + "tokenizer: {source: base, pad_to_multiple_of: 16}\n").folder
    embedding = load_file(folder / "model.safetensors")[EMBED]
    assert embedding.shape[0] == 48 == json.loads((folder / "config.json").read_text())["vocab_size"]
    torch.testing.assert_close(embedding[40:], embedding[:40].mean(dim=0).expand(8, -1))


def test_tokens_may_be_given_rows(merge: Merge, pools: dict[str, Path]) -> None:
    tokens = (
        "{w1: {source: other, force: true}, w2: {source: {kind: zero}, force: true}, w3: {source: {kind: zero}},"
        " fresh: {source: {kind: model_token, model: base, token: w7}}, w4: {}, w36: {source: base}}"
    )
    rows = rows_of(merge("vocabularies", TWO + f"tokenizer: {{source: base, tokens: {tokens}}}\n").folder)
    base, other = (source_rows(pools["vocabularies"], name) for name in ("base", "other"))
    assert torch.equal(rows["w1"], other["w1"])
    assert not rows["w2"].any()
    assert torch.equal(rows["w3"], base["w3"])  # both models have it
    assert torch.equal(rows["fresh"], base["w7"])
    assert torch.equal(rows["w36"], base["w36"])


def test_tokens_of_no_tokenizer_and_no_source_are_zero(merge: Merge) -> None:
    rows = rows_of(merge("vocabularies", TWO + "tokenizer: {source: base, tokens: {fresh: {}}}\n").folder)
    assert not rows["fresh"].any()


def test_configs_have_the_numbers_of_the_new_tokenizer(merge: Merge, tmp_path: Path) -> None:
    shuffled = ("w0", "</s>", "<unk>", "<s>", *WORDS[1:])
    for seed, (name, tokens) in enumerate({"base": SPECIAL + WORDS, "other": shuffled}.items()):
        write_model(tmp_path / name, weights(llama_shapes(1, 40), seed), llama_config(1, 40), tokens=tokens)
    folder = merge(tmp_path, TWO + "tokenizer_source: other\n").folder
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    assert (config["bos_token_id"], config["eos_token_id"]) == (3, 1)
    assert json.loads((folder / "generation_config.json").read_text()) == {"bos_token_id": 3, "eos_token_id": [1]}


def test_a_model_without_tokenizer_is_taken_to_have_that_of_the_base(merge: Merge, tmp_path: Path) -> None:
    for seed, name in enumerate(("base", "other")):
        tokens = SPECIAL + WORDS if name == "base" else None
        write_model(tmp_path / name, weights(llama_shapes(1, 40), seed), llama_config(1, 40), tokens=tokens)
    folder = merge(tmp_path, TWO + "tokenizer_source: union\n").folder
    assert len(vocabulary(folder)) == 40
    write_model(tmp_path / "bare", weights(llama_shapes(1, 40), 3), llama_config(1, 40), tokens=None)
    with pytest.raises(PoolError, match="has no tokenizer"):
        merge(tmp_path, TWO.replace("base", "bare") + "tokenizer_source: union\n", overwrite=True)


def test_tokens_without_a_row_are_left_out_of_byte_pair_tokenizers_only(merge: Merge, tmp_path: Path) -> None:
    for seed, name in enumerate(("base", "other")):
        write_model(tmp_path / name, weights(llama_shapes(1, 38), seed), llama_config(1, 38))  # 40 tokens, 38 rows
    with pytest.raises(PoolError, match="2 tokens without a row"):
        merge(tmp_path, TWO + "tokenizer_source: base\n")
    content = json.loads((tmp_path / "base" / "tokenizer.json").read_text())
    vocab = {token: n for token, n in content["model"]["vocab"].items() if n < 38} | {"ab": 38, "abc": 39}
    vocab |= {"a": vocab.pop("w0"), "b": vocab.pop("w1"), "c": vocab.pop("w2")}
    content["model"] = {"type": "BPE", "vocab": vocab, "merges": [["a", "b"], ["ab", "c"]], "unk_token": "<unk>"}
    for name in ("base", "other"):
        (tmp_path / name / "tokenizer.json").write_text(json.dumps(content))
    folder = merge(tmp_path, TWO + "tokenizer_source: base\n").folder
    assert max(vocabulary(folder).values()) == 37
    assert json.loads((folder / "config.json").read_text())["vocab_size"] == 38
