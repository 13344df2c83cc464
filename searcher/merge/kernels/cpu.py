"""Compiled kernels for the CPU: generated text, compiled by numba, kept on disk.

numba was chosen over torch.compile and a C++ extension: it needs no compiler on the user's machine, its loops reach
the memory bandwidth once the number of models is a constant of the code, and LLVM does not fuse products and
sums unless told to, so that results equal the torch reference bit for bit (``docs/design/cpu_kernels.md``).
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import accumulate, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from searcher.atomic import write_text_atomically
from searcher.cache_folder import cache_folder
from searcher.merge.counter_hash import TIES, tensor_key
from searcher.merge.kernels import reference
from searcher.merge.kernels.source import KernelText
from searcher.merge.kernels.spec import KernelSpec, kernel_spec, scalars, stacked_scalars
from searcher.merge.plan import KeepMask, KeepRandom, KeepRanked, TensorPlan

if TYPE_CHECKING:
    from searcher.merge.kernels.buffers import Buffers

MEMORY_CHECKS = 128  # pairs of pointers that LLVM may compare before a vectorised loop; its default is 8

ITEM_SIZES = {"bfloat16": 2, "float16": 2, "float32": 4}

Kernel = Callable[..., None]


class CompiledBatch:
    """Plans with their kernels and numbers, ready to run over stretches of their tensors.

    Plans with the same code share one table of numbers, so that one call of the kernel works on many tensors: a call
    needs Python's lock at its ends, and waits for it.

    Args:
        members: Plans and what they read and write; on the CPU, contiguous.
    """

    def __init__(self, members: Sequence[tuple[TensorPlan, Buffers]]) -> None:
        self._members = members  # kernels have addresses only: this keeps the memory
        self._groups: list[_Group | None] = [None] * len(members)
        self._places = [0] * len(members)
        found: dict[tuple[KernelSpec, bool], list[int]] = {}
        for m, (plan, buffers) in enumerate(members):
            if plan.used:
                found.setdefault((kernel_spec(plan, buffers), plan.n_rows == 1), []).append(m)
        for (spec, _), numbers in found.items():
            group = _Group(spec, [members[m] for m in numbers])
            for place, m in enumerate(numbers):
                self._groups[m], self._places[m] = group, place

    def run(self, jobs: Iterable[tuple[int, int, int]]) -> None:
        """Merge stretches in order; releases the GIL.

        Args:
            jobs: Number of a member, first element and last element + 1, which lie within one multiple of 2^32.
        """
        for group, together in groupby(jobs, key=lambda job: self._groups[job[0]]):
            if group is not None:
                group.run([(self._places[m], start, stop) for m, start, stop in together])
                continue
            for m, start, stop in together:
                reference.execute(*self._members[m], start, stop)


class _Group:
    """Members with the same code; all have one row, or any number."""

    def __init__(self, spec: KernelSpec, members: Sequence[tuple[TensorPlan, Buffers]]) -> None:
        self._kernel = kernel(spec)
        plans, names = [plan for plan, _ in members], [buffers.names for _, buffers in members]
        n_rows = [plan.n_rows for plan in plans]
        if max(n_rows) == 1:
            self._floats, self._whole = stacked_scalars(plans, spec, names)
        else:
            tables = [scalars(plan, spec, n) for plan, n in zip(plans, names, strict=True)]
            self._floats, self._whole = (np.concatenate(parts) for parts in zip(*tables, strict=True))
        first_rows = accumulate(n_rows[:-1], initial=0)
        self._table = np.array([
            (_key(spec, *member), member[1].row_length, row, *_addresses(spec, *member))
            for member, row in zip(members, first_rows, strict=True)
        ])  # fmt: skip

    def run(self, jobs: list[tuple[int, int, int]]) -> None:
        self._kernel(self._table, np.array(jobs), self._floats, self._whole)


def _key(spec: KernelSpec, plan: TensorPlan, buffers: Buffers) -> int:
    """Of the tensor, under the plan's seed."""
    if not spec.hashes:
        return 0
    return tensor_key(buffers.tensor, plan.keep.seed if isinstance(plan.keep, KeepRandom | KeepRanked) else TIES[1])


def _addresses(spec: KernelSpec, plan: TensorPlan, buffers: Buffers) -> tuple[int, ...]:
    """Of the arrays, in the order of ``KernelText``."""
    out, base, *models = buffers.addresses
    found = (out, *((base,) if spec.dtypes[1] else ()), *models)
    if isinstance(plan.keep, KeepRanked):
        return (*found, *(rank.data_ptr() for rank in plan.keep.ranks))
    return (*found, *(row.data_ptr() for row in plan.keep.mask)) if isinstance(plan.keep, KeepMask) else found


@lru_cache(maxsize=1024)
def kernel(spec: KernelSpec) -> Kernel:
    """The compiled kernel; compiling takes a second or two, loading it from the cache folder milliseconds."""
    _set_vectorizer()
    text = module_text(spec)
    module = _module(text)
    found: Kernel = module.kernel
    return found


