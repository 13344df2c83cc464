"""Time to merge one tensor on the CPU with plain torch, `torch.compile` and numba.

python benchmarks/cpu_kernels.py --json benchmarks/results/cpu_kernels.json

A base and four models of 2^24 bfloat16 weights; task arithmetic and TIES; one thread and all. Every case is a process of
its own with empty caches, so that its first call compiles; `numba` is run a second time, which finds its code on disk.
Calls alternate with plain copies of one model, whose bandwidth gives the floor: five tensors read and one written. `loop`
is what numba makes of one loop for any number of models; `torch.compile` (only where there is a C++ compiler) has the
coefficients as a tensor and no ties by hash. `differing` is the share of results whose bits are not the reference's.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch
from kernel_cases import LOWS, PLAIN, PLANS, SCALES, K, any_number, make_buffers
from report import parser, write_result

from searcher.merge.kernels import cpu, reference
from searcher.merge.kernels.buffers import Buffers
from searcher.merge.plan import TensorPlan

STRETCH, CHECKED = 1 << 20, 1 << 18  # elements that a thread merges in one go; elements compared


def main() -> None:
    """Measure, print a table, write the figures."""
    options = parser(__doc__ or "")
    options.add_argument("--case", help="for the processes that are measured")
    arguments = options.parse_args()
    if arguments.case:
        print(json.dumps(measured(**json.loads(arguments.case))))
        return
    n, rounds = (1 << 20, 3) if arguments.quick else (1 << 24, 9)
    compilers = [shutil.which(name) for name in (os.environ.get("CXX", ""), "c++", "g++", "clang++")]
    backends = ["reference", *(["torch_compile"] if any(compilers) else []), "loop", "numba"]
    cases = []
    for backend, threads in product(backends, sorted({1, os.cpu_count() or 1})):
        with tempfile.TemporaryDirectory() as cache:
            cases.append(run(cache, backend, threads, n, rounds))
            if backend == "numba":
                again = run(cache, backend, threads, n, 1)
                for name in PLANS:
                    cases[-1][name]["from_disk_s"] = again[name]["first_s"]
        show(cases[-1])
    figures = {"models": K, "elements": n, "rounds": rounds, "cases": cases}
    write_result(arguments.json, figures, ["torch", "numpy", "numba"])


def run(cache: str, backend: str, threads: int, n: int, rounds: int) -> dict[str, Any]:
    """Measure a case in a process of its own."""
    case = json.dumps({"backend": backend, "threads": threads, "n": n, "rounds": rounds})
    own = {"SEARCHER_CACHE": cache, "TORCHINDUCTOR_CACHE_DIR": cache, "OMP_NUM_THREADS": str(threads)}
    command, environment = [sys.executable, __file__, "--case", case], {**os.environ, **own}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measured(backend: str, threads: int, n: int, rounds: int) -> dict[str, Any]:
    """Seconds of the first call, milliseconds of the next and their share of the floor's speed, by plan."""
    torch.set_num_threads(threads)
    buffers, found, copies = make_buffers(n), {}, list[float]()
    copy = in_stretches(partial(copy_stretch, buffers.out, buffers.models[0]), n, threads)
    for name in PLANS if backend != "loop" else ["task_arithmetic"]:
        started = time.perf_counter()
        call = caller(backend, name, buffers, threads)
        call()
        first, times, shares = time.perf_counter() - started, [], []
        difference = differing(PLANS[name], buffers)
        for _ in range(rounds):
            copies.append(timed(copy))
            times.append(timed(call))
            shares.append(copies[-1] / 2 * (K + 2) / times[-1])
        found[name] = {
            "first_s": round(first, 3), "best_ms": round(1000 * min(times), 2), "differing": difference,
            "median_ms": round(1000 * statistics.median(times), 2), "of_floor": round(statistics.median(shares), 3),
        }  # fmt: skip
    bandwidth = round(2 * buffers.out.nbytes / min(copies) / 1e9, 1)
    return {"backend": backend, "threads": threads, "copy_GB_per_s": bandwidth, **found}


def caller(backend: str, name: str, buffers: Buffers, threads: int) -> Callable[[], object]:
    """A call that merges all elements into ``buffers.out``."""
    plan, n = PLANS[name], buffers.out.numel()
    if backend == "reference":
        return lambda: reference.execute(plan, buffers, 0, n)
    if backend == "torch_compile":
        scales, lows = torch.from_numpy(SCALES).float(), torch.from_numpy(LOWS[0])
        compiled = torch.compile(PLAIN[name])
        return lambda: compiled(buffers.out, buffers.base, buffers.models, scales, lows)
    merge = any_number(buffers) if backend == "loop" else partial(cpu.execute, plan, buffers)
    return in_stretches(merge, n, threads)


def in_stretches(merge: Callable[[int, int], object], n: int, threads: int) -> Callable[[], object]:
    """A call that lets threads share ``n`` elements."""
    starts, pool = range(0, n, STRETCH), ThreadPoolExecutor(threads)
    return lambda: list(pool.map(lambda start: merge(start, min(n, start + STRETCH)), starts))


def copy_stretch(out: torch.Tensor, source: torch.Tensor, start: int, stop: int) -> None:
    """Copy in this thread, without those of torch."""
    np.copyto(out.view(torch.int16).numpy()[start:stop], source.view(torch.int16).numpy()[start:stop])


def differing(plan: TensorPlan, buffers: Buffers) -> float:
    """Share of the first results that are not the reference's."""
    expected, n = torch.empty_like(buffers.out), min(CHECKED, buffers.out.numel())
    reference.execute(plan, replace(buffers, out=expected), 0, n)
    return (buffers.out[:n].view(torch.int16) != expected[:n].view(torch.int16)).float().mean().item()


def timed(action: Callable[[], object]) -> float:
    """Wall seconds of a call."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def show(case: dict[str, Any]) -> None:
    """One line per plan."""
    for name in (name for name in PLANS if name in case):
        figures = ", ".join(f"{key} {value:g}" for key, value in case[name].items())
        print(
            f"{case['backend']:14}{case['threads']:3} {name:16}{figures}, copy {case['copy_GB_per_s']} GB/s", flush=True
        )


if __name__ == "__main__":
    main()
