from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
import pytest
import torch

from searcher.merge.tables import store as store_module
from searcher.merge.tables.arrays import Table
from searcher.merge.tables.gram import Gram
from searcher.merge.tables.importance import ImportanceTable
from searcher.merge.tables.magnitudes import MagnitudeTable
from searcher.merge.tables.store import TableKey, TableStore, content_hash
from searcher.merge.tables.variance import VarianceTable

T = TypeVar("T", bound=Table)

ROOT = Path(__file__).parents[3]
SHAPES = {"model.norm": (5,), "model/odd name.weight": (40, 8), "empty": (0,), "scalar": ()}
KEY = TableKey(("a" * 64, "b" * 64), "c" * 64, "bfloat16", SHAPES)

WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[2])))
from test_store import KEY, tables_of
from searcher.merge.tables.magnitudes import MagnitudeTable
from searcher.merge.tables.store import TableStore

store = TableStore(Path(sys.argv[1]))
for _ in range(12):
    store.save(MagnitudeTable, KEY, tables_of(MagnitudeTable))
    found = store.load(MagnitudeTable, KEY)
    assert found is not None and found.keys() == KEY.shapes.keys()
"""


def vectors(shape: tuple[int, ...], n: int) -> list[torch.Tensor]:
    size = int(np.prod(shape))
    return [torch.randn(size, generator=torch.Generator().manual_seed(k)) for k in range(n)]


def gram_of(name: str, shape: tuple[int, ...]) -> Table:
    base, *others = vectors(shape, 4)
    return Gram.of(base, others, shape, "last")


MAKERS: dict[type[Table], Callable[[str, tuple[int, ...]], Table]] = {
    MagnitudeTable: lambda name, shape: MagnitudeTable.of(vectors(shape, 1)[0], name),
    VarianceTable: lambda name, shape: VarianceTable.of(vectors(shape, 3), name),
    ImportanceTable: lambda name, shape: ImportanceTable.of(vectors(shape, 1)[0], shape[-1] if shape else 1),
    Gram: gram_of,
}


def tables_of(kind: type[T]) -> dict[str, T]:
    return {name: cast("T", MAKERS[kind](name, shape)) for name, shape in SHAPES.items()}


def assert_equal(found: Mapping[str, Table] | None, tables: Mapping[str, Table]) -> None:
    assert found is not None
    assert list(found) == list(tables)
    for name, table in tables.items():
        arrays, again = table.to_arrays(), found[name].to_arrays()
        assert arrays.keys() == again.keys()
        assert all(np.array_equal(a, again[field]) and a.dtype == again[field].dtype for field, a in arrays.items())


@pytest.fixture
def store(tmp_path: Path) -> TableStore:
    return TableStore(tmp_path / "cache" / "tables")


@pytest.mark.parametrize("kind", [MagnitudeTable, VarianceTable, ImportanceTable, Gram])
def test_round_trip(kind: type[Table], store: TableStore) -> None:
    assert store.load(kind, KEY) is None
    tables = tables_of(kind)
    store.save(kind, KEY, tables)
    assert_equal(store.load(kind, KEY), tables)
    assert store.folder is not None
    assert [path.name.split("-")[0] for path in store.folder.iterdir()] == [kind.kind]


CHANGES = [
    {"models": ("b" * 64, "a" * 64)},
    {"models": ("a" * 64,)},
    {"base": None},
    {"dtype": "float32"},
    {"shapes": {**SHAPES, "scalar": (1,)}},
    {"shapes": {**SHAPES, "more": (1,)}},
    {"parameters": {"epsilon": 1e-5}},
]


@pytest.mark.parametrize("change", CHANGES)
def test_every_part_of_the_key_counts(change: dict[str, object], store: TableStore) -> None:
    store.save(MagnitudeTable, KEY, tables_of(MagnitudeTable))
    assert store.load(MagnitudeTable, replace(KEY, **change)) is None  # type: ignore[arg-type]
    assert store.load(MagnitudeTable, replace(KEY, shapes=dict(reversed(SHAPES.items())))) is not None


def test_a_new_version_ignores_old_tables(store: TableStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.save(MagnitudeTable, KEY, tables_of(MagnitudeTable))
    monkeypatch.setattr(MagnitudeTable, "version", MagnitudeTable.version + 1)
    assert store.load(MagnitudeTable, KEY) is None


def test_a_file_under_a_wrong_name_is_ignored(store: TableStore) -> None:
    store.save(MagnitudeTable, KEY, tables_of(MagnitudeTable))
    here, other = store.path(MagnitudeTable, KEY), replace(KEY, dtype="float16")
    there = store.path(MagnitudeTable, other)
    assert here is not None
    assert there is not None
    here.rename(there)
    assert store.load(MagnitudeTable, other) is None


def test_damaged_files_are_computed_anew(store: TableStore) -> None:
    tables = tables_of(MagnitudeTable)
    store.save(MagnitudeTable, KEY, tables)
    path = store.path(MagnitudeTable, KEY)
    assert path is not None
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for end in [0, 1, 10, 18, *rng.integers(0, len(whole), 60)]:
        path.write_bytes(whole[:end])
        assert store.load(MagnitudeTable, KEY) is None
    for place in rng.integers(10, len(whole), 100):  # before that is the gzip header
        flipped = bytearray(whole)
        flipped[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        found = store.load(MagnitudeTable, KEY)
        if found is not None:  # the bit did not count
            assert_equal(found, tables)
    path.write_bytes(b"\x1f\x8b" + rng.bytes(100))
    store.save(MagnitudeTable, KEY, tables)
    assert_equal(store.load(MagnitudeTable, KEY), tables)


def test_arrays_that_make_no_table_are_ignored(store: TableStore, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = tables_of(MagnitudeTable)
    for arrays in ({}, {"ranks": np.zeros(3)}, {"ranks": np.zeros(3, np.uint32)}):
        with monkeypatch.context() as patch:
            patch.setattr(MagnitudeTable, "to_arrays", lambda self, arrays=arrays: arrays)
            store.save(MagnitudeTable, KEY, tables)
        assert store.load(MagnitudeTable, KEY) is None


def test_tables_of_other_tensors_are_refused(store: TableStore) -> None:
    with pytest.raises(ValueError, match="tables of 4 tensors"):
        store.save(MagnitudeTable, KEY, {"model.norm": tables_of(MagnitudeTable)["model.norm"]})


def test_a_folder_that_cannot_be_written_costs_one_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = TableStore(tmp_path / "file" / "tables")
    tables = tables_of(MagnitudeTable)
    assert store.load(MagnitudeTable, KEY) is None
    with pytest.warns(UserWarning, match="not kept for the next run"):
        store.save(MagnitudeTable, KEY, tables)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store.save(MagnitudeTable, KEY, tables)
        assert store.load(MagnitudeTable, KEY) is None


def test_a_folder_that_can_only_be_read_is_still_read(store: TableStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    store.save(MagnitudeTable, KEY, tables_of(MagnitudeTable))
    monkeypatch.setattr(store_module, "write_atomically", refuse)
    with pytest.warns(UserWarning, match=r"not kept for the next run.*Permission denied"):
        store.save(MagnitudeTable, KEY, tables_of(MagnitudeTable))
    assert store.load(MagnitudeTable, KEY) is not None


def test_without_a_folder_nothing_is_kept() -> None:
    store = TableStore(None)
    store.save(MagnitudeTable, KEY, tables_of(MagnitudeTable))
    assert store.load(MagnitudeTable, KEY) is None


def test_default_is_in_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEARCHER_CACHE", str(tmp_path / "own"))
    assert TableStore.default().folder == tmp_path / "own" / "tables"
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SEARCHER_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="not kept"):
        assert TableStore.default().folder is None


def test_processes_and_threads_at_once(store: TableStore) -> None:
    assert store.folder is not None
    command = [sys.executable, "-c", WRITER, str(store.folder), str(Path(__file__).parent)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    writers = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) for _ in range(2)]
    tables = tables_of(MagnitudeTable)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: store.save(MagnitudeTable, KEY, tables), range(20)))
    for writer in writers:
        _, errors = writer.communicate(timeout=60)
        assert writer.returncode == 0, errors.decode()
    assert_equal(store.load(MagnitudeTable, KEY), tables)
    assert len(list(store.folder.iterdir())) == 1  # no temporary files


def test_content_hash_does_not_depend_on_order() -> None:
    assert content_hash(["a", "b"]) == content_hash(["b", "a"]) != content_hash(["ab"])
