from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest
import torch
from typing_extensions import override

from searcher.errors import ConfigError, PoolError
from searcher.merge import free_memory
from searcher.merge.backend import ReferenceBackend, Work
from searcher.merge.engine import MergeEngine
from searcher.merge.free_memory import FreeMemory, host_memory
from searcher.merge.memory import choose_store
from searcher.merge.memory_plan import LARGEST_TABLES, plan_memory
from searcher.merge.stores import FileStore, ResidentStore
from searcher.pool.layout import build_layout
from searcher.recipe import Recipe

if TYPE_CHECKING:
    from searcher.pool.pool import Pool

CPU, CUDA, META = torch.device("cpu"), torch.device("cuda"), torch.device("meta")
GIB = 1 << 30
SHAPES = {"embed": (1 << 16, 1 << 10), **{f"layer{i}": (1 << 12, 1 << 12) for i in range(60)}}  # 2 GiB in bfloat16


class Machine:
    """Free and total memory in GiB, in place of what the machine has."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch
        self.has(host=100.0, device=100.0)

    def has(self, *, host: float | tuple[float, float], device: float | tuple[float, float] = 0.0) -> None:
        for name, found in {"host_memory": host, "device_memory": device}.items():
            free, total = found if isinstance(found, tuple) else (found, found)
            memory = FreeMemory(int(free * GIB), int(total * GIB))
            self._patch.setattr(free_memory, name, lambda *_, memory=memory: memory)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


@pytest.fixture
def large_pool(make_pool: Callable[..., Pool]) -> Pool:
    """A base and three models of 2 GiB each, on paper."""
    return replace(make_pool(dtype=torch.bfloat16), layout=build_layout(SHAPES, {}))


def recipe_of(pool: Pool, operator: str = "task_arithmetic") -> Recipe:
    models = tuple(model.name for model in pool.models)
    whole = np.array([0, pool.layout.n_parameters])
    return Recipe(operator, models, "base", whole, np.linspace(0.2, 0.6, len(models))[None])


@pytest.mark.parametrize(
    ("device", "host", "mode"),
    [
        (100.0, 100.0, "resident"),
        (14.0, 100.0, "resident"),
        (9.0, 100.0, "host"),
        (6.0, 100.0, "host"),
        (9.0, 5.0, "stream"),
        (5.3, 100.0, "stream"),  # one tensor of each source, but not two
        ((2.0, 3.0), 5.0, "stream"),  # tried, because other programs may end
    ],
)
def test_auto_on_a_cuda_device(device: Any, host: float, mode: str, machine: Machine, large_pool: Pool) -> None:
    machine.has(host=host, device=device)
    plan = plan_memory("auto", large_pool, CUDA, torch.bfloat16)
    assert plan.mode == mode
    assert plan.needed.keys() == plan.free.keys() == {"device", "host"}
    assert plan.free["host"] == int(host * GIB)
    assert plan.reason.startswith(f"Memory mode {mode} (")
    assert ("resident would need 1" in plan.reason) == (mode != "resident")
    assert ("host would need" in plan.reason) == (mode == "stream")
    assert plan.reason.count(".") - plan.reason.count(" GiB") == 1  # one sentence


@pytest.mark.parametrize(
    ("host", "mode"), [(100.0, "resident"), (14.0, "resident"), (11.0, "stream"), ((1.0, 8.0), "stream")]
)
def test_auto_on_the_cpu(host: Any, mode: str, machine: Machine, large_pool: Pool) -> None:
    machine.has(host=host)
    plan = plan_memory("auto", large_pool, CPU, torch.bfloat16)
    assert plan.mode == mode
    assert plan.needed.keys() == {"host"}
    assert (8 * GIB < plan.needed["host"] < 14 * GIB) == (mode == "resident")


def test_streams_need_one_tensor_of_each_source(machine: Machine, large_pool: Pool, make_source: Any) -> None:
    few = plan_memory("stream", large_pool, CPU, torch.bfloat16)
    others = tuple(make_source(f"other{i}", {}) for i in range(3))
    many = plan_memory("stream", replace(large_pool, models=(*large_pool.models, *others)), CPU, torch.bfloat16)
    largest = max(entry.size for entry in large_pool.layout.tensors)
    stored, working, tables = 2 * largest, 4 * largest, 61 << 16  # of one source
    assert many.needed["host"] - few.needed["host"] == 3 * (stored + working + tables)
    assert few.tables == many.tables == 0


def test_wider_storage_and_dense_adapters_are_counted(machine: Machine, make_pool: Callable[..., Pool]) -> None:
    pool = make_pool(n_adapters=2, shapes={"a": (1 << 20, 1)})
    needed = {
        dtype: plan_memory("resident", pool, CPU, dtype).needed["host"] for dtype in (torch.float16, torch.bfloat16)
    }
    assert needed[torch.float16] - needed[torch.bfloat16] == 2 * 2 << 20  # the two adapters stay float32


def test_tables_take_what_is_left(machine: Machine, large_pool: Pool) -> None:
    assert plan_memory("auto", large_pool, CUDA, torch.bfloat16).tables == LARGEST_TABLES
    machine.has(host=100.0, device=13.5)
    assert 0 < plan_memory("auto", large_pool, CUDA, torch.bfloat16).tables < LARGEST_TABLES


@pytest.mark.parametrize("memory", ["resident", "host", "stream"])
def test_a_mode_that_is_asked_for_is_tried(memory: str, machine: Machine, large_pool: Pool) -> None:
    machine.has(host=(1.0, 64.0), device=(1.0, 64.0))
    plan = plan_memory(memory, large_pool, CUDA, torch.bfloat16)
    assert plan.mode == memory
    assert f"pool.memory: {memory} asks for" in plan.reason


def test_host_memory_is_the_device_on_the_cpu(machine: Machine, large_pool: Pool) -> None:
    assert plan_memory("host", large_pool, CPU, torch.bfloat16).mode == "resident"


@pytest.mark.parametrize(
    ("memory", "device", "host", "place"),
    [
        ("resident", 9.9, 64.0, "device"),
        ("host", 64.0, 7.9, "host"),
        ("stream", 1.9, 64.0, "device"),
        ("auto", 1.9, 64.0, "device"),
    ],
)
def test_what_cannot_fit_is_refused(
    memory: str, device: float, host: float, place: str, machine: Machine, large_pool: Pool
) -> None:
    machine.has(host=host, device=device)
    with pytest.raises(ConfigError, match=f"of {place} memory, but there are only") as caught:
        choose_store(memory, large_pool, CUDA, torch.bfloat16)
    assert len(str(caught.value).splitlines()) == 3
    assert memory in caught.value.where


def test_unknown_mode_is_refused(make_pool: Callable[..., Pool]) -> None:
    with pytest.raises(ConfigError, match="'device' does not exist"):
        choose_store("device", make_pool(), CPU, torch.float32)


def fail(error: Exception) -> Callable[..., Any]:
    def failing(*_: object, **__: object) -> Any:
        raise error

    return failing


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("operator", ["task_arithmetic", "slerp"])
def test_a_pool_that_does_not_fit_after_all_is_streamed(
    error: Exception, operator: str, make_pool: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = make_pool(2)
    expected = MergeEngine(pool, device="cpu", memory="resident").build(recipe_of(pool, operator)).weights.clone()
    monkeypatch.setattr(ResidentStore, "_line", fail(error))
    engine = MergeEngine(pool, device="cpu", memory="auto")
    assert torch.equal(engine.build(recipe_of(pool, operator)).weights, expected)
    assert engine.memory == "stream"
    assert torch.equal(engine.build(recipe_of(pool, operator)).weights, expected)


def test_a_device_smaller_than_the_pool(make_pool: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch) -> None:
    """An allocator that has room for one tensor of each source, whatever the probe says."""
    pool = make_pool(5, shapes={f"tensor{i}": (40, 10) for i in range(20)})
    engine = MergeEngine(pool, device="cpu", memory="auto")
    names, allocate = [source.name for source in (pool.base, *pool.models) if source is not None], torch.empty

    def limited(*size: Any, **options: Any) -> torch.Tensor:
        made = allocate(*size, **options)
        if made.numel() > 400:
            raise torch.OutOfMemoryError(f"Tried to allocate {made.nbytes} bytes.")
        return made

    monkeypatch.setattr(torch, "empty", limited)
    store = choose_store("auto", pool, CPU, engine.dtype)
    assert store.plan.mode == "resident"
    for entry, tensors in store.tensors(names, pool.layout.tensors):
        assert torch.equal(tensors["m4"], pool.models[4].read(entry.name).reshape(-1))
    assert store.mode == "stream"
    assert "mode resident ran out of memory (Tried to allocate 32000 bytes.)" in store.plan.reason


@pytest.mark.parametrize("many", [False, True])
def test_memory_may_run_out_while_merging(many: bool, make_pool: Callable[..., Pool]) -> None:
    """In kernels or side tables, say: the sources leave the device and the build is done again."""
    pool = make_pool()
    expected = MergeEngine(pool, device="cpu", memory="resident").build(recipe_of(pool)).weights
    engine = MergeEngine(pool, device="cpu", memory="auto")
    engine._backend = TightBackend(engine)
    found = engine.build_many([recipe_of(pool)] * 2)[1] if many else engine.build(recipe_of(pool))
    assert torch.equal(found.weights, expected)
    assert engine.memory == "stream"


def test_nothing_holds_the_sources_after_they_gave_way(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool()
    engine = MergeEngine(pool, device="cpu", memory="auto")
    engine.build(recipe_of(pool, "ties"))
    engine._backend = TightBackend(engine)
    engine.build(recipe_of(pool, "ties"))
    assert engine.memory == "stream"
    assert not engine._planner.remembers


class TightBackend(ReferenceBackend):
    """Has enough memory only when the sources are elsewhere."""

    def __init__(self, engine: MergeEngine) -> None:
        self._engine = engine

    @override
    def submit(self, work: Sequence[Work]) -> None:
        if self._engine.memory == "resident":
            raise torch.OutOfMemoryError("no room")
        super().submit(work)


class LateBackend(ReferenceBackend):
    """Does nothing before it is waited for, as threads may."""

    def __init__(self) -> None:
        self._waiting: list[Work] = []

    @override
    def submit(self, work: Sequence[Work]) -> None:
        self._waiting += work

    @override
    def wait(self) -> None:
        super().submit(self._waiting)
        self._waiting.clear()


class Alive:
    """Counts the tensors read from files that are still in memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tensors: weakref.WeakSet[torch.Tensor] = weakref.WeakSet()
        self.most = 0
        read = FileStore.read

        def counted(store: FileStore, name: str, entry: Any) -> torch.Tensor:
            tensor = read(store, name, entry).clone()
            self.tensors.add(tensor)
            self.most = max(self.most, len(self.tensors))
            return tensor

        monkeypatch.setattr(FileStore, "read", counted)


