"""Peak memory of merging a pool that stays in its files.

python benchmarks/stream_memory.py --json benchmarks/results/stream_memory.json

A base with 4 and with 8 models in the shape of a 135M-parameter Llama, bfloat16, synthetic weights, in a temporary
folder (2.4 GB). Every case is a process of its own: it imports what it needs, opens the pool, which reads every weight,
and then either goes through `MergeEngine.stream` or builds the live model with `memory="stream"`, twice. Linux counts
the peak of the resident set (VmHWM, file mappings included) and lets it be reset between these steps. Goals: with 4
models a peak below 1.5 GiB, of which importing torch and transformers is a part that is told apart, and at most one
more tensor (the embedding, 54 MiB) for each further model. DELLA, which ranks all elements (2 bytes each), is
measured as well, but not held to this.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from llama_pool import SHAPES_135M, SHAPES_TINY, make_pool, tensor_shapes
from report import parser, write_result

GOAL_MIB = 1536
BOOKKEEPING_MIB = 1.0  # names, headers and hashes of a further model
CASES = [
    (what, operator, settings)
    for what in ("stream", "build")
    for operator, settings in (("task_arithmetic", {}), ("ties", {"density": 0.3}), ("della", {"density": 0.5}))
]


def main() -> None:
    """Measure, print a table, write the figures."""
    options = parser(__doc__ or "")
    options.add_argument("--pool", type=Path, help="folder for the synthetic pool; kept if given")
    options.add_argument("--case", help="for the processes that are measured")
    arguments = options.parse_args()
    if arguments.case:
        print(json.dumps(measured(**json.loads(arguments.case))))
        return
    shape, sizes = (SHAPES_TINY, (2, 4)) if arguments.quick else (SHAPES_135M, (4, 8))
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.pool or Path(temporary) / "pool"
        make_pool(folder, max(sizes), shape)
        rows = [row(folder, sizes, *case) for case in CASES]
    rows_by_size = tensor_shapes(shape).values()
    largest = max(2 * size[0] * size[-1] for size in rows_by_size if len(size) > 1)
    figures = {"parameters": sum(_size(size) for size in rows_by_size), "largest_tensor_mib": mib(largest)}
    plain = [row for row in rows if row["operator"] != "della"]
    goals = {
        "peak_below_1.5_gib": all(row["peak_mib"][str(min(sizes))] < GOAL_MIB for row in plain),
        "growth_at_most_one_tensor": all(row["growth_mib"] <= mib(largest) + BOOKKEEPING_MIB for row in plain),
    }
    write_result(arguments.json, {**figures, "cases": rows, "goals": goals}, ["torch", "transformers", "numba"])
    print(goals)


def row(folder: Path, sizes: tuple[int, int], what: str, operator: str, settings: dict[str, float]) -> dict[str, Any]:
    """One line of the table: a case with few and with many models."""
    found = {n: run(folder, n, what, operator, settings) for n in sizes}
    few, many = (found[n]["peak_mib"] for n in sizes)
    result: dict[str, Any] = {"what": what, "operator": operator, "settings": settings}
    for figure in found[sizes[0]]:
        result[figure] = {str(n): found[n][figure] for n in sizes}
    result["growth_mib"] = round((many - few) / (sizes[1] - sizes[0]), 1)
    print(f"{what:7} {operator:16} imports {found[sizes[0]]['imports_mib']:6.0f} MiB;", end=" ")
    print(
        " ".join(f"{n} models: open {r['open_mib']:.0f}, peak {r['peak_mib']:.0f} MiB" for n, r in found.items()),
        end="; ",
    )
    print(f"each further model {result['growth_mib']:+.1f} MiB", flush=True)
    return result


def run(folder: Path, n_models: int, what: str, operator: str, settings: dict[str, float]) -> dict[str, float]:
    """Measure a case in a process of its own, with an empty cache."""
    case = {"folder": str(folder), "n_models": n_models, "what": what, "operator": operator, "settings": settings}
    with tempfile.TemporaryDirectory() as cache:
        done = subprocess.run(
            [sys.executable, __file__, "--case", json.dumps(case)],
            env={**os.environ, "SEARCHER_CACHE": cache}, check=True, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measured(folder: str, n_models: int, what: str, operator: str, settings: dict[str, float]) -> dict[str, float]:
    """Peaks of the steps of one case, in MiB, and its time in seconds."""
    import numpy as np
    import transformers

    from searcher.merge.engine import MergeEngine
    from searcher.pool.pool import open_pool
    from searcher.recipe import Recipe

    _ = transformers.LlamaForCausalLM  # imported when first named
    imports = peak_mib()
    models = [str(Path(folder) / f"model{k}") for k in range(n_models)]
    pool = open_pool(base=str(Path(folder) / "base"), models=models, root=Path())
    opened = peak_mib()
    names, whole = tuple(model.name for model in pool.models), np.array([0, pool.layout.n_parameters])
    engine = MergeEngine(pool, device="cpu", memory="stream" if what == "build" else "auto")
    seconds = []
    for weight in (0.3, 0.4):  # the second one finds side tables and compiled kernels
        recipe = Recipe(operator, names, pool.reference.name, whole, np.full((1, n_models), weight), settings)
        started = time.perf_counter()
        if what == "build":
            engine.build(recipe)
        else:
            for _name, tensor in engine.stream(recipe):
                tensor.sum()
        seconds.append(round(time.perf_counter() - started, 2))
    return {
        "imports_mib": imports, "open_mib": opened, "peak_mib": peak_mib(), "first_s": seconds[0], "second_s": seconds[1],
    }  # fmt: skip


def peak_mib() -> float:
    """Peak of the resident set since the last call, in MiB."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    return round(int(status["VmHWM"].split()[0]) / 1024, 1)


def mib(n_bytes: int) -> float:
    """Bytes as MiB."""
    return round(n_bytes / (1 << 20), 1)


def _size(shape: tuple[int, ...]) -> int:
    return shape[0] * (shape[1] if len(shape) > 1 else 1)


if __name__ == "__main__":
    main()
