"""Speed of building merge candidates, as a fraction of what the memory bandwidth allows.

python benchmarks/merge_speed.py --json benchmarks/results/merge_speed.json [--mergekit PYTHON]

The pool is a base and four models in the shape of a 135M-parameter Llama, bfloat16, synthetic weights, written to a
temporary folder. The floor of a candidate is the time to read five models and to write one at the bandwidth
of a plain copy. Copy and builds alternate, and each ratio is between neighbours in time: these machines are noisy.
With ``--mergekit`` (an interpreter that has mergekit 0.1.5) its command line merges the same pool.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from llama_pool import SHAPES_135M, SHAPES_TINY, make_pool
from report import parser, write_result

from searcher.merge.engine import MergeEngine
from searcher.pool.pool import Pool, open_pool
from searcher.recipe import Recipe

GOALS = {"linear": 0.7, "task_arithmetic": 0.7, "slerp": 0.7, "ties": 0.5, "dare_ties": 0.5}
CASES: dict[str, tuple[int, dict[str, Any]]] = {  # operator: models, settings
    "linear": (4, {}),
    "task_arithmetic": (4, {}),
    "slerp": (2, {"threshold": 1.0}),
    "karcher": (4, {}),
    "model_stock": (4, {}),
    "ties": (4, {"density": 0.3}),
    "dare_linear": (4, {"density": 0.5}),
    "dare_ties": (4, {"density": 0.5}),
    "breadcrumbs_ties": (4, {"density": 0.8, "gamma": 0.01}),
    "sce": (4, {"select_topk": 0.3}),
    "ram": (4, {}),
}


def main() -> None:
    """Measure, print a table, write the figures."""
    options = parser(__doc__ or "")
    options.add_argument("--mergekit", type=Path, metavar="PYTHON", help="interpreter of an environment with mergekit")
    options.add_argument("--pool", type=Path, help="folder for the synthetic pool; kept if given")
    options.add_argument("--device", default="auto")
    arguments = options.parse_args()
    shape, rounds = (SHAPES_TINY, 3) if arguments.quick else (SHAPES_135M, 9)
    with tempfile.TemporaryDirectory() as temporary:
        base, models = make_pool(arguments.pool or Path(temporary), 4, shape)
        bench = Bench(open_pool(base=str(base), models=[str(m) for m in models], root=Path()), arguments.device)
        figures: dict[str, Any] = {"parameters": bench.n, "device": bench.engine.device, "rounds": rounds}
        figures["operators"] = {name: bench.operator(name, rounds) for name in CASES}
        figures["many"] = bench.many(8, rounds)
        figures["incremental"] = bench.incremental(rounds)
        figures["copy_GB_per_s"] = round(bench.copied_bytes / statistics.median(bench.copies) / 1e9, 1)
        if arguments.mergekit:
            figures["mergekit"] = mergekit(arguments.mergekit, base, models, figures["operators"])
    show(figures)
    write_result(arguments.json, figures, ["torch", "numpy", "numba"])


class Bench:
    """An engine and the floor of its machine."""

    def __init__(self, pool: Pool, device: str) -> None:
        started = time.perf_counter()
        self.engine = MergeEngine(pool, device=device)
        self.pool = pool
        self.n = pool.layout.n_parameters
        self.copies: list[float] = []
        self._generator = np.random.default_rng(0)
        self._from = torch.zeros(self.n, dtype=self.engine.dtype, device=self.engine.device)
        self._to = torch.zeros_like(self._from)
        self.copied_bytes = 2 * self._from.nbytes
        self.build(self.recipe("task_arithmetic"))
        self.loading = time.perf_counter() - started

    def recipe(self, operator: str, scale: float = 1.0) -> Recipe:
        """New coefficients in every call, so that nothing can be left as it is."""
        n_models, settings = CASES[operator]
        models = tuple(m.name for m in self.pool.models[:n_models])
        base = None if operator in ("linear", "slerp", "karcher") or self.pool.base is None else self.pool.base.name
        coefficients = self._generator.uniform(0.2, 0.6, (1, n_models)) * scale
        return Recipe(operator, models, base, np.array([0, self.n]), coefficients, settings)

    def operator(self, name: str, rounds: int) -> dict[str, float]:
        """Seconds of the first build (side tables, compilation), of the next, and the ratio to the floor."""
        tables = timed(lambda: self.build(self.recipe(name)))
        times, ratios = [], []
        n_models = CASES[name][0]
        reads = n_models + (0 if name in ("linear", "slerp", "karcher") else 1)
        for _ in range(rounds):
            copy = self.copy()
            seconds = timed(lambda: self.build(self.recipe(name)))
            times.append(seconds)
            ratios.append(copy / 2 * (reads + 1) / seconds)
        return {
            "first_s": round(tables, 3),
            "build_s": round(statistics.median(times), 4),
            "of_floor": round(statistics.median(ratios), 3),
            "of_floor_best": round(max(ratios), 3),
        }

    def many(self, n: int, rounds: int) -> dict[str, float]:
        """Candidates per second of ``build_many`` over those of single builds."""
        ratios = []
        self.engine.build_many([self.recipe("task_arithmetic") for _ in range(n)])
        for _ in range(rounds):
            single = timed(lambda: [self.build(self.recipe("task_arithmetic")) for _ in range(n)])
            together = timed(lambda: self.engine.build_many([self.recipe("task_arithmetic") for _ in range(n)]))
            ratios.append(single / together)
        return {"candidates": n, "times_faster": round(statistics.median(ratios), 2)}

    def incremental(self, rounds: int) -> dict[str, float]:
        """A build that changes one thirtieth of the line, against a whole one."""
        recipe = self.recipe("ties")
        borders = np.linspace(0, self.n, 31).astype(np.int64)
        rows = np.repeat(recipe.coefficients, 30, axis=0)
        times = []
        for _ in range(rounds + 2):
            rows[self._generator.integers(30)] = self._generator.uniform(0.2, 0.6, 4)
            changed = Recipe("ties", recipe.models, recipe.base, borders, rows, recipe.settings)
            times.append(timed(lambda changed=changed: self.build(changed)))
        return {"segments": 30, "build_s": round(statistics.median(times[2:]), 4)}

    def build(self, recipe: Recipe) -> None:
        """Build and wait."""
        self.engine.build(recipe)
        if self.engine.device != "cpu":
            torch.cuda.synchronize()

    def copy(self) -> float:
        """Seconds of a copy of one model; the better of two."""
        seconds = min(timed(self._copy) for _ in range(2))
        self.copies.append(seconds)
        return seconds

    def _copy(self) -> None:
        self._to.copy_(self._from)
        if self.engine.device != "cpu":
            torch.cuda.synchronize()


def mergekit(python: Path, base: Path, models: list[Path], ours: dict[str, Any]) -> dict[str, Any]:
    """Wall time of mergekit's and of our command line on the same configuration."""
    found: dict[str, Any] = {}
    for method, parameters in (("task_arithmetic", {}), ("ties", {"density": 0.3})):
        config = {
            "merge_method": method, "base_model": str(base), "dtype": "float32", "out_dtype": "bfloat16",
            "models": [{"model": str(m), "parameters": {"weight": 0.3, **parameters}} for m in models],
        }  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "config.yml"
            path.write_text(json.dumps(config))
            theirs = [str(python.with_name("mergekit-yaml")), str(path), f"{folder}/theirs", "--quiet"]
            mine = ["searcher", "merge", str(path), "--to", f"{folder}/ours"]
            seconds = {"mergekit-yaml_s": process(theirs), "searcher_merge_s": process(mine)}
        found[method] = {**seconds, "times_faster": round(seconds["mergekit-yaml_s"] / seconds["searcher_merge_s"], 1)}
        found[method]["build_times_faster"] = round(seconds["mergekit-yaml_s"] / ours[method]["build_s"], 0)
    return found