def test_a_streamed_build_holds_one_tensor_of_each_source(
    make_pool: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, alive = make_pool(3), Alive(monkeypatch)
    expected = MergeEngine(pool, device="cpu", memory="resident").build(recipe_of(pool)).weights
    engine = MergeEngine(pool, device="cpu", memory="stream")
    engine._backend = LateBackend()
    assert torch.equal(engine.build(recipe_of(pool)).weights, expected)
    assert alive.most == 4
    assert not alive.tensors


@pytest.mark.parametrize("built_before", [False, True])
def test_an_export_holds_one_tensor_of_each_source(
    built_before: bool, make_pool: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, alive = make_pool(3), Alive(monkeypatch)
    engine = MergeEngine(pool, device="cpu")
    if built_before:
        engine.build(recipe_of(pool))
    assert len(list(engine.stream(recipe_of(pool)))) == len(pool.layout.tensors)
    assert alive.most == 4
    assert not alive.tensors


def test_modes_give_way_one_after_the_other(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool()
    store = choose_store("auto", pool, META, torch.float32)
    modes: list[str] = [store.mode]
    for _ in range(2):
        store.give_way("no room")
        modes.append(store.mode)
    assert modes == ["resident", "host", "stream"]
    with pytest.raises(ConfigError, match="'stream': no room") as caught:
        store.give_way("no room")
    assert len(str(caught.value).splitlines()) == 3


def test_memory_may_run_out_half_way(make_pool: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch) -> None:
    pool = make_pool()
    store = choose_store("auto", pool, CPU, torch.float32)
    found = []
    resident = store._store
    visits = resident.tensors(["m0"], pool.layout.tensors)

    def breaking(*_: object) -> Any:
        yield next(visits)
        yield next(visits)
        raise MemoryError

    monkeypatch.setattr(resident, "tensors", breaking)
    for entry, tensors in store.tensors(["m0"], pool.layout.tensors):
        found.append((entry, tensors["m0"].clone()))
    assert [entry for entry, _ in found] == list(pool.layout.tensors)
    assert all(torch.equal(values, pool.models[0].read(entry.name).reshape(-1)) for entry, values in found)


def test_only_auto_gives_way(make_pool: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch) -> None:
    pool = make_pool()
    monkeypatch.setattr(ResidentStore, "_line", fail(torch.OutOfMemoryError("no room")))
    engine = MergeEngine(pool, device="cpu", memory="resident")
    with pytest.raises(ConfigError, match="Memory ran out in mode 'resident': no room") as caught:
        engine.build(recipe_of(pool))
    assert "stream" in caught.value.fix


@pytest.mark.parametrize("error", [RuntimeError("shape mismatch"), PoolError("x", where="y", fix="z")])
def test_other_errors_pass(error: Exception, make_pool: Callable[..., Pool]) -> None:
    store = choose_store("auto", make_pool(), CPU, torch.float32)
    with pytest.raises(type(error)) as caught:
        store.retry(fail(error))
    assert caught.value is error
    assert store.mode == "resident"


def test_what_did_not_fit_is_released_before_the_next_try(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool()
    store = choose_store("auto", pool, CPU, torch.float32)
    lines = store.lines(["base"])
    assert lines is not None
    line, temporary = weakref.ref(lines.pop("base")), []

    def work() -> str:
        if store.mode == "resident":
            large = torch.ones(5)
            temporary.append(weakref.ref(large))
            raise torch.OutOfMemoryError("no room")
        assert line() is None
        assert temporary[0]() is None
        return store.mode

    assert store.retry(work) == "stream"
    assert store.lines(["base"]) is None


def write(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def test_control_groups_of_version_two(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/job/step"
    write(
        tmp_path,
        {"proc/self/cgroup": "0::/job/step\n", f"{group}/memory.max": "max\n", f"{group}/memory.current": "1\n"},
    )
    write(tmp_path, {f"{group}/memory.stat": "anon 1\n"})
    assert host_memory(tmp_path).total == psutil.virtual_memory().total
    outer = {
        "memory.max": "9000\n",
        "memory.current": "5000\n",
        "memory.stat": "inactive_file 700\nactive_file 300\nfile 2000\n",
    }
    write(tmp_path / "sys/fs/cgroup/job", outer)
    assert host_memory(tmp_path) == FreeMemory(5000, 9000)


def test_control_groups_of_version_one_inside_a_container(tmp_path: Path) -> None:
    write(tmp_path, {"proc/self/cgroup": "12:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n0::/\n"})
    mount = {
        "memory.limit_in_bytes": "8000\n",
        "memory.usage_in_bytes": "8100\n",
        "memory.stat": "cache 1\ntotal_active_file 40\n",
    }
    write(tmp_path / "sys/fs/cgroup/memory", mount)
    assert host_memory(tmp_path) == FreeMemory(0, 8000)


def test_without_control_groups(tmp_path: Path) -> None:
    found = host_memory(tmp_path)
    assert found.total == psutil.virtual_memory().total
    assert 0 < found.free < found.total
    write(tmp_path, {"proc/self/cgroup": "0::/\n"})
    assert host_memory(tmp_path).total == found.total


def test_this_machine() -> None:
    here = host_memory()
    assert 0 < here.free < here.total
    assert free_memory.device_memory(CPU).total == here.total


@pytest.mark.gpu
def test_a_cuda_device_counts_what_torch_holds_unused() -> None:
    before = free_memory.device_memory(CUDA)
    held = torch.empty(1 << 28, dtype=torch.uint8, device=CUDA)
    during = free_memory.device_memory(CUDA)
    del held
    assert before.free - during.free >= 1 << 28
    assert free_memory.device_memory(CUDA).free - during.free >= 1 << 28
