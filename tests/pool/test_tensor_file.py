from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from searcher.errors import PoolError
from searcher.pool.files import find_files
from searcher.pool.safetensors_file import BYTES_BY_DTYPE, read_header
from searcher.pool.source import FullSource
from searcher.pool.tensor_file import TORCH_BY_DTYPE, TensorFile


def source(folder: Path) -> FullSource:
    return FullSource("name", find_files(folder), str(folder))


def test_every_type_of_the_format_is_known() -> None:
    assert TORCH_BY_DTYPE.keys() == BYTES_BY_DTYPE.keys()
    assert all(dtype.itemsize == BYTES_BY_DTYPE[name] for name, dtype in TORCH_BY_DTYPE.items())


@pytest.mark.parametrize("mapped", [False, True])
def test_reads_what_the_package_reads(mapped: bool, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    tensors = {
        "scalar": torch.tensor(3.5),
        "empty": torch.empty(0, 3),
        "odd": torch.randn(3, 1, 5, generator=generator),
    }
    for dtype in TORCH_BY_DTYPE.values():
        if dtype != torch.float8_e8m0fnu:  # the package cannot write it
            tensors[str(dtype)] = torch.randint(0, 2, (5, 3), generator=generator).to(dtype)
    save_file(tensors, tmp_path / "model.safetensors")
    found = source(tmp_path).reopened() if mapped else source(tmp_path)
    for name, expected in load_file(tmp_path / "model.safetensors").items():
        read = found.read(name)
        assert (read.dtype, read.shape) == (expected.dtype, expected.shape)
        assert read.contiguous().view(-1).view(torch.uint8).equal(expected.view(-1).view(torch.uint8))


@pytest.mark.parametrize("mapped", [False, True])
def test_writing_to_a_tensor_changes_nothing_else(mapped: bool, tmp_path: Path) -> None:
    save_file({"a": torch.ones(64)}, tmp_path / "model.safetensors")
    found = source(tmp_path)
    (found.reopened() if mapped else found).read("a").zero_()
    assert found.read("a").all()
    assert load_file(tmp_path / "model.safetensors")["a"].all()


def test_reading_maps_no_file_but_a_loader_does(tmp_path: Path) -> None:
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("mappings are listed on Linux only")
    save_file({"a": torch.ones(4096)}, tmp_path / "model.safetensors")
    found = source(tmp_path)
    held = found.read("a")
    assert list(found.non_finite()) == []
    assert str(tmp_path) not in maps.read_text()
    held = found.reopened().read("a")
    assert str(tmp_path) in maps.read_text()
    del held
    assert str(tmp_path) not in maps.read_text()


@pytest.mark.parametrize("mapped", [False, True])
def test_another_file_under_the_name_is_noticed_when_it_is_opened(mapped: bool, tmp_path: Path) -> None:
    save_file({"a": torch.ones(2), "b": torch.ones(2)}, tmp_path / "model.safetensors")
    found = source(tmp_path).reopened() if mapped else source(tmp_path)
    save_file({"a": torch.ones(3), "b": torch.ones(1)}, tmp_path / "model.safetensors")  # of the same length
    with pytest.raises(PoolError, match="'a' cannot be read: it has changed since it was opened"):
        found.read("a")


def test_a_file_that_shrinks_between_two_looks_is_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(4096)}, path)
    header = read_header(path)
    file = TensorFile(path, header)
    path.write_bytes(path.read_bytes()[:-4096])
    with pytest.raises(OSError, match="it has changed"):
        file.read(header["a"])
    file._state = (path.stat().st_size, path.stat().st_mtime_ns)  # as if it shrank just after the first look
    with pytest.raises(OSError, match="ends too early"):
        file.read(header["a"])


def test_another_process_opens_the_file_for_itself(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "model.safetensors")
    found = source(tmp_path)
    found.read("a")
    save_file({"a": torch.zeros(2)}, tmp_path / "model.safetensors")
    os.utime(tmp_path / "model.safetensors", (0, 0))  # clocks of file systems are coarse
    with pytest.raises(PoolError, match="cannot be read"):
        found.read("a")
    assert not pickle.loads(pickle.dumps(found)).read("a").any()
