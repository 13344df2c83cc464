"""Compiled kernels against the reference, raw bits.

Every combination of slots is checked without a compiler in ``test_source``; here every slot, every pair of source and
result type and every function of ``cpu_functions`` is compiled at least once.
"""

from __future__ import annotations

import importlib.util
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from searcher.merge.counter_hash import counter_hash
from searcher.merge.kernels import reference
from searcher.merge.kernels.buffers import Buffers
from searcher.merge.kernels.spec import kernel_spec
from searcher.merge.plan import KeepMagnitude, KeepRandom, TensorPlan
from tests.merge.kernels.cases import AVERAGES, KEEPS, SOURCES, STORED, Case, assert_same_bits, merged

if importlib.util.find_spec("numba") is None:
    pytest.skip("needs numba", allow_module_level=True)

from searcher.merge.kernels import cpu

OUTS = ("bfloat16", "float16", "float32")
ORIGINS = (1.0, None, 0.5)

# Periods without a common divisor, so that pairs of neighbouring columns meet.
CASES = [
    Case(keep, AVERAGES[j % 10], 1 + j % 3, SOURCES[j % 4], OUTS[j % 3], STORED[j % 5], (1, 3)[j % 2], 96,
         ORIGINS[j % 3], (1.0, 0.75)[j % 2], (1.0, -1.0)[j // 2 % 2], seed=j)
    for j, keep in enumerate(KEEPS)
]  # fmt: skip
MANY_MODELS = [Case(n_models=12), Case("above_tie", ("agreeing", "weighted"), n_models=7)]


@pytest.mark.parametrize("case", CASES + MANY_MODELS, ids=lambda case: case.name)
def test_compiled_equals_reference_whole_and_in_stretches(case: Case) -> None:
    plan, buffers = case.build()
    expected = merged(reference.execute, plan, buffers)
    assert_same_bits(merged(cpu.execute, plan, buffers), expected)
    cuts = [0, 1, 33, case.size // 2 + 1, case.size]  # also within rows
    found = torch.full_like(expected, 7.0)
    batch = cpu.CompiledBatch([(plan, replace(buffers, out=found))])
    batch.run((0, start, stop) for start, stop in itertools.pairwise(cuts))
    assert_same_bits(found, expected)


def test_elements_outside_the_stretch_are_left_alone() -> None:
    plan, buffers = CASES[1].build()
    found = merged(cpu.execute, plan, buffers, 5, 250)
    assert_same_bits(found, merged(reference.execute, plan, buffers, 5, 250))
    assert found[:5].eq(7.0).all()
    assert found[250:].eq(7.0).all()
    assert merged(cpu.execute, plan, buffers, 40, 40).eq(7.0).all()


@pytest.mark.parametrize("row_length", [*range(1, 19), 31, 33, 63, 65, 129, 1025])
@pytest.mark.parametrize("n_rows", [1, 3])
def test_every_size(row_length: int, n_rows: int) -> None:
    plan, buffers = replace(CASES[5], row_length=row_length, n_rows=n_rows).build()
    assert_same_bits(merged(cpu.execute, plan, buffers), merged(reference.execute, plan, buffers))


def test_a_plan_without_models_gives_the_base() -> None:
    plan, buffers = Case(n_models=1, origin=0.5).build()
    nothing = replace(plan, used=(), scales=np.zeros((1, 0)))
    assert buffers.base is not None
    assert_same_bits(merged(cpu.execute, nothing, buffers), (buffers.base.float() * 0.5).bfloat16())


FLOATS = st.floats(-3e38, 3e38)  # their float32 is finite
TIES = replace(Case("band_tie", ("agreeing_signed", "weighted"), n_models=2, origin=0.5, factor=0.75), out="float32")


@settings(max_examples=60)
@given(data=st.data())
def test_any_scalars(data: st.DataObject) -> None:
    plan, buffers = TIES.build()

    def drawn(shape: tuple[int, ...]) -> NDArray[np.float64]:
        return data.draw(hnp.arrays(np.float64, shape, elements=FLOATS))

    words = hnp.arrays(np.uint32, (1, 2))
    cuts = st.sampled_from([0.0, 0.125, 0.25, 0.375, 1e-45, 2.0**127])
    low, high = (data.draw(hnp.arrays(np.float32, (1, 2), elements=cuts)) for _ in range(2))
    plan = replace(
        plan,
        scales=drawn((1, 2)),
        weights=drawn((2,)),
        keep=KeepMagnitude(low, data.draw(words), high, data.draw(words)),
    )
    assert_same_bits(merged(cpu.execute, plan, buffers), merged(reference.execute, plan, buffers))


def test_every_16_bit_number_is_read_as_torch_reads_it() -> None:
    patterns = torch.from_numpy(np.arange(1 << 16, dtype=np.uint16).view(np.int16))
    for dtype in (torch.bfloat16, torch.float16):
        assert_same_bits(copied(patterns.view(dtype), torch.float32), patterns.view(dtype).float())


def test_numbers_are_rounded_to_16_bits_as_torch_rounds_them() -> None:
    rng = np.random.default_rng(0)
    upper = np.arange(1 << 16, dtype=np.uint32) << np.uint32(16)
    lower = [0, 1, 0x0FFF, 0x1000, 0x1001, 0x3000, 0x7FFF, 0x8000, 0x8001, 0xFFFF, *rng.integers(0, 1 << 16, 8)]
    values = torch.from_numpy(np.concatenate([upper + np.uint32(x) for x in lower]).view(np.float32))
    for dtype in (torch.bfloat16, torch.float16):
        assert_same_bits(copied(values, dtype), values.to(dtype))


def copied(values: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Through a kernel that does nothing else."""
    one = np.ones((1, 1))
    plan = TensorPlan("weights", (0,), one, None, one[0])
    out = torch.empty(values.shape, dtype=dtype)
    cpu.execute(plan, Buffers("t", out, None, (values,), (False,), ("a",), out.numel()), 0, out.numel())
    return out


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_hashes_of_indices_beyond_32_bits(dtype: torch.dtype) -> None:
    # Two elements of tensors of more than 2^32, of which there is no more than these two.
    n = (1 << 32) + 64
    pair = [torch.tensor([x, 8 * x], dtype=dtype) for x in (1.0, 2.0)]
    one = np.ones((1, 2))
    keep = KeepRandom(np.full(2, 1 << 31, np.int64), seed=3)
    plan = TensorPlan("weights", (0, 1), one, None, one[0, :1], keep)
    found = torch.zeros(2, dtype=dtype)
    buffers = Buffers("t", found, None, tuple(pair), (False,) * 2, ("a", "b"), n)
    seen = set()
    for i in [*range((1 << 32) - 8, (1 << 32) - 1), *range(1 << 32, n, 2)]:
        addresses = [t.data_ptr() - i * t.itemsize for t in (found, *pair)]
        buffers.__dict__["addresses"] = (addresses[0], 0, *addresses[1:])
        cpu.CompiledBatch([(plan, buffers)]).run([(0, i, i + 2)])
        hashes = [counter_hash("t", torch.tensor([i, i + 1]), model=name, seed=3) for name in ("a", "b")]
        kept = [torch.where(h < 1 << 31, v, 0.0) for h, v in zip(hashes, pair, strict=True)]
        assert torch.equal(found, kept[0] + kept[1]), f"element {i}"
        seen.add(float(found[0]))
    assert len(seen) == 4  # none, either, both


def test_one_call_runs_over_many_tensors() -> None:
    cases = [replace(case, seed=seed) for seed in range(3) for case in CASES[:6]]
    built = [case.build() for case in cases]
    expected = [merged(reference.execute, plan, buffers) for plan, buffers in built]
    found = [torch.full_like(e, 7.0) for e in expected]
    batch = cpu.CompiledBatch([(p, replace(b, out=out)) for (p, b), out in zip(built, found, strict=True)])
    batch.run((j, 0, case.size // 3) for j, case in enumerate(cases))
    batch.run((j, case.size // 3, case.size) for j, case in reversed(list(enumerate(cases))))
    for got, wanted in zip(found, expected, strict=True):
        assert_same_bits(got, wanted)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("keep", ["all", "above_tie", "random", "ranked", "variance"])
def test_pairs_at_any_address(keep: str, dtype: str) -> None:
    """Sources and result begin at odd elements, each at another one."""
    case = Case(keep, ("agreeing", "weighted"), n_models=3, sources=dtype, out=dtype, row_length=77)
    plan, buffers = case.build()
    assert kernel_spec(plan, buffers).pairs
    assert buffers.base is not None

    def moved(values: torch.Tensor, by: int) -> torch.Tensor:
        return torch.cat([values.new_zeros(by), values])[by:]

    models = tuple(moved(m, k) for k, m in enumerate(buffers.models))
    found = replace(buffers, base=moved(buffers.base, 3), models=models)
    for start, stop in ((0, 77), (1, 76), (3, 4), (2, 71)):
        expected = merged(reference.execute, plan, buffers, start, stop)
        assert_same_bits(merged(cpu.execute, plan, found, start, stop), expected)


def test_without_a_cache_folder_kernels_are_compiled_for_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SEARCHER_CACHE", str(tmp_path / "file"))
    plan, buffers = Case(n_models=1, stored=("weights", "weights"), origin=None).build()
    cpu.kernel.cache_clear()
    assert_same_bits(merged(cpu.execute, plan, buffers), merged(reference.execute, plan, buffers))
    cpu.kernel.cache_clear()


def test_a_kernel_is_made_once_and_kept_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEARCHER_CACHE", str(tmp_path))
    plan, buffers = Case(n_models=1, stored=("deltas", "deltas"), origin=None, out="float32").build()
    spec = kernel_spec(plan, buffers)
    assert cpu.kernel(spec) is cpu.kernel(spec)
    cpu.execute(plan, buffers, 0, 8)
    (text,) = (tmp_path / "kernels").glob("*.py")
    assert text.read_text() == cpu.module_text(spec)
    assert list((tmp_path / "kernels" / "__pycache__").glob("*.nbc"))