def module_text(spec: KernelSpec) -> str:
    """Source of a Python module with one function ``kernel``."""
    text = KernelText(spec)
    lines = [
        '"""Generated by searcher.merge.kernels.cpu."""',
        "from numba import njit",
        "from searcher.merge.kernels.cpu_functions import *",
        "from searcher.merge.kernels.cpu_memory import *",
        "",
        "@njit(nogil=True, error_model='numpy', cache=True)",
        "def kernel(members, jobs, floats, whole):",
        "    for job in range(len(jobs)):",
        "        member, start, stop = jobs[job, 0], jobs[job, 1], jobs[job, 2]",
        "        key_of_tensor = key_of_member(members[member, 0], start)",
        "        row_length, first_row = members[member, 1], members[member, 2]",
        "        for row_of_tensor in range(start // row_length, (stop - 1) // row_length + 1):",
        "            row = first_row + row_of_tensor",
        "            first = max(start, row_of_tensor * row_length)",
        "            n = min(stop, (row_of_tensor + 1) * row_length) - first",
        *(
            f"            {name} = members[member, {3 + j}] + first * {size}"
            for j, (name, size) in enumerate(zip(text.arrays, _sizes(spec, text.arrays), strict=True))
        ),
        "            key_of_first = key_of_row(key_of_tensor, first)",
        *(f"            {line}" for line in text.prelude),
        *(f"            {line}" for line in (_pair_loop(spec) if spec.pairs else _loop(spec))),
    ]
    return "\n".join(lines) + "\n"


def _sizes(spec: KernelSpec, arrays: list[str]) -> list[int]:
    """Bytes per element of each array."""
    stored = [ITEM_SIZES[d] for d in spec.dtypes if d]
    return stored + [{"rank": 2, "mask": 1}[name.rstrip("0123456789")] for name in arrays[len(stored) :]]


def _loop(spec: KernelSpec) -> list[str]:
    """One element after the other."""
    return ["key = key_of_first", "for i in range(n):", *(f"    {line}" for line in _one(spec))]


def _one(spec: KernelSpec) -> list[str]:
    return [*KernelText(spec).body, f"store_{spec.dtypes[0]}(out, i, value)"]


def _pair_loop(spec: KernelSpec) -> list[str]:
    """Two elements at a time, and a last one where their number is odd."""
    low, high = KernelText(spec, "low"), KernelText(spec, "high")
    pair = [
        *low.words,
        "key = key_of_first",
        *low.body,
        "low = value",
        "key = key_of_second",
        *high.body,
        f"store_pair_{spec.dtypes[0]}(out, i, low, value)",
    ]
    last = ["i = n - 1", "key = key_of_first", *_one(spec)]
    return [
        "key_of_second = next_key(key_of_first)",
        "for i in range(n // 2):",
        *(f"    {line}" for line in pair),
        "if n % 2:",
        *(f"    {line}" for line in last),
    ]


def _module(text: str) -> Any:  # noqa: ANN401
    """The text as a module, in a file where possible, beside which numba stores machine code."""
    import numba

    from searcher.merge.kernels import cpu_functions, cpu_memory

    parts = text + inspect.getsource(cpu_functions) + inspect.getsource(cpu_memory) + numba.__version__
    name = f"kernel_{hashlib.sha256(parts.encode()).hexdigest()[:24]}"
    try:
        folder = cache_folder("kernels")
        path = folder / f"{name}.py"
        if not path.is_file() or path.read_text() != text:
            write_text_atomically(path, text)
        return _imported(name, path)
    except OSError:  # a read-only home: compile for this process alone
        namespace: dict[str, Any] = {"__name__": name}
        exec(text.replace(", cache=True", ""), namespace)  # noqa: S102 - our own text
        return type(name, (), {"kernel": staticmethod(namespace["kernel"])})


def _imported(name: str, path: Path) -> Any:  # noqa: ANN401
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # numba looks the module up by name when it loads machine code
    spec.loader.exec_module(module)
    return module


@lru_cache(maxsize=1)
def _set_vectorizer() -> None:
    """Options of LLVM for this process, given once (LLVM refuses them a second time).

    One vector of 8 numbers at a time: LLVM's own choice where 16-bit numbers are loaded is wider or doubled, which
    needs more registers than there are (``docs/design/cpu_kernels.md`` has the figures).
    """
    from llvmlite import binding

    width = 16 if binding.get_host_cpu_features().get("avx512f") else 8
    binding.set_option("searcher", f"-runtime-memory-check-threshold={MEMORY_CHECKS}")
    binding.set_option("searcher", "-force-vector-interleave=1")
    binding.set_option("searcher", f"-force-vector-width={width}")


def execute(plan: TensorPlan, buffers: Buffers, start: int, stop: int) -> None:
    """As ``reference.execute``, compiled."""
    if stop > start:
        CompiledBatch([(plan, buffers)]).run([(0, start, stop)])
