"""Reading one full model."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file, save_file

from searcher.errors import PoolError
from searcher.pool.files import find_files, sha256
from searcher.pool.source import FullSource, count_non_finite

if TYPE_CHECKING:
    from tests.pool.conftest import TinyPool


def source(folder: Path) -> FullSource:
    return FullSource("name", find_files(folder), str(folder))


def test_reads_what_the_package_reads(tiny_llama_pool: TinyPool) -> None:
    found = source(tiny_llama_pool.base)
    tensors = load_file(tiny_llama_pool.base / "model.safetensors")
    assert set(found.shapes) == set(tensors)
    for name, tensor in tensors.items():
        assert torch.equal(found.read(name), tensor)
        assert found.read(name).dtype == tensor.dtype
        assert found.shapes[name] == tuple(tensor.shape)
    assert found.kind == "full"
    assert not found.is_delta


def test_sharded_folder_reads_like_a_single_file(tiny_llama_pool: TinyPool, tmp_path: Path) -> None:
    from transformers import LlamaForCausalLM

    module = LlamaForCausalLM.from_pretrained(tiny_llama_pool.base)
    module.save_pretrained(tmp_path / "sharded", max_shard_size="20KB")
    whole, sharded = source(tiny_llama_pool.base), source(tmp_path / "sharded")
    assert len(sharded.weights_files) > 2
    assert all(torch.equal(whole.read(name), sharded.read(name)) for name in whole.shapes)
    assert set(sharded.files) == {*sharded.weights_files, *sharded.side_files, "model.safetensors.index.json"}


def test_hashes_cover_every_file(tiny_llama_pool: TinyPool) -> None:
    files = source(tiny_llama_pool.base).files
    assert set(files) == {"config.json", "generation_config.json", "model.safetensors"}
    assert all(digest == sha256(tiny_llama_pool.base / name) for name, digest in files.items())


@pytest.mark.parametrize("position", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_a_flipped_bit_changes_the_hash(position: float, tmp_path: Path) -> None:
    save_file({"a": torch.zeros(64)}, tmp_path / "model.safetensors")
    before = source(tmp_path).files["model.safetensors"]
    content = bytearray((tmp_path / "model.safetensors").read_bytes())
    start = len(content) - 256  # the values; a flip in the header would be refused
    content[start + round(position * 255)] ^= 1
    (tmp_path / "model.safetensors").write_bytes(bytes(content))
    assert source(tmp_path).files["model.safetensors"] != before


def test_alias_reads_its_tensor(tmp_path: Path) -> None:
    save_file({"embed.weight": torch.ones(2, 2)}, tmp_path / "model.safetensors")
    found = source(tmp_path)
    with pytest.raises(KeyError):
        found.read("head.weight")
    found.tie({"head.weight": "embed.weight"})
    assert torch.equal(found.read("head.weight"), torch.ones(2, 2))


def test_integer_tensors_are_not_on_the_line(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2), "n": torch.arange(3)}, tmp_path / "model.safetensors")
    assert set(source(tmp_path).shapes) == {"a"}
    assert torch.equal(source(tmp_path).read("n"), torch.arange(3))


def test_dtypes(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2, dtype=torch.bfloat16), "b": torch.ones(2)}, tmp_path / "model.safetensors")
    assert source(tmp_path).dtypes == {"bfloat16", "float32"}
    assert source(tmp_path).read("a").dtype == torch.bfloat16


def test_non_finite_tensors_are_named_and_counted(tmp_path: Path) -> None:
    broken = torch.ones(5)
    broken[1], broken[3] = float("nan"), float("-inf")
    save_file({"good": torch.ones(4), "broken": broken, "n": torch.arange(3)}, tmp_path / "model.safetensors")
    assert list(source(tmp_path).non_finite()) == [("broken", 2)]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_count_crosses_chunks(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("searcher.pool.source.CHUNK", 3)
    values = torch.zeros(2, 5, dtype=dtype)
    values[0, 2] = values[1, 4] = float("inf")
    values[1, 0] = float("nan")
    assert count_non_finite(values) == 3
    assert count_non_finite(torch.zeros(0, dtype=dtype)) == 0
    assert count_non_finite(torch.tensor(float("nan"), dtype=dtype)) == 1


def test_travels_to_another_process(tiny_llama_pool: TinyPool) -> None:
    found = source(tiny_llama_pool.base)
    values = found.read("model.norm.weight")
    again = pickle.loads(pickle.dumps(found))
    assert torch.equal(again.read("model.norm.weight"), values)


def test_file_that_shrank_is_an_error(tmp_path: Path) -> None:
    save_file({"a": torch.ones(64)}, tmp_path / "model.safetensors")
    found = source(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"gone")
    with pytest.raises(PoolError, match="cannot be read"):
        found.read("a")
