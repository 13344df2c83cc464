from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from searcher.errors import PoolError
from searcher.merge.arena import Arena

if TYPE_CHECKING:
    from searcher.pool.pool import Pool

CPU = torch.device("cpu")


def test_view_and_read_agree(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool(n_adapters=1)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        arena = Arena(pool, CPU, dtype)
        for name in ("base", "m0", "m2"):
            for entry in pool.layout.tensors:
                assert torch.equal(arena.view(name, entry), arena.read(name, entry))


def test_adapters_keep_their_small_deltas_in_a_float16_pool(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool(n_adapters=1, scale=1e-9)
    entry = pool.layout.tensors[0]
    assert Arena(pool, CPU, torch.float16).view("m2", entry).abs().max() > 0
    assert Arena(pool, CPU, torch.float16).view("m0", entry).dtype == torch.float16
    assert Arena(pool, CPU, torch.bfloat16).view("m2", entry).dtype == torch.bfloat16


def test_sources_with_the_same_files_are_stored_once(make_pool: Callable[..., Pool], make_source: Any) -> None:
    pool = make_pool()
    base, copy = (make_source(name, pool.base.tensors, files={"w": "abc"}) for name in ("base", "copy"))  # type: ignore[union-attr]
    arena = Arena(replace(pool, base=base, models=(*pool.models, copy)), CPU, torch.float32)
    entry = pool.layout.tensors[0]
    assert arena.view("base", entry).data_ptr() == arena.view("copy", entry).data_ptr()
    assert arena.view("base", entry).data_ptr() != arena.view("m0", entry).data_ptr()
    assert copy.n_reads == 0


def test_sources_are_read_once_and_only_when_used(make_pool: Callable[..., Pool]) -> None:
    pool: Any = make_pool()
    arena = Arena(pool, CPU, torch.float32)
    for entry in pool.layout.tensors:
        arena.view("m0", entry)
    assert [model.n_reads for model in pool.models] == [len(pool.layout.tensors), 0, 0]


def test_values_too_large_for_float16_are_refused(make_pool: Callable[..., Pool]) -> None:
    pool: Any = make_pool()
    entry = pool.layout.tensors[0]
    pool.models[1].tensors[entry.name].view(-1)[0] = 1e6
    with pytest.raises(PoolError, match="too large for float16") as caught:
        Arena(pool, CPU, torch.float16).view("m1", entry)
    assert entry.name in caught.value.where
    assert bool(Arena(pool, CPU, torch.bfloat16).view("m1", entry).isfinite().all())
