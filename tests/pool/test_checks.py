"""Pools that do not fit together are refused with one table of all differences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from searcher.errors import PoolError
from searcher.pool.checks import MAX_ROWS, Finding, PoolMismatch, findings_table
from searcher.pool.pool import open_pool
from searcher.pool.safetensors_file import read_header

if TYPE_CHECKING:
    from tests.pool.conftest import Checkpoints, TinyPool

Edit = Callable[[dict[str, torch.Tensor]], object]
UP = "model.layers.1.mlp.up_proj.weight"


def refused(root: Path, base: Path, *models: str) -> PoolMismatch:
    with pytest.raises(PoolMismatch) as caught:
        open_pool(base=str(base), models=list(models), root=root)
    assert caught.value.exit_code == 3
    lines = str(caught.value).split("\n")
    assert [line.split(":")[0].strip() for line in lines[:3]] == ["error", "where", "what to do"]
    assert str(caught.value).endswith(caught.value.table)
    return caught.value


@pytest.mark.parametrize(
    ("edit", "row"),
    [
        (lambda t: t.pop(UP), (UP, "shape [48, 32]", "missing")),
        (lambda t: t.update(extra=torch.ones(3)), ("extra", "missing", "shape [3]")),
        (lambda t: t.update({UP: torch.ones(48, 31)}), (UP, "shape [48, 32]", "shape [48, 31]")),
        (lambda t: t.update({UP: torch.ones(48 * 32)}), (UP, "shape [48, 32]", "shape [1536]")),
        (lambda t: t.update({UP: torch.ones(48, 32, dtype=torch.int64)}), (UP, "shape [48, 32]", "missing")),
        (lambda t: t[UP][3, 4].fill_(float("nan")), (UP, "finite numbers only", "1 NaN or infinite")),
        (lambda t: t[UP][:2].fill_(float("inf")), (UP, "finite numbers only", "64 NaN or infinite")),
        (lambda t: t["model.norm.weight"].fill_(-float("inf")), ("model.norm.weight", "finite numbers only", "32 NaN")),
    ],
)
@pytest.mark.parametrize("place", ["base", "model"])
def test_wrong_tensor_is_named(
    edit: Edit, row: tuple[str, ...], place: str, tiny_llama_pool: TinyPool, checkpoints: Checkpoints, tmp_path: Path
) -> None:
    checkpoints.copy(tiny_llama_pool.base, tmp_path / "bad", edit)
    good, bad = tiny_llama_pool.base, tmp_path / "bad"
    base, model = (bad, str(good)) if place == "base" else (good, str(bad))
    error = refused(tmp_path, base, model)
    assert len(error.findings) == 1
    assert error.findings[0].model == "bad"
    line = next(line for line in error.table.split("\n") if row[0] in line)
    assert all(cell in line for cell in row)
    assert row[0] in error.where


def test_every_missing_tensor_is_refused(tiny_llama_pool: TinyPool, checkpoints: Checkpoints, tmp_path: Path) -> None:
    names = list(read_header(tiny_llama_pool.base / "model.safetensors"))
    assert len(names) == 21
    for number, name in enumerate(names):
        checkpoints.copy(tiny_llama_pool.base, tmp_path / f"bad{number}", lambda t, name=name: t.pop(name))  # type: ignore[misc]
    error = refused(tmp_path, tiny_llama_pool.base, *(f"bad{number}" for number in range(len(names))))
    assert {(f.model, f.subject, f.found) for f in error.findings} == {
        (f"bad{number}", name, "missing") for number, name in enumerate(names)
    }


CHANGES: dict[str, dict[str, Any]] = {
    "hidden": {"hidden_size": 16},
    "vocabulary": {"vocab_size": 65},
    "depth": {"num_hidden_layers": 3},
    "heads": {"num_key_value_heads": 4},
    "tied": {"tie_word_embeddings": True},
}


@pytest.mark.parametrize("ours", ["plain", *CHANGES])
@pytest.mark.parametrize("theirs", ["plain", *CHANGES])
def test_mismatch_matrix(ours: str, theirs: str, checkpoints: Checkpoints, tmp_path: Path) -> None:
    for name, key in (("base", ours), ("model", theirs)):
        checkpoints.save(checkpoints.llama(**CHANGES.get(key, {})), tmp_path / name)
    if ours == theirs:
        assert open_pool(base="base", models=["model"], root=tmp_path).layout.n_parameters
        return
    error = refused(tmp_path, tmp_path / "base", "model")
    subjects = {finding.subject for finding in error.findings}
    for key in {ours, theirs} & {"hidden", "vocabulary", "depth", "heads"}:
        assert f"config.json {next(iter(CHANGES[key]))}" in subjects
    if "tied" in (ours, theirs):
        assert "lm_head.weight" in subjects
        assert "tie_word_embeddings" in error.fix


@pytest.mark.parametrize("tied_base", [True, False])
def test_tied_beside_untied_says_so(tied_base: bool, checkpoints: Checkpoints, tmp_path: Path) -> None:
    checkpoints.save(checkpoints.llama(tie_word_embeddings=tied_base), tmp_path / "base")
    checkpoints.save(checkpoints.llama(tie_word_embeddings=not tied_base), tmp_path / "model")
    (finding,) = refused(tmp_path, tmp_path / "base", "model").findings
    assert (finding.topic, finding.subject) == ("tied", "lm_head.weight")
    assert "tied" in finding.expected
    assert "tied" in finding.found


def test_declared_tied_but_stored_apart_is_refused(
    tied_llama_pool: TinyPool, checkpoints: Checkpoints, tmp_path: Path
) -> None:
    checkpoints.copy(tied_llama_pool.base, tmp_path / "bad", lambda t: t.update({"lm_head.weight": torch.ones(64, 32)}))
    (finding,) = refused(tmp_path, tmp_path / "bad", str(tied_llama_pool.models[0])).findings
    assert (finding.topic, finding.subject, finding.found) == ("tied", "lm_head.weight", "untied: other values")


def test_redundant_copy_of_a_tied_head_is_no_difference(
    tied_llama_pool: TinyPool, checkpoints: Checkpoints, tmp_path: Path
) -> None:
    def repeat(tensors: dict[str, torch.Tensor]) -> None:
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()

    def move(tensors: dict[str, torch.Tensor]) -> None:
        tensors["lm_head.weight"] = tensors.pop("model.embed_tokens.weight")

    base = tied_llama_pool.base
    checkpoints.copy(base, tmp_path / "both", repeat)
    checkpoints.copy(base, tmp_path / "head", move)
    for first, second in (("plain", "head"), ("both", "plain"), ("head", "both")):
        paths = {"plain": str(base), "both": "both", "head": "head"}
        entries = [{"path": paths[name], "name": name} for name in (first, second)]
        pool = open_pool(base=entries[0], models=entries[1:], root=tmp_path)
        assert pool.layout.n_parameters == 17568
        assert len(pool.layout.tied) == 1
        for name in ("lm_head.weight", "model.embed_tokens.weight"):
            assert torch.equal(pool.source(first).read(name), pool.source(second).read(name))


def test_other_architecture_is_refused(checkpoints: Checkpoints, tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    checkpoints.save(checkpoints.llama(), tmp_path / "base")
    config = GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=40, n_positions=16)
    checkpoints.save(GPT2LMHeadModel(config), tmp_path / "model")
    subjects = {finding.subject for finding in refused(tmp_path, tmp_path / "base", "model").findings}
    assert {"config.json architectures", "config.json model_type", "transformer.wte.weight"} <= subjects


def test_other_types_and_settings_are_warnings(
    tiny_llama_pool: TinyPool, checkpoints: Checkpoints, tmp_path: Path
) -> None:
    module = checkpoints.llama(rms_norm_eps=1e-5).to(torch.bfloat16)
    checkpoints.save(module, tmp_path / "model")
    pool = open_pool(base=str(tiny_llama_pool.base), models=["model"], root=tmp_path)
    assert pool.dtype == "float32"
    assert pool.source("model").read(UP).dtype == torch.bfloat16
    assert len(pool.warnings) == 2
    assert "rms_norm_eps is 1e-05" in pool.warnings[0]
    assert "base: float32; model: bfloat16" in pool.warnings[1]


def test_half_precisions_together_need_float32(checkpoints: Checkpoints, tmp_path: Path) -> None:
    for name, dtype in (("base", torch.bfloat16), ("model", torch.float16)):
        checkpoints.save(checkpoints.llama().to(dtype), tmp_path / name)
    assert open_pool(base="base", models=["model"], root=tmp_path).dtype == "float32"
    assert open_pool(base="base", models=[{"path": "base", "name": "b"}], root=tmp_path).dtype == "bfloat16"


def test_table_is_aligned_and_bounded() -> None:
    findings = [Finding("model", "tensors", f"tensor{n}", "shape [1]", "missing") for n in range(MAX_ROWS + 5)]
    lines = findings_table(findings, "base").split("\n")
    assert len(lines) == MAX_ROWS + 3
    assert lines[-1] == "... and 5 more"
    assert len({line.index("shape [1]") for line in lines[2:-1]}) == 1


def test_mismatch_is_a_pool_error_with_three_lines_first() -> None:
    error = PoolMismatch([Finding("m", "numbers", "t", "finite", "NaN")], reference="base")
    assert isinstance(error, PoolError)
    assert str(error).split("\n")[3] == ""
    assert "m" in error.where
    assert "t" in error.where
