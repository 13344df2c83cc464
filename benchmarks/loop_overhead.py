"""Cost of the loop without building and scoring: ask, decode, record durably, tell, update the front.

python benchmarks/loop_overhead.py --json benchmarks/results/loop_overhead.json

A sphere function stands in for the models. The goal is at most 5 ms per candidate at 10,000 recorded
candidates with `random`, durable storage included. The disk's own time for one synced write is measured in the
same run, because it is part of the figure and differs between machines.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from report import parser, write_result

from searcher.candidate import Candidate, Evaluation, Score, Split
from searcher.executor.serial import Serial
from searcher.history import ObjectiveInfo
from searcher.pool.layout import Layout, TensorEntry
from searcher.session import FrontWriter, RunLog
from searcher.spaces.base import SpaceContext
from searcher.spaces.layer_wise import LayerWise
from searcher.sqlite_storage import SqliteStorage
from searcher.strategies.base import Problem
from searcher.strategies.factory import make_strategy
from searcher.study import Budget, Study


class Sphere:
    """An evaluator that scores the coefficients themselves."""

    splits: tuple[Split, ...] = ("search",)

    def __init__(self, n_objectives: int) -> None:
        self._targets = np.linspace(0.25, 0.75, n_objectives)

    def evaluate(self, candidate: Candidate, split: Split = "search") -> Evaluation:
        """Squared distances to the targets."""
        rows = candidate.recipe.coefficients
        scores = {f"f{i}": Score(float(((rows - t) ** 2).sum())) for i, t in enumerate(self._targets)}
        return Evaluation(candidate.number, split, scores)


def run(n: int, n_objectives: int, folder: Path) -> dict[str, float]:
    """Milliseconds per candidate, overall and over the last tenth."""
    tensors = tuple(TensorEntry(f"layers.{b}.weight", (10,), 10 * b, 10, b, "mlp") for b in range(6))
    space = LayerWise(SpaceContext(Layout(tensors), ("a", "b"), "base", "task_arithmetic"))
    objectives = [ObjectiveInfo(f"f{i}", "minimize", "1") for i in range(n_objectives)]
    problem = Problem(space.names, tuple(o.name for o in objectives), n, 0)
    times: list[float] = []
    with SqliteStorage(folder, write=True) as storage:
        storage.write_header({})
        study = Study(
            space=space,
            strategy=make_strategy("random", problem, {}),
            objectives=objectives,
            evaluator=Sphere(n_objectives),
            executor=Serial(),
            storage=storage,
            baselines=[],
            budget=Budget(n),
            listeners=[FrontWriter(folder), RunLog(folder), lambda *_: times.append(time.perf_counter())],
        )
        study.run()
    steps = np.diff(times) * 1000
    last = steps[-max(n // 10, 1) :]
    return {
        "mean_ms": float(steps.mean()),
        "last_tenth_mean_ms": float(last.mean()),
        "median_ms": float(np.median(steps)),
    }


def synced_write_ms(folder: Path, n: int = 100) -> float:
    """Median time of appending 1 KB and syncing it."""
    times = []
    with (folder / "probe").open("wb") as file:
        for _ in range(n):
            started = time.perf_counter()
            file.write(b"x" * 1024)
            file.flush()
            os.fsync(file.fileno())
            times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)


def main() -> None:
    """Measure and print."""
    options = parser(__doc__ or "").parse_args()
    n = 1000 if options.quick else 10_000
    figures: dict[str, object] = {"candidates": n}
    with tempfile.TemporaryDirectory() as folder:
        figures["synced_write_ms"] = synced_write_ms(Path(folder))
        for n_objectives in (1, 2, 3):
            figures[f"objectives_{n_objectives}"] = run(n, n_objectives, Path(folder) / str(n_objectives))
    write_result(options.json, figures, ["numpy", "torch"])
    print(f"{n} candidates; one synced 1 KB write takes {figures['synced_write_ms']:.2f} ms (median)")
    for n_objectives in (1, 2, 3):
        row = figures[f"objectives_{n_objectives}"]
        print(f"{n_objectives} objectives: " + ", ".join(f"{k} {v:.2f}" for k, v in row.items()))  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
