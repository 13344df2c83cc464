"""Compiled kernels for the GPU: the generated text of ``source``, compiled by Triton.

One kernel reads the sources of a block once and writes the results of any number of candidates, so that ``build_many``
costs one pass over the pool. A block lies within one row. All numbers of a launch (addresses of the results,
keys, scalars) travel in one copy.

No GPU was at hand when this was written. Results equal the reference bit for bit in Triton's interpreter; the code
compiled for sm_80 and sm_90 has no fused product and sum, no approximate division and no flushing of subnormal
numbers, reads and writes up to 16 bytes at a time, and keeps the values of 12 models in registers. It has neither
been run nor timed on a GPU.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import tempfile
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch

from searcher.atomic import write_text_atomically
from searcher.cache_folder import cache_folder
from searcher.merge.counter_hash import TIES, tensor_key
from searcher.merge.kernels import reference
from searcher.merge.kernels.source import KernelText
from searcher.merge.kernels.spec import KernelSpec, kernel_spec, scalars
from searcher.merge.plan import KeepMask, KeepRandom, KeepRanked, TensorPlan

if TYPE_CHECKING:
    from searcher.merge.kernels.buffers import Buffers

BITS = {torch.bfloat16: torch.uint16, torch.bool: torch.uint8}
THREADS = 128  # per program
SHORT_ROW, SHORT_BLOCK = 4096, 256  # a block ends with its row, so short rows get small blocks (and fewer threads)
SPAN = 1 << 32  # indices beyond this change the key of the hash
ARGUMENTS = (
    "numbers, n_candidates, n_rows, first_block, per_row, row_length, start, stop, high, "
    "BLOCK: tl.constexpr, ALIGNED: tl.constexpr"
)

Member: TypeAlias = "tuple[TensorPlan, Buffers]"


def execute(plan: TensorPlan, buffers: Buffers, start: int, stop: int) -> None:
    """As ``reference.execute``, compiled; queued on the current stream."""
    execute_many([plan], [buffers], start, stop)


def execute_many(plans: Sequence[TensorPlan], buffers: Sequence[Buffers], start: int, stop: int) -> None:
    """Merge elements ``start ... stop`` of a tensor for several candidates.

    Plans that need the same code and the same sources share one pass over these.

    Args:
        plans: One per candidate.
        buffers: Likewise; their ``out`` must not overlap.
        start: First element.
        stop: Last element + 1.
    """
    groups: dict[Any, list[Member]] = {}
    for plan, one in zip(plans, buffers, strict=True):
        if not plan.used:
            reference.execute(plan, one, start, stop)
        elif stop > start:
            spec = kernel_spec(plan, one)
            arrays = tuple((a.data_ptr(), a.dtype) for a in _sources(spec, plan, one))
            groups.setdefault((spec, arrays, plan.n_rows, one.row_length), []).append((plan, one))
    for (spec, *_), members in groups.items():
        with torch.cuda.device_of(members[0][1].out):  # type: ignore[no-untyped-call]
            _run(spec, members, start, stop)


def _run(spec: KernelSpec, members: list[Member], start: int, stop: int) -> None:
    plan, buffers = members[0]
    length = buffers.row_length
    block, warps = block_and_warps(spec.n_models, length)
    per_row = -(-length // block)
    numbers = torch.from_numpy(_numbers(spec, members)).to(buffers.out.device, non_blocking=True)
    for first, last in _spans(start, stop):
        first_block, last_block = (i // length * per_row + i % length // block for i in (first, last - 1))
        kernel(spec)[(last_block - first_block + 1,)](
            *_sources(spec, plan, buffers), numbers, len(members), plan.n_rows, first_block, per_row, length,
            first, last, first // SPAN, BLOCK=block, ALIGNED=_aligned(members),
            num_warps=warps, num_stages=1, enable_fp_fusion=False,
        )  # fmt: skip


def block_and_warps(n_models: int, row_length: int) -> tuple[int, int]:
    """Elements and warps per program.

    Eight elements per thread make 16-byte loads of 16-bit numbers. All values of all models are in registers, so with
    many models it is fewer, which leaves room for more threads (TIES takes 60 to 100 registers, by ptxas for sm_90).
    """
    per_thread = 8 if n_models <= 3 else 4 if n_models <= 8 else 2
    block = THREADS * per_thread if row_length >= SHORT_ROW else SHORT_BLOCK
    return block, block // (32 * per_thread)


def _spans(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Cut where indices pass a multiple of 2^32."""
    for low in range(start - start % SPAN, stop, SPAN):
        yield max(start, low), min(stop, low + SPAN)


def _aligned(members: list[Member]) -> bool:
    """Whether 16-byte stores are possible; Triton itself looks only at the arguments."""
    return all(buffers.out.data_ptr() % 16 == 0 for _, buffers in members)


