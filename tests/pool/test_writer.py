"""Folders that are written load again, with the same numbers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file, save_file

from searcher.errors import ExportError
from searcher.pool.files import INDEX_FILE, find_files
from searcher.pool.layout import build_layout
from searcher.pool.pool import Pool, open_pool
from searcher.pool.source import FullSource, Source
from searcher.pool.writer import write_model_folder

if TYPE_CHECKING:
    from tests.pool.conftest import TinyPool

SHARD_BYTES = 20_000


def stream(pool: Pool, source: Source) -> Iterator[tuple[str, torch.Tensor]]:
    for entry in pool.layout.tensors:
        yield entry.name, source.read(entry.name)


@pytest.fixture(params=["tiny_llama_pool", "tied_llama_pool"])
def pool(request: pytest.FixtureRequest) -> Pool:
    tiny: TinyPool = request.getfixturevalue(request.param)
    return open_pool(base="base", models=["first", "second"], root=tiny.root)


@pytest.mark.parametrize("max_shard_bytes", [SHARD_BYTES, 2 << 30])
def test_round_trip_gives_equal_logits(pool: Pool, max_shard_bytes: int, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    module, _ = pool.load_module()
    names = write_model_folder(
        tmp_path / "out",
        stream(pool, pool.reference),
        like=pool.reference,
        layout=pool.layout,
        dtype="float32",
        max_shard_bytes=max_shard_bytes,
    )
    assert sorted(names) == sorted(path.name for path in (tmp_path / "out").iterdir())
    assert (INDEX_FILE in names) == (max_shard_bytes == SHARD_BYTES)
    again, report = AutoModelForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(report.values())
    tokens = torch.arange(20).reshape(2, 10)
    with torch.no_grad():
        assert torch.equal(module(tokens).logits, again.eval()(tokens).logits)


def test_shards_keep_to_their_limit_and_open_as_a_pool(pool: Pool, tmp_path: Path) -> None:
    arguments = {"like": pool.reference, "layout": pool.layout, "dtype": "float32"}
    names = write_model_folder(
        tmp_path / "out",
        stream(pool, pool.models[0]),
        max_shard_bytes=SHARD_BYTES,
        **arguments,  # type: ignore[arg-type]
    )
    shards = [name for name in names if name.endswith(".safetensors")]
    assert len(shards) > 2
    assert all(sum(t.nbytes for t in load_file(tmp_path / "out" / name).values()) <= SHARD_BYTES for name in shards)
    index = json.loads((tmp_path / "out" / INDEX_FILE).read_text())
    assert set(index["weight_map"]) == {entry.name for entry in pool.layout.tensors}  # no tied alias
    assert index["metadata"]["total_size"] == 4 * pool.layout.n_parameters
    again = open_pool(base="out", models=[{"path": "out", "name": "b"}], root=tmp_path)
    assert again.layout == pool.layout
    for entry in pool.layout.tensors:
        assert torch.equal(again.reference.read(entry.name), pool.models[0].read(entry.name))


def test_type_is_changed_in_weights_and_config(pool: Pool, tmp_path: Path) -> None:
    arguments = {"like": pool.reference, "layout": pool.layout}
    write_model_folder(tmp_path / "out", stream(pool, pool.reference), dtype="bfloat16", **arguments)  # type: ignore[arg-type]
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "bfloat16"
    again = FullSource("again", find_files(tmp_path / "out"), "out")
    assert again.dtypes == {"bfloat16"}
    for entry in pool.layout.tensors:
        assert torch.equal(again.read(entry.name), pool.reference.read(entry.name).to(torch.bfloat16))


def test_equal_tensors_give_equal_bytes(pool: Pool, tmp_path: Path) -> None:
    digests = set()
    for name in ("one", "two"):
        write_model_folder(
            tmp_path / name, stream(pool, pool.reference), like=pool.reference, layout=pool.layout, dtype="float16"
        )
        digests.add(hashlib.sha256((tmp_path / name / "model.safetensors").read_bytes()).hexdigest())
    assert len(digests) == 1


def test_integer_tensors_and_the_file_name_are_kept(tmp_path: Path) -> None:
    tensors = {
        "conv.weight": torch.randn(3, 2, dtype=torch.bfloat16),
        "scalar": torch.tensor(2.0, dtype=torch.bfloat16),
        "empty": torch.zeros(0, 3, dtype=torch.bfloat16),
        "count": torch.tensor(7),
        "mask": torch.tensor([True, False, True]),
    }
    (tmp_path / "in").mkdir()
    save_file(tensors, tmp_path / "in" / "weights.safetensors")
    source = FullSource("m", find_files(tmp_path / "in"), "in")
    layout = build_layout(source.shapes, {})
    values = [(entry.name, source.read(entry.name)) for entry in layout.tensors]
    assert write_model_folder(tmp_path / "out", values, like=source, layout=layout, dtype="bfloat16") == [
        "weights.safetensors"
    ]
    found = load_file(tmp_path / "out" / "weights.safetensors")
    assert set(found) == set(tensors)
    assert all(
        torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype for name, tensor in tensors.items()
    )


@pytest.mark.parametrize("fault", ["missing", "order", "shape", "surplus"])
def test_tensors_that_are_not_the_layout_are_refused(fault: str, pool: Pool, tmp_path: Path) -> None:
    tensors = list(stream(pool, pool.reference))
    if fault == "missing":
        tensors.pop()
    elif fault == "order":
        tensors[1], tensors[2] = tensors[2], tensors[1]
    elif fault == "shape":
        tensors[3] = (tensors[3][0], torch.zeros(1))
    else:
        tensors.append(("more", torch.zeros(1)))
    with pytest.raises(ValueError, match="Expected"):
        write_model_folder(tmp_path / "out", tensors, like=pool.reference, layout=pool.layout, dtype="float32")


def test_existing_files_are_never_overwritten(pool: Pool, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text("precious")
    with pytest.raises(ExportError, match="cannot be written") as caught:
        write_model_folder(
            tmp_path, stream(pool, pool.reference), like=pool.reference, layout=pool.layout, dtype="float32"
        )
    assert "bytes free" in caught.value.fix
    assert (tmp_path / "model.safetensors").read_text() == "precious"


def test_only_one_tensor_is_asked_for_at_a_time(pool: Pool, tmp_path: Path) -> None:
    import gc
    import weakref

    alive: list[weakref.ref[torch.Tensor]] = []

    def tensors() -> Iterator[tuple[str, torch.Tensor]]:
        for name, values in stream(pool, pool.reference):
            gc.collect(0)
            assert sum(reference() is not None for reference in alive) <= 1
            copy = values.clone()
            alive.append(weakref.ref(copy))
            yield name, copy
            del copy, values

    write_model_folder(tmp_path / "out", tensors(), like=pool.reference, layout=pool.layout, dtype="bfloat16")
    assert len(alive) == len(pool.layout.tensors)