def process(command: list[str]) -> float:
    """Wall seconds of a command."""
    return round(timed(lambda: subprocess.run(command, check=True, capture_output=True)), 2)


def timed(action: Callable[[], object]) -> float:
    """Wall seconds of a call."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def show(figures: dict[str, Any]) -> None:
    """A short table."""
    print(f"{figures['parameters'] / 1e6:.1f}M parameters on {figures['device']}, copy {figures['copy_GB_per_s']} GB/s")
    print(f"{'operator':18}{'first s':>9}{'build s':>9}{'of floor':>10}{'goal':>7}")
    for name, row in figures["operators"].items():
        goal = f"{GOALS[name]:.0%}" if name in GOALS else ""
        print(f"{name:18}{row['first_s']:9.2f}{row['build_s']:9.4f}{row['of_floor']:10.0%}{goal:>7}")
    print(
        f"build_many of {figures['many']['candidates']}: {figures['many']['times_faster']} times the candidates per second"
    )
    print(f"one segment of {figures['incremental']['segments']} changed: {figures['incremental']['build_s']} s")
    for method, row in figures.get("mergekit", {}).items():
        print(f"{method}: mergekit-yaml {row['mergekit-yaml_s']} s, searcher merge {row['searcher_merge_s']} s")


if __name__ == "__main__":
    main()
