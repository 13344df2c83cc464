from __future__ import annotations

import json
import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save_file
from typing_extensions import override

from searcher.errors import PoolError
from searcher.merge import host_store
from searcher.merge.host_store import CopyQueue, HostLine, HostStore
from searcher.merge.stores import FileStore, ResidentStore, SourceStore, all_sources, stored_dtype
from searcher.pool.pool import open_pool

if TYPE_CHECKING:
    from searcher.pool.pool import Pool

CPU = torch.device("cpu")
STORES = (ResidentStore, HostStore, FileStore)
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
LOADER = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(7, 6)
        self.head = torch.nn.Linear(6, 7)
        self.head.weight = self.embed.weight
        self.register_buffer("scale", torch.tensor(1.0))

def load(folder):
    return Net()
"""


@pytest.fixture
def file_pool(tmp_path: Path) -> Pool:
    """Base in float64, a model that stores the embedding as the head, one in bfloat16, and an adapter."""
    generator = torch.Generator().manual_seed(0)
    (tmp_path / "loader.py").write_text(LOADER)
    for name, dtype in {"base": torch.float64, "other": torch.float32, "narrow": torch.bfloat16}.items():
        (tmp_path / name).mkdir()
        tensors = {"embed.weight": torch.randn(7, 6, dtype=torch.float64, generator=generator).to(dtype)}
        tensors["head.bias"] = torch.randn(7, dtype=torch.float64, generator=generator).to(dtype)
        tensors["scale"] = torch.tensor(1.5, dtype=dtype)
        if name == "other":
            tensors["head.weight"] = tensors.pop("embed.weight")
        save_file(tensors, tmp_path / name / "model.safetensors")
    prefix = "base_model.model.embed.lora_embedding"
    factors = {
        f"{prefix}_A": torch.randn(2, 7, generator=generator),
        f"{prefix}_B": torch.randn(6, 2, generator=generator),
    }
    (tmp_path / "adapter").mkdir()
    save_file(factors, tmp_path / "adapter" / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 3, "target_modules": ["embed"], "bias": "none"}
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    return open_pool(base="base", models=["other", "narrow", "adapter"], loader="python:loader.py:load", root=tmp_path)


def contents(store: SourceStore, pool: Pool) -> dict[tuple[str, str], torch.Tensor]:
    """Copies of all tensors of all sources."""
    names = [source.name for source in all_sources(pool)]
    found = store.tensors(names, pool.layout.tensors)
    return {(name, entry.name): t.clone() for entry, tensors in found for name, t in tensors.items()}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("store", STORES)
def test_gives_what_the_source_reads(
    store: type[SourceStore], dtype: torch.dtype, make_pool: Callable[..., Pool]
) -> None:
    pool = make_pool(n_adapters=1)
    found = contents(store(pool, CPU, dtype), pool)
    for source in all_sources(pool):
        for entry in pool.layout.tensors:
            expected = source.read(entry.name).reshape(-1).to(stored_dtype(source, dtype))
            assert torch.equal(found[source.name, entry.name], expected)
            assert found[source.name, entry.name].dtype == expected.dtype


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("store", STORES)
def test_gives_what_is_in_the_files(store: type[SourceStore], dtype: torch.dtype, file_pool: Pool) -> None:
    found = contents(store(file_pool, CPU, dtype), file_pool)
    assert len(found) == 4 * len(file_pool.layout.tensors)
    for source in all_sources(file_pool):
        for entry in file_pool.layout.tensors:
            expected = source.read(entry.name).reshape(-1).to(stored_dtype(source, dtype))
            assert torch.equal(found[source.name, entry.name].view(torch.uint8), expected.view(torch.uint8))
    assert found["adapter", "embed.weight"].dtype == (torch.bfloat16 if dtype == torch.bfloat16 else torch.float32)
    assert found["adapter", "embed.weight"].any()
    assert not found["adapter", "head.bias"].any()


@pytest.mark.parametrize("store", STORES)
def test_some_names_and_some_tensors(store: type[SourceStore], make_pool: Callable[..., Pool]) -> None:
    pool = make_pool()
    made = store(pool, CPU, torch.float32)
    entries = [pool.layout.tensors[i] for i in (3, 0)]
    found = [
        (entry, {name: t.clone() for name, t in tensors.items()}) for entry, tensors in made.tensors(["m1"], entries)
    ]
    assert [entry for entry, _ in found] == entries
    for entry, tensors in found:
        assert tensors.keys() == {"m1"}
        assert torch.equal(tensors["m1"], pool.models[1].read(entry.name).reshape(-1))
    assert list(made.tensors(["m1"], [])) == []
    assert [dict(tensors) for _, tensors in made.tensors([], entries)] == [{}, {}]


def test_only_the_resident_store_has_lines(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool()
    lines = ResidentStore(pool, CPU, torch.float32).lines(["base", "m1"])
    assert {name: tuple(line.shape) for name, line in lines.items()} == dict.fromkeys(
        ("base", "m1"), (pool.layout.n_parameters,)
    )
    assert HostStore(pool, CPU, torch.float32).lines(["base"]) is None
    assert FileStore(pool, CPU, torch.float32).lines(["base"]) is None


@pytest.mark.parametrize("store", [ResidentStore, HostStore])
def test_sources_with_the_same_files_are_stored_once(
    store: type[SourceStore], make_pool: Callable[..., Pool], make_source: Any
) -> None:
    pool = make_pool()
    base, copy = (make_source(name, pool.base.tensors, files={"w": "abc"}) for name in ("base", "copy"))  # type: ignore[union-attr]
    both = replace(pool, base=base, models=(*pool.models, copy))
    found = contents(store(both, CPU, torch.float32), both)
    assert copy.n_reads == 0
    assert all(torch.equal(found["copy", e.name], found["base", e.name]) for e in pool.layout.tensors)
    assert not torch.equal(found["copy", "embed.weight"], found["m0", "embed.weight"])


@pytest.mark.parametrize(("store", "n_reads"), [(ResidentStore, 1), (HostStore, 1), (FileStore, 2)])
def test_how_often_a_source_is_read(store: type[SourceStore], n_reads: int, make_pool: Callable[..., Pool]) -> None:
    pool: Any = make_pool()
    made = store(pool, CPU, torch.float32)
    for _ in range(2):
        for _ in made.tensors(["m0"], pool.layout.tensors):
            pass
    assert [model.n_reads for model in pool.models] == [n_reads * len(pool.layout.tensors), 0, 0]


@pytest.mark.parametrize("store", STORES)
def test_values_too_large_for_float16_are_refused(
    store: type[SourceStore], make_pool: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("searcher.merge.stores.CHUNK", 5)
    pool: Any = make_pool()
    entry = pool.layout.tensors[0]
    pool.models[1].tensors[entry.name].view(-1)[7] = 1e6
    with pytest.raises(PoolError, match="too large for float16") as caught:
        contents(store(pool, CPU, torch.float16), pool)
    assert entry.name in caught.value.where
    found = contents(store(pool, CPU, torch.bfloat16), pool)
    assert all(bool(t.isfinite().all()) for t in found.values())


def test_stored_infinities_are_no_overflow(make_pool: Callable[..., Pool]) -> None:
    pool: Any = make_pool()
    pool.models[0].tensors["embed.weight"].view(-1)[0] = float("inf")
    assert contents(FileStore(pool, CPU, torch.float16), pool)["m0", "embed.weight"][0] == float("inf")


def test_files_are_held_one_tensor_at_a_time(make_pool: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch) -> None:
    pool = make_pool()
    store = FileStore(pool, CPU, torch.float32)
    alive: weakref.WeakSet[torch.Tensor] = weakref.WeakSet()
    read, most = store.read, 0

    def counted(name: str, entry: Any) -> torch.Tensor:
        nonlocal most
        tensor = read(name, entry).clone()
        alive.add(tensor)
        most = max(most, len(alive))
        return tensor

    monkeypatch.setattr(store, "read", counted)
    for _, tensors in store.tensors(["base", "m0", "m1"], pool.layout.tensors):
        held = tensors  # a consumer that keeps the dictionary does not keep the values
    assert most == 3
    assert held == {}


@pytest.mark.parametrize("harm", ["shrink", "vanish", "replace", "touch"])
def test_a_file_that_changes_during_a_run_is_an_error(harm: str, file_pool: Pool, tmp_path: Path) -> None:
    store = FileStore(file_pool, CPU, torch.float32)
    before = contents(store, file_pool)
    path = tmp_path / "other" / "model.safetensors"
    visits = store.tensors(["base", "other"], file_pool.layout.tensors)
    next(visits)
    content = path.read_bytes()
    if harm == "vanish":
        path.unlink()
    else:
        path.write_bytes({"shrink": content[:-10], "replace": content[:-1] + b"\x00", "touch": content}[harm])
        os.utime(path, (0, 0))  # clocks of file systems are coarse
    with pytest.raises(PoolError, match="cannot be read") as caught:
        list(visits)
    assert str(path) in caught.value.where
    if harm == "touch":  # a pool that is opened anew finds the same values
        again = open_pool(base="base", models=["other"], loader="python:loader.py:load", root=tmp_path)
        found = contents(FileStore(again, CPU, torch.float32), again)
        assert all(torch.equal(values, before[key]) for key, values in found.items())


@pytest.mark.parametrize("size", [0, 1, 6, 7, 8, 25])
def test_a_host_line_is_one_line_in_pieces(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_store, "PIECE", 7 * 4)
    line, values = HostLine(size, torch.float32, pinned=False), torch.arange(float(size))
    cut = size // 3
    line.write(0, values[:cut])
    line.write(cut, values[cut:])
    for start in range(size):
        for stop in range(start, size + 1):
            out = torch.full((stop - start,), -1.0)
            line.copy_to(out, start)
            assert torch.equal(out, values[start:stop])


class LateQueue(CopyQueue):
    """Copies at the latest moment that the contract allows, and checks that slots are not written while in use."""

    def __init__(self) -> None:
        self.waiting: dict[int, Callable[[], None]] = {}
        self.in_use: set[int] = set()
        self.events: list[str] = []

    @override
    def start(self, slot: int, copies: Callable[[], None]) -> None:
        assert slot not in self.in_use
        assert slot not in self.waiting
        self.waiting[slot] = copies
        self.events.append(f"start {slot}")

    @override
    def wait(self, slot: int) -> None:
        self.waiting.pop(slot)()
        self.in_use.add(slot)
        self.events.append(f"use {slot}")

    @override
    def release(self, slot: int) -> None:
        self.in_use.remove(slot)

    @override
    def close(self) -> None:
        self.events.append("close")


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> Iterator[LateQueue]:
    queue = LateQueue()
    monkeypatch.setattr(host_store, "make_queue", lambda device: queue)
    yield queue
    assert queue.events[-1] == "close"


def test_the_next_tensor_is_copied_while_one_is_merged(late: LateQueue, make_pool: Callable[..., Pool]) -> None:
    pool = make_pool()
    found = contents(HostStore(pool, CPU, torch.float32), pool)
    for source in all_sources(pool):
        assert all(
            torch.equal(found[source.name, e.name], source.read(e.name).reshape(-1)) for e in pool.layout.tensors
        )
    assert late.events[:6] == ["start 0", "start 1", "use 0", "start 0", "use 1", "start 1"]
    assert late.events.count("use 0") + late.events.count("use 1") == len(pool.layout.tensors)


def test_copies_end_when_the_merge_breaks_off(late: LateQueue, make_pool: Callable[..., Pool]) -> None:
    pool = make_pool()
    visits = HostStore(pool, CPU, torch.float32).tensors(["base"], pool.layout.tensors)
    next(visits)
    visits.close()  # type: ignore[attr-defined]
    assert late.events == ["start 0", "start 1", "use 0", "close"]


class Recorder:
    """Stands for streams and events of CUDA, which are not here; writes down who waits for whom."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log: list[str] = []
        self._names = iter(["copied 0", "copied 1", "released 0", "released 1"])
        self.streams = {name: SimpleNamespace(name=name) for name in ("current", "side")}
        for stream in self.streams.values():
            stream.wait_event = lambda event, own=stream: self.log.append(f"{own.name} waits for {event.name}")
            stream.wait_stream = lambda other, own=stream: self.log.append(f"{own.name} waits for {other.name}")
        monkeypatch.setattr(torch.cuda, "Stream", lambda device: self.streams["side"])
        monkeypatch.setattr(torch.cuda, "Event", self.event)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: self.streams["current"])
        monkeypatch.setattr(torch.cuda, "stream", self.on)

    def event(self) -> SimpleNamespace:
        name = next(self._names)
        return SimpleNamespace(name=name, record=lambda stream: self.log.append(f"{name} after {stream.name}"))

    @contextmanager
    def on(self, stream: SimpleNamespace) -> Iterator[None]:
        self.log.append(f"on {stream.name}")
        yield


def test_events_order_copies_against_merges(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(monkeypatch)
    queue = host_store.make_queue(torch.device("cuda"))
    queue.start(1, lambda: recorder.log.append("copies"))
    queue.wait(1)
    queue.release(1)
    queue.close()
    assert recorder.log == [
        "side waits for current",  # whoever used the slots' memory before
        "side waits for released 1",
        "on side",
        "copies",
        "copied 1 after side",
        "current waits for copied 1",
        "released 1 after current",
        "current waits for side",
    ]


@pytest.mark.gpu
def test_host_memory_on_a_cuda_device(make_pool: Callable[..., Pool]) -> None:
    shapes = {f"tensor{i}": (1 + 400_000 * (i % 3),) for i in range(20)}
    pool = make_pool(n_adapters=1, shapes=shapes)
    for dtype in DTYPES:
        device = torch.device("cuda")
        expected = contents(ResidentStore(pool, CPU, dtype), pool)
        found = contents(HostStore(pool, device, dtype), pool)
        assert all(torch.equal(found[key].cpu(), values) for key, values in expected.items())