def _sources(spec: KernelSpec, plan: TensorPlan, buffers: Buffers) -> list[torch.Tensor]:
    """What is read, as types that hold the bits."""
    arrays = [buffers.base] if spec.dtypes[1] and buffers.base is not None else []
    arrays += buffers.models
    if isinstance(plan.keep, KeepRanked):
        arrays += plan.keep.ranks
    elif isinstance(plan.keep, KeepMask):
        arrays += plan.keep.mask
    return [array.view(BITS.get(array.dtype, array.dtype)) for array in arrays]


def _numbers(spec: KernelSpec, members: list[Member]) -> np.ndarray:
    """Addresses of the results, int64 (B,), then a table, uint32 (B, R, 1 + F + U): key, floats, whole numbers."""
    tables = []
    for plan, buffers in members:
        floats, whole = scalars(plan, spec, buffers.names)
        seed = plan.keep.seed if isinstance(plan.keep, KeepRandom | KeepRanked) else TIES[1]
        keys = np.full((plan.n_rows, 1), tensor_key(buffers.tensor, seed), np.uint32)
        tables.append(np.concatenate([keys, floats.view(np.uint32), whole], axis=1).ravel())
    table, n = np.concatenate(tables), len(members)
    numbers = np.zeros(n + (table.size + 1) // 2, np.int64)
    numbers[:n] = [buffers.out.data_ptr() for _, buffers in members]
    numbers[n:].view(np.uint32)[: table.size] = table
    return numbers


@lru_cache(maxsize=1024)
def kernel(spec: KernelSpec) -> Any:  # noqa: ANN401
    """The Triton kernel, compiled on its first call."""
    text = module_text(spec)
    name = f"triton_{hashlib.sha256(text.encode()).hexdigest()[:24]}"
    try:
        path = cache_folder("kernels") / f"{name}.py"
        if not path.is_file() or path.read_text() != text:
            write_text_atomically(path, text)
    except OSError:  # a read-only home; Triton reads the source from a file
        path = Path(tempfile.mkdtemp(prefix="searcher_")) / f"{name}.py"
        path.write_text(text)
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module.kernel


def module_text(spec: KernelSpec) -> str:
    """Source of a Python module with one Triton kernel ``kernel``."""
    text = KernelText(spec)
    loads, body = _loads_apart(text.body)
    n_floats = sum("floats[" in line for line in text.prelude)
    width = 1 + len(text.prelude)
    sources = text.arrays[1:]
    dtype = {"bfloat16": "uint16"}.get(spec.dtypes[0], spec.dtypes[0])
    lines = [
        '"""Generated by searcher.merge.kernels.gpu."""',
        "import triton",
        "import triton.language as tl",
        "from searcher.merge.kernels.gpu_functions import *",
        "",
        '@triton.jit(do_not_specialize=["n_candidates", "n_rows", "first_block", "high"])',
        f"def kernel({', '.join(f'{name}_' for name in sources)}, {ARGUMENTS}):",
        "    block = first_block + tl.program_id(0).to(tl.int64)",
        "    row = block // per_row",
        "    column = block % per_row * BLOCK",
        "    first = row * row_length + column",
        "    i = tl.arange(0, BLOCK)",
        "    i_start = tl.maximum(start - first, 0).to(tl.int32)",
        "    i_stop = tl.minimum(tl.minimum(row_length - column, stop - first), BLOCK).to(tl.int32)",
        "    inside = (i >= i_start) & (i < i_stop)",
        *(f"    {name} = {name}_ + first" for name in sources),
        *(f"    {line}" for line in loads),
        "    table = (numbers + n_candidates).to(tl.pointer_type(tl.uint32))",
        "    for candidate in range(n_candidates):",
        f"        out = tl.load(numbers + candidate).to(tl.pointer_type(tl.{dtype}))",
        "        if ALIGNED:",
        "            out = tl.multiple_of(out, 16)",
        f"        scalars = table + (candidate * n_rows + row) * {width}",
        "        key = key_of_row(tl.load(scalars) + high.to(tl.uint32) * HIGH, first)",
        *(f"        {_scalar(line, n_floats)}" for line in text.prelude),
        *(f"        {line}" for line in body),
        f"        store_{spec.dtypes[0]}(out + first, i, value, inside)",
    ]
    return "\n".join(lines) + "\n"


def _loads_apart(body: list[str]) -> tuple[list[str], list[str]]:
    """Statements that load each array once, and the body without loads; and with division that Triton rounds."""
    loads: list[str] = []

    def loaded(match: re.Match[str]) -> str:
        loads.append(f"{match[2]}_value = load_{match[1]}({match[2]}, i, inside)")
        return f"{match[2]}_value"

    without = [re.sub(r"load_(\w+)\((\w+), i\)", loaded, line) for line in body]
    return loads, [re.sub(r"(\w+) / (\w+)", r"divide(\1, \2)", line) for line in without]


def _scalar(line: str, n_floats: int) -> str:
    """A statement of the prelude, reading from the row of the table."""
    line = re.sub(r"floats\[row, (\d+)\]", lambda m: f"scalar_float(scalars, {1 + int(m[1])})", line)
    return re.sub(r"whole\[row, (\d+)\]", lambda m: f"scalar_whole(scalars, {1 + n_floats + int(m[1])})", line)
