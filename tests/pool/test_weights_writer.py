"""Weight files: what was planned, byte for byte, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from searcher.errors import ExportError
from searcher.pool.files import INDEX_FILE
from searcher.pool.weights_writer import PlannedTensor, write_weights

FLOATS = [PlannedTensor(name, "F32", (n,)) for name, n in (("small", 2), ("large", 100), ("b", 3), ("c", 3))]


def values(planned: list[PlannedTensor]) -> list[tuple[str, torch.Tensor]]:
    return [(tensor.name, torch.full(tensor.shape, float(k))) for k, tensor in enumerate(planned)]


def test_weights_of_any_types_are_written_as_planned(tmp_path: Path) -> None:
    planned = [PlannedTensor("n", "I64", (2,)), PlannedTensor("a", "F32", (3,)), PlannedTensor("b", "BF16", (2, 2))]
    values = {"n": torch.tensor([1, 2]), "a": torch.ones(3, dtype=torch.float64), "b": torch.full((2, 2), 0.1)}
    assert write_weights(tmp_path, values.items(), planned) == ["model.safetensors"]
    found = load_file(tmp_path / "model.safetensors")
    assert {name: tensor.dtype for name, tensor in found.items()} == {
        "n": torch.int64,
        "a": torch.float32,
        "b": torch.bfloat16,
    }
    assert torch.equal(found["b"], values["b"].bfloat16())
    with pytest.raises(ValueError, match="next, but got 'b'"):
        write_weights(tmp_path / "other", list(values.items())[2:], planned[1:2])
    with pytest.raises(ExportError, match="exists"):
        write_weights(tmp_path, values.items(), planned)


def test_a_tensor_above_the_limit_gets_a_shard_of_its_own(tmp_path: Path) -> None:
    names = write_weights(tmp_path, values(FLOATS), FLOATS, max_shard_bytes=24)
    shards = [f"model-0000{k}-of-00003.safetensors" for k in (1, 2, 3)]
    assert names == [*shards, INDEX_FILE]
    assert [set(load_file(tmp_path / name)) for name in shards] == [{"small"}, {"large"}, {"b", "c"}]  # 24 bytes fit
    index = json.loads((tmp_path / INDEX_FILE).read_text())
    assert index["metadata"]["total_size"] == 4 * 108
    assert index["weight_map"] == dict(
        zip(("b", "c", "large", "small"), [shards[k] for k in (2, 2, 1, 0)], strict=True)
    )


def test_shards_are_filled_to_the_limit_from_the_first(tmp_path: Path) -> None:
    planned = [PlannedTensor(str(k), "F32", (3,)) for k in range(4)]
    names = write_weights(tmp_path, values(planned), planned, max_shard_bytes=24)
    assert [set(load_file(tmp_path / name)) for name in names[:-1]] == [{"0", "1"}, {"2", "3"}]


@pytest.mark.parametrize("length", range(1, 9))
def test_values_begin_at_a_multiple_of_eight_bytes(length: int, tmp_path: Path) -> None:
    planned = [PlannedTensor("x" * length, "F32", (2,))]
    write_weights(tmp_path, [("x" * length, torch.tensor([1.0, 2.0]))], planned)
    content = (tmp_path / "model.safetensors").read_bytes()
    assert int.from_bytes(content[:8], "little") % 8 == 0
    assert content[-8:] == torch.tensor([1.0, 2.0]).numpy().tobytes()


def test_nothing_planned_is_an_empty_file(tmp_path: Path) -> None:
    assert write_weights(tmp_path / "new", [], []) == ["model.safetensors"]
    assert load_file(tmp_path / "new" / "model.safetensors") == {}


def test_a_file_in_the_way_of_the_folder_is_told_with_the_room_that_is_needed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="cannot be written") as caught:
        write_weights(tmp_path / "file", values(FLOATS), FLOATS)
    assert str(tmp_path / "file") in caught.value.where
    assert "432 bytes" in caught.value.fix


def test_tensors_after_the_last_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'more' after the last"):
        write_weights(tmp_path, [*values(FLOATS), ("more", torch.zeros(1))], FLOATS)
