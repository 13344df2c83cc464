"""Which files are opened, and that none outside the folder ever is."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from typing_extensions import override

from searcher.errors import PoolError
from searcher.pool.files import INDEX_FILE, find_files, inside, sha256

HOSTILE_NAMES: list[object] = [
    "../outside.safetensors",
    "../../outside.safetensors",
    "..\\outside.safetensors",
    "sub/../../outside.safetensors",
    "./../outside.safetensors",
    "/etc/outside.safetensors",
    "//server/share/outside.safetensors",
    "\\\\server\\share\\outside.safetensors",
    "\\outside.safetensors",
    "C:\\outside.safetensors",
    "C:/outside.safetensors",
    "C:outside.safetensors",
    "file:///outside.safetensors",
    "model.safetensors:stream.safetensors",
    "sub/inside.safetensors",
    "sub\\inside.safetensors",
    "~/outside.safetensors",
    "..",
    ".",
    "",
    " model.safetensors",
    "model.safetensors ",
    "model.safetensors\n",
    "model\0.safetensors",
    "model\x1b[2J.safetensors",
    "weights.bin",
    "weights.pt",
    "weights.safetensors.bin",
    "weights.SAFETENSORS.pkl",
    "weights",
    "x" * 300 + ".safetensors",
    None,
    7,
    ["model.safetensors"],
]


def write_sharded(folder: Path, shards: dict[str, dict[str, torch.Tensor]], weight_map: object = None) -> Path:
    """A folder of shards with an index; ``weight_map`` replaces the right one."""
    folder.mkdir(exist_ok=True)
    for file, tensors in shards.items():
        save_file(tensors, folder / file)
    right = {name: file for file, tensors in shards.items() for name in tensors}
    (folder / INDEX_FILE).write_text(json.dumps({"weight_map": right if weight_map is None else weight_map}))
    return folder


def two_shards(folder: Path, weight_map: object = None) -> Path:
    shards = {"m-1.safetensors": {"a": torch.zeros(2)}, "m-2.safetensors": {"b": torch.zeros(3)}}
    return write_sharded(folder, shards, weight_map)


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=repr)
def test_hostile_shard_name_is_refused(name: object, tmp_path: Path) -> None:
    save_file({"b": torch.zeros(3)}, tmp_path / "outside.safetensors")
    folder = two_shards(tmp_path / "model", {"a": "m-1.safetensors", "b": name})
    with pytest.raises(PoolError, match=r"plain file name|not a \.safetensors file"):
        find_files(folder)


def test_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "outside.safetensors")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").symlink_to("../outside.safetensors")
    with pytest.raises(PoolError, match="leaves the model folder"):
        find_files(folder)


def test_linked_config_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text("{}")
    folder = tmp_path / "model"
    folder.mkdir()
    save_file({"a": torch.zeros(2)}, folder / "model.safetensors")
    (folder / "config.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(PoolError, match="leaves the model folder"):
        find_files(folder)


def test_link_inside_the_folder_is_followed(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "weights.safetensors")
    (tmp_path / "model.safetensors").symlink_to("weights.safetensors")
    assert set(find_files(tmp_path).tensors) == {"a"}


def test_links_of_the_hub_cache_are_followed_and_no_others(tmp_path: Path) -> None:
    repository = tmp_path / "models--org--name"
    snapshot = repository / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    save_file({"a": torch.zeros(2)}, repository / "blobs" / "aaaa")
    (snapshot / "model.safetensors").symlink_to("../../blobs/aaaa")
    assert set(find_files(snapshot).tensors) == {"a"}
    save_file({"a": torch.zeros(2)}, tmp_path / "outside.safetensors")
    (snapshot / "model.safetensors").unlink()
    (snapshot / "model.safetensors").symlink_to("../../../outside.safetensors")
    with pytest.raises(PoolError, match="leaves the model folder"):
        find_files(snapshot)


def test_circular_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").symlink_to("model.safetensors")
    with pytest.raises(PoolError, match="missing"):
        find_files(tmp_path)


def test_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").mkdir()
    with pytest.raises(PoolError, match="not a regular file"):
        find_files(tmp_path)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/b"])
def test_inside_refuses_paths(name: str, tmp_path: Path) -> None:
    with pytest.raises(PoolError, match="plain file name"):
        inside(tmp_path, name)


def test_shards_are_found(tmp_path: Path) -> None:
    files = find_files(two_shards(tmp_path / "model"))
    assert files.weights == ("m-1.safetensors", "m-2.safetensors")
    assert files.index == INDEX_FILE
    assert {name: file for name, (file, _) in files.tensors.items()} == {"a": "m-1.safetensors", "b": "m-2.safetensors"}


@pytest.mark.parametrize(
    ("weight_map", "fault"),
    [
        ({"a": "m-1.safetensors"}, None),  # the other shard is simply not part of the model
        ({"a": "m-1.safetensors", "b": "m-1.safetensors"}, "absent from m-1"),
        ({"a": "m-1.safetensors", "b": "m-2.safetensors", "c": "m-2.safetensors"}, "'c' is listed but absent"),
        ({"a": "m-1.safetensors", "b": "m-3.safetensors"}, "is missing"),
        ({"c": "m-1.safetensors"}, "not listed under that shard"),
        ({}, "no weight_map"),
        ([], "no weight_map"),
    ],
)
def test_index_must_fit_the_shards(weight_map: object, fault: str | None, tmp_path: Path) -> None:
    folder = two_shards(tmp_path / "model", weight_map)
    if fault is None:
        assert set(find_files(folder).tensors) == {"a"}
        return
    with pytest.raises(PoolError, match=fault):
        find_files(folder)


def test_tensor_in_two_shards_is_refused(tmp_path: Path) -> None:
    shards = {"m-1.safetensors": {"a": torch.zeros(2)}, "m-2.safetensors": {"a": torch.zeros(2), "b": torch.zeros(3)}}
    folder = write_sharded(tmp_path / "model", shards, {"a": "m-1.safetensors", "b": "m-2.safetensors"})
    with pytest.raises(PoolError, match="two shards"):
        find_files(folder)


def test_tensor_twice_in_the_index_is_refused(tmp_path: Path) -> None:
    folder = two_shards(tmp_path / "model")
    (folder / INDEX_FILE).write_text('{"weight_map": {"a": "m-1.safetensors", "a": "m-2.safetensors"}}')
    with pytest.raises(PoolError, match="'a' stands twice"):
        find_files(folder)


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".pth", ".ckpt"])
def test_pickles_are_never_opened(suffix: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    class Payload:
        @override
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(canary),)

    folder = tmp_path / "model"
    folder.mkdir()
    (folder / f"pytorch_model{suffix}").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(PoolError, match="only safetensors are read") as caught:
        find_files(folder)
    assert "save_pretrained" in caught.value.fix
    assert not canary.exists()


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(PoolError, match=r"no \.safetensors"):
        find_files(tmp_path)


def test_two_files_without_index(tmp_path: Path) -> None:
    for name in ("one", "two"):
        save_file({"a": torch.zeros(2)}, tmp_path / f"{name}.safetensors")
    with pytest.raises(PoolError, match=r"2 \.safetensors files and no"):
        find_files(tmp_path)
    assert find_files(tmp_path / "one.safetensors").weights == ("one.safetensors",)


def test_file_of_another_type_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(PoolError, match=r"not a \.safetensors file"):
        find_files(tmp_path / "model.gguf")


def test_side_files_are_what_belongs_to_the_model(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "model.safetensors")
    for name in ("config.json", "tokenizer.json", "trainer_state.json", "training.json", "README.md", ".hidden.json"):
        (tmp_path / name).write_text("{}")
    assert find_files(tmp_path).side == ("config.json", "tokenizer.json")


def test_weights_and_adapter_in_one_folder_are_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "model.safetensors")
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(PoolError, match="both full weights and an adapter"):
        find_files(tmp_path)


def test_hash_is_that_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    assert sha256(tmp_path / "file") == hashlib.sha256(b"content").hexdigest()
