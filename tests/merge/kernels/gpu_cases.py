"""Triton kernels against the reference; prints a JSON object, name of the check to what is wrong ("" if nothing).

Run as ``TRITON_INTERPRET=1 python -m tests.merge.kernels.gpu_cases cpu``: Triton decides on its import whether it
interprets, so ``test_gpu`` does it in a process of its own. With ``cuda`` instead of ``cpu``, and the variable unset,
it checks a GPU.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
import torch

from searcher.merge.kernels import gpu, reference
from searcher.merge.kernels.buffers import Buffers
from searcher.merge.kernels.spec import kernel_spec
from searcher.merge.plan import KeepMask, KeepRandom, KeepRanked, TensorPlan
from tests.merge.kernels.cases import AVERAGES, KEEPS, SOURCES, STORED, Case, assert_same_bits, merged

OUTS = ("bfloat16", "float16", "float32")
LENGTHS = (96, 300, 4100, 96, 300, 520)  # of a row: one block, several, several long ones
CASES = [
    Case(keep, AVERAGES[j % 10], 1 + j % 4, SOURCES[j % 4], OUTS[j % 3], STORED[j % 5], (1, 3)[j % 2], LENGTHS[j % 6],
         (1.0, None, 0.5)[j % 3], (1.0, 0.75)[j % 2], (1.0, -1.0)[j // 2 % 2], seed=j)
    for j, keep in enumerate(KEEPS)
]  # fmt: skip
MANY = [
    Case("band_tie", AVERAGES[1], n_models=3, row_length=300),
    Case("random", n_models=2, sources="float32", out="float32", n_rows=3),
    Case("ranked_rescaled", AVERAGES[9], sources="mixed", out="float16"),
    Case("mask", AVERAGES[8], stored=STORED[1]),
]
TYPES = {torch.uint16: "*u16", torch.float16: "*fp16", torch.float32: "*fp32", torch.uint8: "*u8"}


def on(device: str, plan: TensorPlan, buffers: Buffers) -> tuple[TensorPlan, Buffers]:
    """Both with their arrays on a device."""
    if isinstance(plan.keep, KeepRanked):
        plan = replace(plan, keep=replace(plan.keep, ranks=tuple(r.to(device) for r in plan.keep.ranks)))
    elif isinstance(plan.keep, KeepMask):
        plan = replace(plan, keep=KeepMask(plan.keep.mask.to(device)))
    models = tuple(m.to(device) for m in buffers.models)
    base = None if buffers.base is None else buffers.base.to(device)
    return plan, replace(buffers, base=base, models=models, out=buffers.out.to(device))


def single(case: Case, device: str) -> None:
    """Whole, and a stretch that starts and ends within blocks."""
    plan, buffers = case.build()
    moved = on(device, plan, buffers)
    for start, stop in ((0, case.size), (case.size // 3, case.size - 7)):
        found = merged(gpu.execute, *moved, start, stop).cpu()
        assert_same_bits(found, merged(reference.execute, plan, buffers, start, stop))


def several(case: Case, device: str) -> None:
    """Candidates that differ in numbers, one that needs other code and one without models."""
    plan, buffers = case.build()
    plans = [
        plan,
        replace(plan, scales=plan.scales * 0.7),
        replace(plan, weights=plan.weights[::-1].copy()),
    ]
    if isinstance(plan.keep, KeepRandom | KeepRanked):
        plans.append(replace(plan, keep=replace(plan.keep, seed=99)))
    if isinstance(plan.keep, KeepMask):
        plans.append(replace(plan, keep=KeepMask(~plan.keep.mask)))
    plans.append(replace(plan, factor=plan.factor * 0.9))
    plans.append(replace(plan, used=(), scales=plan.scales[:, :0]))
    lines = torch.full((len(plans), case.size + 3), 7.0, dtype=buffers.out.dtype, device=device)
    outs = [line[j % 2 : j % 2 + case.size] for j, line in enumerate(lines)]  # every second one is not aligned
    moved = [on(device, p, buffers) for p in plans]
    shared = moved[0][1]
    gpu.execute_many([p for p, _ in moved], [replace(shared, out=out) for out in outs], 9, case.size - 1)
    for one, out, line in zip(plans, outs, lines, strict=True):
        assert_same_bits(out.cpu(), merged(reference.execute, one, buffers, 9, case.size - 1))
        assert int(line.eq(7.0).sum()) >= 13


def rounding(device: str) -> None:
    """Numbers of 16 bits, and numbers between them; the interpreter is slow and does every seventh."""
    upper = np.arange(0, 1 << 16, 1 if device == "cuda" else 7).astype(np.uint32)
    lower = np.array([0, 1, 0x0FFF, 0x1000, 0x3000, 0x7FFF, 0x8000, 0x8001], np.uint32)[np.arange(len(upper)) % 8]
    values = torch.from_numpy((upper << np.uint32(16) | lower).view(np.float32)).to(device)
    patterns = torch.from_numpy(upper.astype(np.uint16).view(np.int16)).to(device)
    for dtype in (torch.bfloat16, torch.float16):
        for source, out in ((values, dtype), (patterns.view(dtype), torch.float32)):
            assert_same_bits(copied(source, out).cpu(), source.cpu().to(out))


def copied(values: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Through a kernel that does nothing else."""
    one = np.ones((1, 1))
    out = torch.empty_like(values, dtype=dtype)
    buffers = Buffers("t", out, None, (values,), (False,), ("a",), out.numel())
    gpu.execute(TensorPlan("weights", (0,), one, None, one[0]), buffers, 0, out.numel())
    return out


def checks(device: str) -> Iterator[tuple[str, Any]]:
    for case in CASES:
        yield case.name, lambda case=case: single(case, device)
    for case in MANY:
        yield f"many-{case.name}", lambda case=case: several(case, device)
    yield "rounding", lambda: rounding(device)


def instructions(case: Case, capability: int) -> dict[str, int]:
    """Counts of PTX instructions of the kernel."""
    triton, backend, front = (import_module(f"triton{part}") for part in ("", ".backends.compiler", ".compiler"))
    plan, buffers = case.build()
    spec = kernel_spec(plan, buffers)
    kernel = gpu.kernel(spec)
    block, warps = gpu.block_and_warps(spec.n_models, 1 << 20)
    signature = dict.fromkeys(kernel.arg_names, "i32") | {
        "numbers": "*i64",
        "BLOCK": "constexpr",
        "ALIGNED": "constexpr",
    }
    signature |= {n: TYPES[a.dtype] for n, a in zip(kernel.arg_names, gpu._sources(spec, plan, buffers), strict=False)}
    by_16 = {"row_length", "start", "stop"} | {n for n, kind in signature.items() if "*" in kind}
    known = {(j,): [["tt.divisibility", 16]] for j, name in enumerate(kernel.arg_names) if name in by_16}
    source = front.ASTSource(kernel, signature, constexprs={"BLOCK": block, "ALIGNED": True}, attrs=known)
    options = {"num_warps": warps, "num_stages": 1, "enable_fp_fusion": False}
    compiled = triton.compile(source, target=backend.GPUTarget("cuda", capability, 32), options=options)
    return dict(Counter(re.findall(r"^\s+(?:@\S+ )?([a-z]\w*\.[\w.:]+)", compiled.asm["ptx"], re.MULTILINE)))


def main(device: str) -> None:
    found = {}
    for name, check in checks(device):
        try:
            check()
            found[name] = ""
        except Exception as error:  # noqa: BLE001 - reported by the test
            found[name] = repr(error)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
