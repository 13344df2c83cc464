"""Every way to build a recipe gives the same bits."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from searcher.errors import CandidateError, ConfigError
from searcher.merge.engine import MergeEngine
from searcher.merge.kernels.cpu import CompiledBatch
from searcher.merge.operators.base import OPERATORS
from searcher.recipe import Recipe
from tests.merge.merging import OURS, SETTINGS

if TYPE_CHECKING:
    from searcher.pool.pool import Pool

MakePool = Callable[..., "Pool"]


def recipe_of(pool: Pool, operator: str, cuts: tuple[int, ...] = (), seed: int = 0, **more: Any) -> Recipe:
    high = OPERATORS.get(operator).n_models[1]
    k = min(3, high or 3)
    borders = np.array([0, *cuts, pool.layout.n_parameters])
    rows = np.random.default_rng(seed).uniform(0.2, 1.0, (borders.size - 1, k))
    return Recipe(operator, ("m0", "m1", "m2")[:k], "base", borders, rows, SETTINGS.get(operator, {}) | more)


def streamed(engine: MergeEngine, recipe: Recipe) -> torch.Tensor:
    return torch.cat([tensor.reshape(-1) for _, tensor in engine.stream(recipe)])


@pytest.mark.parametrize("operator", OURS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_all_paths_agree(make_pool: MakePool, operator: str, dtype: torch.dtype) -> None:
    pool = make_pool(dtype=dtype, n_adapters=0 if dtype is torch.float32 else 1)
    engine = MergeEngine(pool, device="cpu")
    first, second = recipe_of(pool, operator, (13, 40)), recipe_of(pool, operator, (7,), seed=1)
    expected = [MergeEngine(pool, device="cpu", kernels="reference").build(r).weights for r in (first, second)]
    compiled = MergeEngine(pool, device="cpu", kernels="compiled").build(first).weights
    assert torch.equal(compiled, expected[0])
    assert torch.equal(streamed(engine, second), expected[1])
    many = engine.build_many([first, second, first])
    assert [torch.equal(m.weights, expected[i]) for m, i in zip(many, (0, 1, 0), strict=True)] == [True] * 3
    assert [m.recipe for m in many] == [first, second, first]
    assert torch.equal(MergeEngine(pool, device="cpu", memory="stream").build(first).weights, expected[0])
    assert torch.isfinite(expected[0].float()).all()


@pytest.mark.parametrize("operator", ["linear", "ties", "dare_ties", "karcher"])
@settings(max_examples=10)
@given(data=st.data())
def test_incremental_builds_equal_whole_ones(make_pool: MakePool, operator: str, data: st.DataObject) -> None:
    pool = make_pool()
    engine = MergeEngine(pool, device="cpu")
    cuts = tuple(sorted(data.draw(st.sets(st.integers(1, pool.layout.n_parameters - 1), min_size=1, max_size=5))))
    recipe = recipe_of(pool, operator, cuts)
    for step in range(5):
        rows = recipe.coefficients.copy()
        rows[data.draw(st.integers(0, len(rows) - 1))] = np.random.default_rng(step).uniform(0.2, 1.0, rows.shape[1])
        recipe = Recipe(operator, recipe.models, recipe.base, recipe.boundaries, rows, recipe.settings)
        assert torch.equal(engine.build(recipe).weights, MergeEngine(pool, device="cpu").build(recipe).weights)


def test_only_what_changed_is_written(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = make_pool()
    engine = MergeEngine(pool, device="cpu")
    written: list[tuple[int, int]] = []
    submit = engine._backend.submit

    def spy(work: Any) -> None:
        written.extend(w[2:] for w in work)
        submit(work)

    monkeypatch.setattr(engine._backend, "submit", spy)
    recipe = recipe_of(pool, "task_arithmetic", (10, 20))
    for coefficient in (0.1, 0.2, 0.3):
        rows = recipe.coefficients.copy()
        rows[1] = coefficient
        engine.build(Recipe("task_arithmetic", recipe.models, "base", recipe.boundaries, rows))
    assert written[-1] == (10, 20)
    assert len(written) == 3 + 3 + 1  # two whole builds, the second of which starts the checksum
    engine.build(engine._live.recipe or recipe)
    assert len(written) == 7  # the same recipe again: nothing to do


@pytest.mark.parametrize("how", ["in place", "data"])
def test_a_buffer_that_was_touched_is_written_again(make_pool: MakePool, how: str) -> None:
    pool = make_pool()
    engine = MergeEngine(pool, device="cpu")
    recipe = recipe_of(pool, "linear", (10, 20))
    whole = engine.build(recipe).weights.clone()
    engine.build(recipe)
    parameter = next(engine.build(recipe).module.parameters())
    if how == "data":
        parameter.data += 1.0
    else:
        with torch.no_grad():
            parameter.add_(1.0)
    assert torch.equal(engine.build(recipe).weights, whole)


def test_a_failed_build_leaves_nothing_that_counts_as_built(make_pool: MakePool) -> None:
    pool = make_pool()
    engine = MergeEngine(pool, device="cpu")
    recipe = recipe_of(pool, "linear", (10,))
    whole = engine.build(recipe).weights.clone()
    engine.build(recipe)
    rows = recipe.coefficients.copy()
    rows[1] = (1.0, -1.0, 0.0)[: rows.shape[1]]
    with pytest.raises(Exception, match="normalised"):
        engine.build(Recipe("linear", recipe.models, "base", recipe.boundaries, rows))
    assert engine._live.recipe is None
    assert torch.equal(engine.build(recipe).weights, whole)


def test_models_of_build_many_are_their_own(make_pool: MakePool) -> None:
    pool = make_pool()
    engine = MergeEngine(pool, device="cpu")
    alone = engine.build(recipe_of(pool, "linear")).weights.clone()
    one, two = engine.build_many([recipe_of(pool, "linear", seed=s) for s in (1, 2)])
    assert not torch.equal(one.weights, two.weights)
    assert one.module is not two.module
    assert next(iter(one.module.parameters())).data_ptr() == one.weights.data_ptr()
    assert torch.equal(engine._live.weights, alone)
    assert engine.build_many([]) == []


def test_depth_scaling(make_pool: MakePool) -> None:
    pool = make_pool()
    engine = MergeEngine(pool, device="cpu")
    base = (
        MergeEngine(pool, device="cpu")
        .build(recipe_of(pool, "task_arithmetic", (), 0, **{"lambda": 0.0}))
        .weights.double()
    )
    for operator in ("linear", "task_arithmetic", "ties", "slerp", "karcher", "nuslerp"):
        plain = engine.build(recipe_of(pool, operator)).weights.double().clone()
        scaled = engine.build(recipe_of(pool, operator, lines_alpha=0.25, lines_beta=0.5)).weights.double()
        torch.testing.assert_close(scaled, base + 0.25 * (plain - base), rtol=0, atol=1e-6)  # the pool has no blocks


def test_unknown_kernels_and_memory_are_refused(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="do not exist"):
        MergeEngine(make_pool(), device="cpu", kernels="fast")
    with pytest.raises(ConfigError, match="do not run"):
        MergeEngine(make_pool(), device="cpu", kernels="triton")
    monkeypatch.setenv("SEARCHER_KERNELS", "compiled")
    assert MergeEngine(make_pool(), device="cpu")._backend.name == "compiled"


def test_a_stream_holds_no_table_with_an_entry_per_element(make_pool: MakePool) -> None:
    pool = make_pool()
    engine = MergeEngine(pool, device="cpu")
    recipe = recipe_of(pool, "della")
    built = engine.build(recipe).weights.clone()
    assert engine._tables._large  # ranks, for the next candidate
    assert torch.equal(streamed(engine, recipe), built)
    assert not engine._tables._large
    assert engine.memory_plan.mode == "resident"


@pytest.mark.parametrize("failing", ["plan", "kernel"])
def test_nothing_of_a_failed_build_runs_into_the_next(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """Threads may be merging the first tensors of a candidate when its last one fails."""
    pool = make_pool()
    engine = MergeEngine(pool, device="cpu", kernels="compiled")
    monkeypatch.setattr("searcher.merge.backend.BATCH", 1)  # every tensor goes to the threads at once
    good = recipe_of(pool, "slerp", (40,))
    expected = MergeEngine(pool, device="cpu", kernels="reference").build(good).weights
    engine.build(good)
    interval = sys.getswitchinterval()
    seen: list[int] = []
    run = CompiledBatch.run

    def slow(self: CompiledBatch, jobs: list[tuple[int, int, int]]) -> None:
        time.sleep(0.02)
        seen.append(jobs[0][1])
        if failing == "kernel" and len(seen) == 2:
            raise RuntimeError("a kernel failed")
        run(self, jobs)

    monkeypatch.setattr(CompiledBatch, "run", slow)
    rows = good.coefficients.copy()
    if failing == "plan":
        rows[1] = (1.0, -1.0)  # slerp of the second segment is undefined
    with pytest.raises((CandidateError, RuntimeError)):
        engine.build(Recipe("slerp", good.models, "base", good.boundaries, rows, good.settings))
    n = len(seen)
    time.sleep(0.1)
    assert len(seen) == n  # nothing runs any more
    assert sys.getswitchinterval() == interval
    monkeypatch.setattr(CompiledBatch, "run", run)
    assert torch.equal(engine.build(good).weights, expected)
